//! The log as strangers read it: C2SP tiles, signed notes, trust policies, proofs, and the evidence of a fork. Formats and
//! judgements only; who fetches, stores and serves is outside.
//!
//! | part | what | specification |
//! | --- | --- | --- |
//! | [`note`] | signed notes and their keys | c2sp.org/signed-note, c2sp.org/tlog-cosignature |
//! | [`tile`] | paths, tiles and bundles | c2sp.org/tlog-tiles |
//! | [`prove`] | proofs made from tiles, and the tiles of a growing log | RFC 6962 |

pub mod note;
pub mod prove;
pub mod tile;
