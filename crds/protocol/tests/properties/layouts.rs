//! Rows of units: what a device leaves is cut the same however many units come together, tails are in no digest, and bytes that do not fit are
//! refused.

use orion_protocol::combine::Combined;
use orion_protocol::digest::Digest;
use orion_protocol::dtype::DType;
use orion_protocol::rows::{RowsError, Span, offsets};
use orion_protocol::task::{Combine, Layout, OutputSpec, UnitTable, check_outputs, unit_digest};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::arbitrary::outputs;
use crate::runner::check;

/// Outputs with a table of their items.
fn jobs() -> impl Strategy<Value = (Vec<OutputSpec>, UnitTable)> {
    (1..40_u64, 1..12_u64).prop_flat_map(|(items, items_per_unit)| {
        let table = UnitTable { items, items_per_unit, units_per_shard: 1, work_per_item: 1 };
        (outputs(items), Just(table))
    })
}

/// Rows as a device leaves them; no item has more entries than there is room for.
fn device(outputs: &[OutputSpec], table: &UnitTable, noise: u64) -> Vec<Vec<u8>> {
    let fewest = outputs.iter().filter(|output| matches!(output.layout, Some(Layout::Lengths(_))));
    let fewest = fewest.map(|output| output.shape[1]).min().unwrap_or(100);
    let mut state = noise | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let rooms = Span::whole(outputs, table).room();
    let rows = rooms.iter().enumerate().map(|(at, room)| match at {
        0 => (0..table.items).flat_map(|_| u16::try_from(next() % (fewest + 1)).unwrap().to_le_bytes()).collect(),
        _ => (0..*room).map(|_| next().to_le_bytes()[0]).collect(),
    });
    rows.collect()
}

/// The bytes of a range of units, tails included.
fn part(outputs: &[OutputSpec], table: &UnitTable, whole: &[Vec<u8>], first: u64, count: u64) -> Vec<Vec<u8>> {
    let before = Span::new(outputs, table, 0, first).room();
    let rooms = Span::new(outputs, table, first, count).room();
    let at = |at: u64| usize::try_from(at).unwrap();
    let cut = whole.iter().zip(before).zip(rooms);
    cut.map(|((rows, before), room)| rows[at(before)..at(before + room)].to_vec()).collect()
}

fn digests(outputs: &[OutputSpec], table: &UnitTable, first: u64, count: u64, rows: &mut [Vec<u8>]) -> Vec<Digest> {
    let span = Span::new(outputs, table, first, count);
    span.keep(rows).unwrap();
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    span.units(&rows).unwrap().map(|(unit, outputs)| unit_digest(&Digest::ZERO, unit, &outputs)).collect()
}

#[test]
fn units_are_cut_the_same_alone_and_together_and_tails_are_hashed_nowhere() {
    check(400, &(jobs(), any::<u64>(), any::<Index>()), |((outputs, table), noise, at)| {
        prop_assert_eq!(check_outputs(&outputs, table.items, table.units()), Ok(()));
        let whole = device(&outputs, &table, noise);
        let together = digests(&outputs, &table, 0, table.units(), &mut whole.clone());
        prop_assert_eq!(together.len() as u64, table.units());
        let first = at.index(together.len()) as u64;
        let mut rest = part(&outputs, &table, &whole, first, table.units() - first);
        prop_assert_eq!(
            &digests(&outputs, &table, first, table.units() - first, &mut rest),
            &together[at.index(together.len())..]
        );
        // Other tails, the same digests.
        let mut other = device(&outputs, &table, noise ^ 0xffff_0000);
        other[0].clone_from(&whole[0]);
        for (output, (other, rows)) in outputs.iter().zip(other.iter_mut().zip(&whole)) {
            match output.layout {
                Some(Layout::Lengths(_)) => tails_from(output, &whole[0], other, rows),
                _ => other.clone_from(rows),
            }
        }
        prop_assert_eq!(digests(&outputs, &table, 0, table.units(), &mut other), together);
        Ok(())
    });
}

/// Puts what is kept of `rows` into `other`, whose tails stay.
fn tails_from(output: &OutputSpec, lengths: &[u8], other: &mut [u8], rows: &[u8]) {
    let [item, entry] = [output.item_bytes(), output.entry_bytes()].map(|bytes| usize::try_from(bytes).unwrap());
    for (at, length) in lengths.as_chunks::<2>().0.iter().enumerate() {
        let kept = at * item..at * item + usize::from(u16::from_le_bytes(*length)) * entry;
        other[kept.clone()].copy_from_slice(&rows[kept]);
    }
}

