//! The outputs of a spec: types, shapes, how their bytes are kept, and formats of their files.

use orion_protocol::bytes::Name;
use orion_protocol::dtype::DType;
use orion_protocol::task::{Combine, Layout, MAX_ARRAYS, OutputSpec, check_names, check_outputs};
use orion_protocol::{Format, Reason, Refusal};

use super::{invalid, kernel};
use crate::job;

/// Where the numbers of items and units are not known, types and shapes may be left out, together.
pub(super) fn outputs(raw: &[job::Output], items: Option<(u64, u64)>) -> Result<Vec<OutputSpec>, Refusal> {
    let mut outputs = Vec::with_capacity(raw.len().min(MAX_ARRAYS));
    for output in raw.iter().take(MAX_ARRAYS + 1) {
        let job::Output { name, type_, shape, lengths: _, scope: _, combine: _, format: _ } = output;
        let field = format!("spec.outputs[{name}]");
        let name: Name = name.parse().map_err(|error| invalid(&format!("{field}.name"), error))?;
        let (dtype, shape) = match (type_, shape) {
            (Some(type_), Some(shape)) => (
                type_.parse().map_err(|error: String| invalid(&format!("{field}.type"), error))?,
                kernel::dimensions(&format!("{field}.shape"), shape, 8)?,
            ),
            (None, None) if items.is_none() => (DType::Float32, Vec::new()),
            _ => return Err(invalid(&field, "type and shape are needed; a model's outputs need neither")),
        };
        let layout = layout(&field, output, raw)?;
        if layout.is_some() && items.is_none() {
            return Err(invalid(&field, "lengths and scope Unit are for kernels: a model has a row for each item"));
        }
        outputs.push(OutputSpec { name, dtype, shape, layout });
    }
    let checked = match items {
        Some((items, units)) => check_outputs(&outputs, items, units),
        None => check_names(&outputs),
    };
    checked.map_err(|why| Refusal::new(Reason::InvalidSpec, format!("spec.{why}")))?;
    Ok(outputs)
}

/// How an output's bytes are kept, where it says so.
fn layout(field: &str, output: &job::Output, all: &[job::Output]) -> Result<Option<Layout>, Refusal> {
    let unit = match output.scope.as_deref() {
        None | Some("PerItem") => false,
        Some("Unit") => true,
        Some(_) => return Err(invalid(&format!("{field}.scope"), "must be PerItem or Unit")),
    };
    match (&output.lengths, unit, output.combine.as_deref()) {
        (None, false, None) => Ok(None),
        (Some(lengths), false, None) => {
            let at = all.iter().position(|other| other.name == *lengths).and_then(|at| u32::try_from(at).ok());
            let missing =
                || invalid(&format!("{field}.lengths"), format!("there is no output {lengths:?} in spec.outputs"));
            at.map(|at| Some(Layout::Lengths(at))).ok_or_else(missing)
        }
        (None, true, Some("Sum")) => Ok(Some(Layout::Unit(Combine::Sum))),
        (None, true, Some("Min")) => Ok(Some(Layout::Unit(Combine::Min))),
        (None, true, Some("Max")) => Ok(Some(Layout::Unit(Combine::Max))),
        (None, true, Some(_)) => Err(invalid(&format!("{field}.combine"), "must be Sum, Min or Max")),
        (_, true, None) | (_, false, Some(_)) => {
            Err(invalid(&format!("{field}.combine"), "is needed with scope Unit, and only there"))
        }
        (Some(_), true, Some(_)) => {
            Err(invalid(&format!("{field}.lengths"), "is for rows of items, which scope Unit has not"))
        }
    }
}

/// The format of each output's file; there are as many as outputs.
pub(super) fn formats(raw: &[job::Output]) -> Result<Vec<Format>, Refusal> {
    let format = |output: &job::Output| match &output.format {
        None => Ok(Format::default()),
        Some(text) => {
            text.parse().map_err(|error: String| invalid(&format!("spec.outputs[{}].format", output.name), error))
        }
    };
    raw.iter().take(MAX_ARRAYS + 1).map(format).collect()
}
