//! The log as strangers read it: C2SP tiles, signed notes, trust policies, proofs, and the evidence of a fork. Formats and
//! judgements only; who fetches, stores and serves is outside.
//!
//! | part | what | specification |
//! | --- | --- | --- |
//! | [`tile`] | paths, tiles and bundles | c2sp.org/tlog-tiles |
//! | [`prove`] | proofs made from tiles, and the tiles of a growing log | RFC 6962 |

pub mod prove;
pub mod tile;
