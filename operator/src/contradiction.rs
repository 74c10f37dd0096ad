//! A validator that signed two digests for one unit: told to people, who decide. The operator slashes nobody. Both votes are written
//! to the log, for nothing else keeps the second one longer than its job; `orion ledger tx ... slash` takes them.

use std::sync::Arc;

use kube::Resource;
use kube::runtime::events::{Event, EventType};
use orion_core::Contradiction;
use orion_crds::Provider;
use orion_protocol::bytes::hex;
use orion_protocol::{Reason, cbor};

use crate::edges::Edges;
use crate::events;

/// Tells of it: a line in the log with the votes, a count, and an Event at the Provider, if there still is one. Seldom is seen to by the
/// core: a line for each time that a key was asked twice about a shard.
pub fn tell(edges: &Arc<Edges>, provider: Option<&Provider>, found: &Contradiction) {
    edges.metrics.contradicting_votes.inc();
    let Contradiction { provider: name, job, first: _, second: _ } = found;
    let [first, second] = votes(found);
    tracing::warn!(provider = %name, %job, first, second, "a validator signed two votes that differ");
    if let Some(provider) = provider {
        events::tell_of(edges, provider.object_ref(&()), vec![event(found)]);
    }
}

/// The canonical bytes of both votes, in hex: what the command reads.
fn votes(found: &Contradiction) -> [String; 2] {
    [&found.first, &found.second].map(|vote| hex(&cbor::to_vec(vote)))
}

/// Events of one object, reason and action are counted as one: the note is that of the first.
fn event(found: &Contradiction) -> Event {
    let Contradiction { provider, job, first, second: _ } = found;
    let note = format!(
        "{provider} ({}) signed two votes with two digests for one unit of job {job}; the first one counts. Both are in the operator's log, \
         in the line \"a validator signed two votes that differ\". Of a model it can be slashed for that until its pay for the job has \
         matured: orion ledger tx ... slash, see \"When a validator contradicts itself\" in ledger/README.md",
        first.key()
    );
    Event {
        type_: EventType::Warning,
        reason: Reason::ContradictingVotes.as_str().to_owned(),
        note: Some(events::shortened(&note).to_owned()),
        action: "Audit".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use orion_protocol::statements::{UnitDigest, Vote};
    use orion_protocol::{ChainId, Digest, JobId, SecretKey, Signed};

    use super::*;

    fn found() -> Contradiction {
        let (chain, key) = (ChainId::of_genesis(b"a chain"), SecretKey::from_seed(&[11; 32]));
        let units = |word: &[u8]| (0..32).map(|unit| UnitDigest { unit, digest: Digest::of(word) }).collect();
        let vote = |word| {
            let units = units(word);
            let vote = Vote { round: Digest::ZERO, lease: Digest::ZERO, units, class: Digest::ZERO, task: None };
            Signed::new(&chain, &key, &vote)
        };
        let provider = "p".repeat(63).parse().unwrap();
        Contradiction { provider, job: JobId([7; 32]), first: vote(b"a"), second: vote(b"b") }
    }

    #[test]
    fn what_the_log_has_are_the_votes() {
        let found = found();
        for (vote, said) in [&found.first, &found.second].into_iter().zip(votes(&found)) {
            let bytes: Vec<u8> = said
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            assert!(bytes.len() < 2048, "{}", bytes.len());
            assert_eq!(cbor::from_slice::<Signed<Vote>>("vote", &bytes, bytes.len()).unwrap(), *vote);
        }
    }

    #[test]
    fn the_event_is_a_warning_that_fits_and_says_how_to_go_on() {
        let found = found();
        let Event { type_, reason, note, .. } = event(&found);
        let note = note.unwrap();
        assert_eq!((type_, reason.as_str()), (EventType::Warning, "ContradictingVotes"));
        for word in [found.first.key().to_string(), found.job.to_string(), "orion ledger tx ... slash".to_owned()] {
            assert!(note.contains(&word), "{word} is not in: {note}");
        }
        assert!(note.ends_with("ledger/README.md"), "all of it fits: {note}");
    }
}
