//! The log as strangers read it: C2SP tiles, signed notes, trust policies, proofs, and the evidence of a fork. Formats and
//! judgements only; who fetches, stores and serves is outside.
//!
//! | part | what | specification |
//! | --- | --- | --- |
//! | [`tile`] | paths, tiles and bundles | c2sp.org/tlog-tiles |
//! | [`prove`] | proofs made from tiles, and the tiles of a growing log | RFC 6962 |
//! | [`note`] | signed notes and their keys | c2sp.org/signed-note, c2sp.org/tlog-cosignature |
//! | [`trust`] | which logs are believed, with whose cosignatures | c2sp.org/tlog-policy |
//! | [`proof_file`] | an inclusion proof as a file | c2sp.org/tlog-proof |
//! | [`opening`](mod@opening) | whose an epoch is, by the leaf that opened it and its proof | ours |
//! | [`witness_wire`] | what logs and witnesses say to each other | c2sp.org/tlog-witness |
//! | [`receipt`] | what became of one shard, for its provider to keep | ours |
//! | [`fork`] | what a witness keeps when it refuses | ours |

pub mod fork;
pub mod note;
pub mod opening;
pub mod proof_file;
pub mod prove;
pub mod receipt;
pub mod tile;
pub mod trust;
pub mod witness_wire;

pub use opening::{Opening, OpeningError, opening};

/// A stranger's words for people: at most so many bytes, and nothing that a terminal would act on.
fn clean(words: &str, bytes_max: usize) -> String {
    let words = &words[..words.floor_char_boundary(bytes_max)];
    words.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
