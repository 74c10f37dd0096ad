//! How the rows of consecutive units lie in an output's bytes. Everybody who keeps, hashes or checks rows cuts them here, so that nobody can
//! disagree: rows of items one after another; of items that keep some of their entries only those, one after another; of units with copies
//! the copies. What an item does not keep, its tail, is in nobody's bytes and in no digest.
//!
//! Bytes come from strangers: whatever does not fit its units is refused, with the output and the item.

use std::ops::Range;

use crate::bytes::Name;
use crate::dtype::DType;
use crate::task::{Layout, OutputSpec, UnitOutput, UnitTable};

/// Why bytes are not the rows of their units.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RowsError {
    /// An item has more entries than there is room for.
    #[error("output {output}: item {item} has {need} entries, there is room for {have}")]
    Overflow {
        /// The output.
        output: Name,
        /// The item, counted over the job.
        item: u64,
        /// Entries that an item may have.
        have: u64,
        /// Entries that this one has.
        need: u64,
    },
    /// Bytes are missing or left over.
    #[error("output {output} is {have} bytes long, its units have {want}")]
    Length {
        /// The output.
        output: Name,
        /// Bytes there are.
        have: u64,
        /// Bytes there should be.
        want: u64,
    },
    /// Not as many arrays as outputs.
    #[error("{have} arrays of rows, the job has {want} outputs")]
    Outputs {
        /// Arrays there are.
        have: usize,
        /// Outputs of the job.
        want: usize,
    },
}

/// A range of a job's units.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    outputs: &'a [OutputSpec],
    table: UnitTable,
    units: Range<u64>,
}

