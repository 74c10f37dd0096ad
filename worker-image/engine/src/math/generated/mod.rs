//! Written by `scripts/constants.py`.

pub mod constants;
