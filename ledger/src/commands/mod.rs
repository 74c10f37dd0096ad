//! Commands of `orion-ledger`, a file each.

pub mod witness;
