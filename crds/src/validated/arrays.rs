//! What the files of a job's inputs say about it before anybody computes: headers of arrays, and with them how many items there are. Whoever
//! reads the files, operator or command line, asks here.

use orion_protocol::array;
use orion_protocol::npy::Header;
use orion_protocol::task::UnitTable;
use orion_protocol::{Reason, Refusal};

use super::{Items, ValidatedJob};

impl ValidatedJob {
    /// The header of the array that input `at` is, from the beginning of its file, which has `size` bytes; a model has none. A file that is no array
    /// is refused.
    pub fn header(&self, at: usize, start: &[u8], size: u64) -> Result<Option<Header>, Refusal> {
        if self.model() == Some(at) {
            return Ok(None);
        }
        match array::find(start, size, self.key_of(at)) {
            Ok(array) => Ok(Some(array.header)),
            Err(error) => {
                let (name, source) = match self.inputs.get(at) {
                    Some(input) => (input.name.as_str(), input.source.to_string()),
                    None => ("?", String::new()),
                };
                Err(Refusal::new(Reason::InvalidInput, format!("spec.inputs[{name}]: {source}: {error}")))
            }
        }
    }

    /// How the items are cut: as many as the spec says, or as the first input with a row an item has; `header` is asked for an input's.
    pub fn units_by<'h>(&self, header: impl FnOnce(usize) -> Option<&'h Header>) -> Result<UnitTable, Refusal> {
        let at = match self.items {
            Items::Known(items) => return self.units(items),
            Items::RowsOf(at) => at,
        };
        let rows = header(at).and_then(|header| header.shape.first().copied());
        let rows = rows.ok_or_else(|| {
            let name = self.inputs.get(at).map_or("?", |input| input.name.as_str());
            Refusal::new(Reason::InvalidInput, format!("spec.inputs[{name}]: a single value has no rows"))
        })?;
        self.units(rows)
    }
}