#[test]
fn one_byte_more_or_less_is_refused_and_nothing_disturbed_panics() {
    check(400, &(jobs(), any::<u64>(), any::<Index>(), any::<Index>()), |((outputs, table), noise, at, byte)| {
        let span = Span::whole(&outputs, &table);
        let mut rows = device(&outputs, &table, noise);
        span.keep(&mut rows).unwrap();
        let at = at.index(rows.len());
        let refused = |rows: &[Vec<u8>]| {
            let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            span.units(&rows).is_err()
        };
        let mut longer = rows.clone();
        longer[at].push(0);
        prop_assert!(refused(&longer));
        let mut shorter = rows.clone();
        prop_assert!(shorter[at].pop().is_none() || refused(&shorter));
        prop_assert!(refused(&rows[1..]));
        // Other lengths fit other values, or nothing.
        let byte = byte.index(rows[0].len());
        rows[0][byte] ^= 1;
        let lengths = outputs.iter().any(|output| matches!(output.layout, Some(Layout::Lengths(_))));
        prop_assert_eq!(refused(&rows), lengths);
        Ok(())
    });
}

#[test]
fn an_item_with_more_entries_than_room_is_named() {
    let name = |text: &str| text.parse().unwrap();
    let outputs = [
        OutputSpec { name: name("hits"), dtype: DType::Uint32, shape: vec![6, 4], layout: Some(Layout::Lengths(1)) },
        OutputSpec { name: name("counts"), dtype: DType::Uint64, shape: vec![6], layout: None },
    ];
    let table = UnitTable { items: 6, items_per_unit: 2, units_per_shard: 1, work_per_item: 1 };
    let overflow = |item, need| RowsError::Overflow { output: name("hits"), item, have: 4, need };
    for need in [5, u64::MAX] {
        let counts: Vec<u8> = [4, need].into_iter().flat_map(u64::to_le_bytes).collect();
        let span = Span::new(&outputs, &table, 1, 1);
        assert_eq!(span.keep(&mut [vec![0; 32], counts.clone()]), Err(overflow(3, need)));
        assert_eq!(span.units(&[&[0; 32], &counts]).err(), Some(overflow(3, need)));
    }
    assert_eq!(overflow(3, 5).to_string(), "output hits: item 3 has 5 entries, there is room for 4");
}

#[test]
fn offsets_go_on_where_they_ended() {
    let (ends, last) = offsets(DType::Uint16, &[1, 0, 0, 1, 0, 0], 7);
    assert_eq!((ends, last), ([8_i64, 264, 264].into_iter().flat_map(i64::to_le_bytes).collect(), 264));
}

type Edit = fn(&mut Vec<OutputSpec>);

#[test]
fn layouts_that_make_no_sense_are_refused_by_field() {
    let good = || {
        let output = |name: &str, dtype, shape: &[u64], layout| OutputSpec {
            name: name.parse().unwrap(),
            dtype,
            shape: shape.to_vec(),
            layout,
        };
        vec![
            output("hits", DType::Uint32, &[6, 4], Some(Layout::Lengths(1))),
            output("counts", DType::Uint8, &[6], None),
            output("sums", DType::Float32, &[9], Some(Layout::Unit(Combine::Sum))),
        ]
    };
    assert_eq!(check_outputs(&good(), 6, 3), Ok(()));
    let edits: [(&str, Edit); 9] = [
        ("outputs[hits].shape: the second", |all| all[0].shape.truncate(1)),
        ("outputs[hits].shape: the first", |all| all[0].shape[0] = 5),
        ("outputs[hits].lengths: there is no output 3", |all| all[0].layout = Some(Layout::Lengths(3))),
        ("outputs[hits].lengths: hits must be", |all| all[0].layout = Some(Layout::Lengths(0))),
        ("outputs[hits].lengths: sums must be", |all| all[0].layout = Some(Layout::Lengths(2))),
        ("outputs[hits].lengths: counts must be", |all| all[1].dtype = DType::Int32),
        ("outputs[hits].lengths: counts must be", |all| all[1].shape.push(1)),
        ("outputs[sums].combine: float32", |all| all[2].layout = Some(Layout::Unit(Combine::Max))),
        ("outputs[sums].shape: over a tebibyte", |all| all[2].shape = vec![1 << 20, 1 << 17]),
    ];
    for (words, edit) in edits {
        let mut outputs = good();
        edit(&mut outputs);
        let refused = check_outputs(&outputs, 6, 3).unwrap_err();
        assert!(refused.starts_with(words), "{words:?} is not: {refused}");
    }
}

#[test]
fn sums_of_floats_are_a_chain_from_zero_with_one_nan() {
    let sum = |copies: &[f32]| {
        let layout = Some(Layout::Unit(Combine::Sum));
        let output = OutputSpec { name: "x".parse().unwrap(), dtype: DType::Float32, shape: vec![1], layout };
        let mut combined = Combined::new(&output).unwrap();
        for copy in copies {
            combined.add(&copy.to_le_bytes());
        }
        u32::from_le_bytes(combined.value().try_into().unwrap())
    };
    assert_eq!(sum(&[1e8, 3.0, 3.0, 3.0]), 1e8_f32.to_bits(), "each is rounded away alone");
    assert_eq!(sum(&[3.0, 3.0, 3.0, 1e8]), 100_000_008_f32.to_bits());
    assert_eq!(sum(&[-0.0, -0.0]), 0);
    assert_eq!(sum(&[f32::INFINITY, f32::NEG_INFINITY]), 0x7fc0_0000);
    assert_eq!(sum(&[f32::from_bits(0xffc0_0001)]), 0x7fc0_0000);
}
