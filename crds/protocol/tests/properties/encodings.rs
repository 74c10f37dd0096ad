//! Every type: what is encoded is decoded again; any other encoding, and anything cut, lengthened or disturbed, is refused or
//! is the one encoding of something else; nothing that arrives makes a reader panic.

use orion_protocol::ledger::tx::{Envelope, Policy};
use orion_protocol::ledger::{Genesis, JobView, Leaf, LeafBody, Submitted, Transaction};
use orion_protocol::messages::{Answer, Beat, Manifest, Message, Task};
use orion_protocol::statements::{Aggregated, Commitment, Failed, Ingested, LeaseCore, LeaseTail, Preflighted, Vote};
use orion_protocol::task::{TaskSpec, Workload};
use orion_protocol::{Signed, cbor};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::arbitrary;
use crate::cbor_tree::{self, wrong};
use crate::runner::check;

/// Some type's reader: the canonical bytes of what it read, or nothing.
type Reader = fn(&[u8]) -> Option<Vec<u8>>;

fn plain<T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8]) -> Option<Vec<u8>> {
    cbor::from_slice::<T>("a value", bytes, 1 << 24).ok().map(|value| cbor::to_vec(&value))
}

fn message<M: Message>(bytes: &[u8]) -> Option<Vec<u8>> {
    M::from_bytes(bytes).ok().map(|message| message.to_bytes())
}

const READERS: [Reader; 24] = [
    plain::<Policy>,
    plain::<LeaseCore>,
    plain::<LeaseTail>,
    plain::<Preflighted>,
    plain::<Commitment>,
    plain::<Ingested>,
    plain::<Vote>,
    plain::<Aggregated>,
    plain::<Failed>,
    plain::<Envelope>,
    plain::<Signed<LeaseCore>>,
    plain::<Signed<Envelope>>,
    plain::<TaskSpec>,
    plain::<Workload>,
    plain::<Genesis>,
    plain::<Submitted>,
    plain::<JobView>,
    plain::<LeafBody>,
    message::<Task>,
    message::<Manifest>,
    message::<Answer>,
    message::<Beat>,
    |bytes| Transaction::from_bytes(bytes).ok().map(|value| cbor::to_vec(&value)),
    |bytes| Leaf::from_bytes(bytes).ok().map(|leaf| leaf.to_bytes()),
];

/// The bytes of a value, with the reader of its type.
type Encoded = (Vec<u8>, Reader);

fn of<T>(values: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Encoded>
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + std::fmt::Debug + 'static,
{
    let encoded = values.prop_map(|value| {
        let bytes = cbor::to_vec(&value);
        assert_eq!(cbor::from_slice::<T>("a value", &bytes, bytes.len()).unwrap(), value);
        (bytes, plain::<T> as Reader)
    });
    encoded.boxed()
}

/// A value of any type.
fn any_value() -> impl Strategy<Value = Encoded> {
    let statements = prop_oneof![
        of(arbitrary::lease()),
        of(arbitrary::tail()),
        of(arbitrary::preflighted()),
        of(arbitrary::commitment()),
        of(arbitrary::ingested()),
        of(arbitrary::vote()),
        of(arbitrary::aggregated()),
        of(arbitrary::failed()),
        of(arbitrary::envelope()),
        of(arbitrary::approval()),
        of(arbitrary::signed(arbitrary::lease())),
    ];
    let others = prop_oneof![
        of(arbitrary::task_spec()),
        of(arbitrary::workload()),
        of(arbitrary::task()),
        of(arbitrary::answer()),
        of(arbitrary::beat()),
        of(arbitrary::manifest()),
        of(arbitrary::transaction()),
        of(arbitrary::policy()),
        of(arbitrary::leaf()),
    ];
    prop_oneof![statements, others]
}

/// Either refused, or the one encoding of what it was read as.
fn canonical_or_refused(read: Reader, bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Some(again) = read(bytes) {
        prop_assert_eq!(again.as_slice(), bytes);
    }
    Ok(())
}

#[test]
fn what_is_encoded_is_decoded_again() {
    check(3000, &any_value(), |(bytes, read)| {
        prop_assert_eq!(read(&bytes), Some(bytes));
        Ok(())
    });
}

#[test]
fn other_encodings_of_the_same_are_refused() {
    check(20_000, &(any_value(), wrong(), any::<Index>()), |((bytes, read), wrong, at)| {
        let tree = cbor_tree::read(&bytes);
        let at = at.index(tree.items());
        // Not everything can be wrong with every item: a number has no order.
        let Some(other) = tree.write(at, wrong) else { return Ok(()) };
        prop_assert_ne!(&other, &bytes);
        prop_assert_eq!(read(&other), None, "{:?} at item {}", wrong, at);
        Ok(())
    });
}

#[test]
fn cut_and_lengthened_bytes_are_refused() {
    check(3000, &(any_value(), any::<Index>(), any::<u8>()), |((mut bytes, read), at, more)| {
        prop_assert_eq!(read(&bytes[..at.index(bytes.len())]), None);
        bytes.push(more);
        prop_assert_eq!(read(&bytes), None);
        Ok(())
    });
}

#[test]
fn a_changed_byte_never_means_the_same() {
    check(5000, &(any_value(), any::<Index>(), 1..=u8::MAX), |((mut bytes, read), at, change)| {
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        canonical_or_refused(read, &bytes)
    });
}

#[test]
fn random_bytes_never_panic() {
    check(3000, &vec(any::<u8>(), 0..600), |bytes| {
        for read in READERS {
            canonical_or_refused(read, &bytes)?;
        }
        prop_assert!(TaskSpec::from_object(&bytes).is_err() && Workload::from_object(&bytes).is_err());
        Ok(())
    });
}

#[test]
fn disturbed_bytes_never_panic_whatever_they_are_read_as() {
    let edits = vec((any::<Index>(), any::<u8>(), 0..3_u8), 0..6);
    check(1500, &(any_value(), edits), |((mut bytes, _), edits)| {
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        for read in READERS {
            canonical_or_refused(read, &bytes)?;
        }
        Ok(())
    });
}

#[test]
fn lengths_that_promise_too_much_are_refused_without_reserving_memory() {
    // An array, a map, bytes and text that say they are 2^62 long, where each type has its first field or element.
    for major in [0x40, 0x60, 0x80, 0xA0] {
        let mut head = vec![major | 0x1B];
        head.extend_from_slice(&(1_u64 << 62).to_be_bytes());
        for prefix in
            [&[][..], &[0xA2, 0x00][..], &[0x82, 0x00][..], &[0x82, 0x00, 0x81][..], &[0xA2, 0x00, 0xA3, 0x00][..]]
        {
            let bytes = [prefix, &head].concat();
            for read in READERS {
                assert_eq!(read(&bytes), None);
            }
        }
    }
}

#[test]
fn objects_are_read_back_and_only_whole() {
    let objects = (arbitrary::task_spec(), arbitrary::workload(), any::<Index>(), 1..=u8::MAX);
    check(500, &objects, |(task, workload, at, change)| {
        prop_assert_eq!(TaskSpec::from_object(&task.object()).ok(), Some(task.clone()));
        prop_assert_eq!(Workload::from_object(&workload.object()).ok(), Some(workload.clone()));
        prop_assert!(TaskSpec::from_object(&workload.object()).is_err());
        let mut object = task.object();
        let at = at.index(object.len());
        object[at] ^= change;
        if let Ok(other) = TaskSpec::from_object(&object) {
            prop_assert_eq!(other.object(), object);
            prop_assert_ne!(other.digest(), task.digest());
        }
        Ok(())
    });
}
