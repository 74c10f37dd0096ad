//! Of which files a result consists: most outputs are one; of items that keep some of their entries there are the entries and where each
//! item's end; of units' copies there are their combination and, so that anybody can hash and combine them again, the copies.

use minicbor::{Decode, Encode};

use crate::dtype::DType;
use crate::task::{Layout, OutputSpec, UnitTable};

/// What a file has of an output, where it is not the output itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Extract {
    /// The entries that items keep, one after another.
    #[n(0)]
    Values,
    /// Where each item's entries begin, and where the last one's end: int64, one more than items.
    #[n(1)]
    Offsets,
    /// The units' copies, one after another.
    #[n(2)]
    Units,
}

impl Extract {
    /// The word in names of files.
    pub fn as_str(self) -> &'static str {
        match self {
            Extract::Values => "values",
            Extract::Offsets => "offsets",
            Extract::Units => "units",
        }
    }
}

/// The array in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name without an end: the output's, and after a dot what it has of it.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<u64>,
}

impl OutputSpec {
    /// What the files of the output have of it, in order.
    pub fn extracts(&self) -> &'static [Option<Extract>] {
        match self.layout {
            None => &[None],
            Some(Layout::Lengths(_)) => &[Some(Extract::Values), Some(Extract::Offsets)],
            Some(Layout::Unit(_)) => &[None, Some(Extract::Units)],
        }
    }

    /// One of its files. `entries` are those that items keep; where they are not known yet, the file has no shape.
    pub fn file(&self, extract: Option<Extract>, units: &UnitTable, entries: Option<u64>) -> File {
        let name = match extract {
            None => self.name.to_string(),
            Some(extract) => format!("{}.{}", self.name, extract.as_str()),
        };
        let after = |first: u64, skipped: usize| {
            std::iter::once(first).chain(self.shape.iter().skip(skipped).copied()).collect::<Vec<u64>>()
        };
        let (dtype, shape) = match extract {
            None => (self.dtype, self.shape.clone()),
            Some(Extract::Values) => (self.dtype, entries.map(|entries| after(entries, 2)).unwrap_or_default()),
            Some(Extract::Offsets) => (DType::Int64, vec![units.items.saturating_add(1)]),
            Some(Extract::Units) => (self.dtype, after(units.units(), 0)),
        };
        File { name, dtype, shape }
    }
}