impl<'a> Span<'a> {
    /// The units `[first, first + count)` of outputs that were checked.
    pub fn new(outputs: &'a [OutputSpec], table: &UnitTable, first: u64, count: u64) -> Span<'a> {
        Span { outputs, table: *table, units: first..first.saturating_add(count) }
    }

    /// The whole job.
    pub fn whole(outputs: &'a [OutputSpec], table: &UnitTable) -> Span<'a> {
        Span::new(outputs, table, 0, table.units())
    }

    fn items(&self) -> (u64, u64) {
        self.table.items_of(self.units.start, self.units.end - self.units.start)
    }

    /// Bytes of each output with its tails: the most that it keeps.
    pub fn room(&self) -> Vec<u64> {
        let units = self.units.end - self.units.start;
        self.outputs.iter().map(|output| output.room(units, self.items().1)).collect()
    }

    /// Which output says how much output `at` keeps.
    pub fn lengths_of(&self, at: usize) -> Option<usize> {
        match self.outputs.get(at)?.layout? {
            Layout::Lengths(lengths) => usize::try_from(lengths).ok(),
            Layout::Unit(_) => None,
        }
    }

    /// Entries that output `at` keeps, where these are the rows of the output of its lengths. Items beyond its room are refused.
    pub fn entries(&self, at: usize, lengths: &[u8]) -> Result<u64, RowsError> {
        let output = &self.outputs[at];
        let dtype = self.lengths_of(at).map_or(DType::Uint64, |lengths| self.outputs[lengths].dtype);
        let room = output.shape.get(1).copied().unwrap_or(0);
        let mut all = 0_u64;
        for (item, need) in (self.items().0..).zip(numbers(dtype, lengths)) {
            if need > room {
                return Err(RowsError::Overflow { output: output.name.clone(), item, have: room, need });
            }
            all = all.saturating_add(need);
        }
        Ok(all)
    }

    /// Bytes that output `at` keeps; `rows` gives those of an output of lengths.
    pub fn kept<'r>(&self, at: usize, rows: impl FnOnce(usize) -> &'r [u8]) -> Result<u64, RowsError> {
        let Some(lengths) = self.lengths_of(at) else {
            let units = self.units.end - self.units.start;
            return Ok(self.outputs[at].room(units, self.items().1));
        };
        Ok(self.entries(at, rows(lengths))?.saturating_mul(self.outputs[at].entry_bytes()))
    }

    /// Takes the tails out of rows as a device left them.
    pub fn keep(&self, rows: &mut [Vec<u8>]) -> Result<(), RowsError> {
        self.count(rows.len())?;
        for (at, want) in self.room().into_iter().enumerate() {
            self.fits(at, rows[at].len(), want)?;
        }
        for at in 0..rows.len() {
            let Some(lengths) = self.lengths_of(at) else { continue };
            // All of it may be kept.
            self.entries(at, &rows[lengths])?;
            let mut kept = std::mem::take(&mut rows[at]);
            let (item, entry) = (self.outputs[at].item_bytes(), self.outputs[at].entry_bytes());
            let mut end = 0;
            for (index, length) in (0..).zip(numbers(self.outputs[lengths].dtype, &rows[lengths])) {
                let (from, bytes) = (place(index * item), place(length * entry));
                kept.copy_within(from..from + bytes, end);
                end += bytes;
            }
            kept.truncate(end);
            rows[at] = kept;
        }
        Ok(())
    }

    /// The units one after another, out of rows of exactly these, without tails.
    pub fn units(&self, rows: &[&'a [u8]]) -> Result<Units<'a>, RowsError> {
        self.count(rows.len())?;
        // Lengths first: what the others keep follows from them.
        for lengths in [false, true] {
            for at in (0..rows.len()).filter(|at| self.lengths_of(*at).is_some() == lengths) {
                self.fits(at, rows[at].len(), self.kept(at, |at| rows[at])?)?;
            }
        }
        Ok(Units { span: self.clone(), left: rows.to_vec() })
    }

    fn count(&self, have: usize) -> Result<(), RowsError> {
        let want = self.outputs.len();
        if have == want { Ok(()) } else { Err(RowsError::Outputs { have, want }) }
    }

    fn fits(&self, at: usize, have: usize, want: u64) -> Result<(), RowsError> {
        let (output, have) = (self.outputs[at].name.clone(), have as u64);
        if have == want { Ok(()) } else { Err(RowsError::Length { output, have, want }) }
    }
}

/// Units with what each has of every output.
#[derive(Clone, Debug)]
pub struct Units<'a> {
    span: Span<'a>,
    /// What the units that are left have of each output.
    left: Vec<&'a [u8]>,
}

impl<'a> Iterator for Units<'a> {
    type Item = (u64, Vec<UnitOutput<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        let unit = self.span.units.next()?;
        let (outputs, left) = (self.span.outputs, &self.left);
        let one = Span::new(outputs, &self.span.table, unit, 1);
        let room = one.room();
        let bytes = |at: usize| {
            // Whoever made this has compared lengths and bytes.
            let kept = one.kept(at, |lengths| &left[lengths][..place(room[lengths]).min(left[lengths].len())]);
            place(kept.unwrap_or(0))
        };
        let cut: Option<Vec<_>> = (0..left.len()).map(|at| left[at].split_at_checked(bytes(at))).collect();
        let (now, later): (Vec<&[u8]>, Vec<&[u8]>) = cut?.into_iter().unzip();
        self.left = later;
        Some((unit, outputs.iter().zip(now).map(|(spec, bytes)| UnitOutput { spec, bytes }).collect()))
    }
}

/// Where each item's entries end, after those of `before`: as many int64 as there are lengths, and the last of them.
pub fn offsets(dtype: DType, lengths: &[u8], before: u64) -> (Vec<u8>, u64) {
    let mut end = before;
    let ends = numbers(dtype, lengths).flat_map(|length| {
        end = end.saturating_add(length);
        end.to_le_bytes()
    });
    (ends.collect(), end)
}

/// The unsigned numbers that little-endian bytes are.
fn numbers(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(place(dtype.size())).map(|number| {
        let mut word = [0; 8];
        word[..number.len()].copy_from_slice(number);
        u64::from_le_bytes(word)
    })
}

/// What lies in memory has a place there; what does not is beyond the end of every slice.
fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
