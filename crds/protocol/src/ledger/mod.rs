//! The ledger's formats: what is submitted ([`tx`]), what the log holds ([`leaf`]), what its service answers ([`api`]).
//! The rules that judge them are in `orion-ledger-core`.

pub mod api;
pub mod approved;
pub mod genesis;
pub mod leaf;
pub mod mark;
pub mod tx;

pub use api::{JobView, RoundView, SealRef, Submitted};
pub use leaf::{Code, Leaf, LeafBody, Receipt, Seal, Totals, Transfer};
pub use tx::{Envelope, Genesis, Policy, Transaction};
