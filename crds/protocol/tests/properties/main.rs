//! What must hold for all values, tried with random ones: encodings, signatures, draws, trees, npy, money.
//!
//! Each property prints its seed when it fails; `ORION_TEST_SEED=<seed>` repeats it.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod cbor_tree;
#[cfg(test)]
mod draws;
#[cfg(test)]
mod encodings;
#[cfg(test)]
mod layouts;
#[cfg(test)]
mod merkle_trees;
#[cfg(test)]
mod money;
#[cfg(test)]
mod npy_files;
#[cfg(test)]
mod runner;
#[cfg(test)]
mod signatures;
