//! The ledger as a deterministic machine: transactions in, leaves with receipts and seals out. One code path serves the
//! service, its restart, every witness and `orion ledger verify`.
//!
//! It knows no clock, disk, network, randomness or float, keeps ordered maps only, and checks every sum. Block time comes
//! in as an argument. Nothing that was signed by somebody else is believed before it is verified here.
//!
//! | part | what |
//! | --- | --- |
//! | [`admission`] | whether an envelope may be ordered at all |
//! | [`ahead`] | leaves read ahead of a replay, on several threads |
//! | [`chain`] | blocks: [`chain::Chain::check_tx`], [`chain::Chain::finalize_block`] |
//! | [`contract`] | what a reward policy may say, and what is made of it |
//! | [`job`] | what the ledger knows of a job |
//! | [`recall`] | what came of transactions, inside and outside of the chain |
//! | [`replay`] | the same machine, driven by leaves that already exist |
//! | [`snapshot`] | a chain as bytes, to go on from |
//! | [`proof`] | inclusion and consistency |
//! | [`log`] | tiles, notes, trust, receipts and evidence, as C2SP has them |
//! | [`checkpoint`] | signed notes over the log's root |
//! | [`export`] | the log as one file |
//! | [`verify`] | checks such a file, with nothing but a key |
//! | [`report`] | what a checked log says: who computed, who checked, who was paid |
//! | [`reward`] | how a job's money is split, to be redone by hand |

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

pub mod admission;
pub mod ahead;
mod block;
mod bonds;
mod book;
pub mod chain;
pub mod checkpoint;
pub mod contract;
mod due;
pub mod export;
pub mod job;
mod keys;
pub mod log;
pub mod proof;
pub mod recall;
pub mod replay;
pub mod report;
pub mod reward;
mod rows;
mod rules;
pub mod snapshot;
mod state;
pub mod verify;
mod views;

pub use admission::{Admission, Admitted, Unorderable};
pub use chain::{Block, BlockError, Chain, Standing};
pub use checkpoint::{Checkpoint, Signer, VerifierKey};
pub use recall::{Recall, Record, Said};
pub use replay::{Replay, ReplayError};
pub use report::{Report, Sums};
pub use rules::NotSlashed;
pub use snapshot::SnapshotError;
pub use verify::VerifyError;
