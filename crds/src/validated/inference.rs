//! The inference workload of a spec: the model, what its tensors are given, which of its outputs are wanted. What the model itself says to it
//! is found out by the preflight.

use orion_protocol::Refusal;
use orion_protocol::task::{Feed, FeedFrom, InferenceWorkload, OutputSpec};

use super::{InputRef, invalid};
use crate::job;

/// At most so many tensors, named dimensions, and so long a name of one.
const MAX_TENSORS: usize = 64;
const MAX_DIMS: usize = 32;
const MAX_TENSOR_NAME: usize = 256;
/// Longest text of a number.
const MAX_FILL: usize = 64;
const INFERENCE: &str = "spec.workload.inference";

/// The whole of it, and the first input that has a row an item.
pub(super) fn workload(
    raw: &job::Inference,
    inputs: &[InputRef],
    outputs: &[OutputSpec],
) -> Result<(InferenceWorkload, usize), Refusal> {
    let job::Inference { model: job::Model { input: model }, dims, tensors, results } = raw;
    let place = |field: &str, name: &str| {
        let at = inputs.iter().position(|input| input.name.as_str() == name);
        at.ok_or_else(|| invalid(field, format!("there is no input {name:?} in spec.inputs")))
    };
    let model = place(&format!("{INFERENCE}.model.input"), model)?;
    if dims.len() > MAX_DIMS {
        return Err(invalid(&format!("{INFERENCE}.dims"), format!("at most {MAX_DIMS}")));
    }
    let dims = dims.iter().map(|(name, length)| {
        named(&format!("{INFERENCE}.dims"), name)?;
        let field = format!("{INFERENCE}.dims[{name}]");
        let length = u64::try_from(*length).ok().filter(|length| (1..1 << 31).contains(length));
        let length = length.ok_or_else(|| invalid(&field, "must be within 1 and 2147483647"))?;
        Ok((name.clone(), length))
    });
    let dims = dims.collect::<Result<_, _>>()?;
    if tensors.is_empty() || tensors.len() > MAX_TENSORS {
        return Err(invalid(&format!("{INFERENCE}.tensors"), format!("between 1 and {MAX_TENSORS} are needed")));
    }
    let mut feeds: Vec<Feed> = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        named(&format!("{INFERENCE}.tensors[].name"), &tensor.name)?;
        let field = format!("{INFERENCE}.tensors[{}]", tensor.name);
        if feeds.iter().any(|feed| feed.tensor == tensor.name) {
            return Err(invalid(&field, "is there twice"));
        }
        if let Some(key) = &tensor.key {
            named(&format!("{field}.key"), key)?;
            if tensor.from.is_none() {
                return Err(invalid(&format!("{field}.key"), "only with from"));
            }
        }
        let from = match (&tensor.from, &tensor.shared, &tensor.fill) {
            (Some(name), shared, None) => {
                let at = place(&format!("{field}.from"), name)?;
                if at == model {
                    return Err(invalid(&format!("{field}.from"), "is the model"));
                }
                // At most eight inputs.
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                if shared.is_some() { FeedFrom::Shared(at) } else { FeedFrom::Rows(at) }
            }
            (None, None, Some(text)) if (1..=MAX_FILL).contains(&text.len()) => FeedFrom::Fill(text.clone()),
            (None, None, Some(_)) => return Err(invalid(&format!("{field}.fill"), "is no number")),
            _ => return Err(invalid(&field, "exactly one must be set of: from, fill; shared only with from")),
        };
        feeds.push(Feed { tensor: tensor.name.clone(), from, key: tensor.key.clone() });
    }
    feeds.sort_by(|a, b| a.tensor.cmp(&b.tensor));
    let first = tensors.iter().find(|tensor| tensor.from.is_some() && tensor.shared.is_none());
    let rows = match first.and_then(|tensor| tensor.from.as_deref()) {
        Some(name) => place(INFERENCE, name)?,
        None => return Err(invalid(&format!("{INFERENCE}.tensors"), "none has a row for each item")),
    };
    for (at, input) in (0..).zip(inputs) {
        let is_used = |feed: &Feed| matches!(feed.from, FeedFrom::Rows(used) | FeedFrom::Shared(used) if used == at);
        if usize::try_from(at) != Ok(model) && !feeds.iter().any(is_used) {
            return Err(invalid(&format!("spec.inputs[{}]", input.name), "no tensor of the model is given it"));
        }
    }
    let results = self::results(results, outputs)?;
    let model = u32::try_from(model).unwrap_or(u32::MAX);
    Ok((InferenceWorkload { model, dims, tensors: feeds, results }, rows))
}

/// The model's output for each output of the job.
fn results(raw: &[job::ModelOutput], outputs: &[OutputSpec]) -> Result<Vec<String>, Refusal> {
    let field = format!("{INFERENCE}.results");
    for result in raw {
        if !outputs.iter().any(|output| output.name.as_str() == result.output) {
            return Err(invalid(&field, format!("there is no output {:?} in spec.outputs", result.output)));
        }
        named(&field, &result.tensor)?;
    }
    let tensor = |output: &OutputSpec| {
        let mut named = raw.iter().filter(|result| result.output == output.name.as_str());
        match (named.next(), named.next()) {
            (Some(_), Some(_)) => Err(invalid(&field, format!("output {} is there twice", output.name))),
            (Some(result), None) => Ok(result.tensor.clone()),
            (None, _) => Ok(output.name.to_string()),
        }
    };
    outputs.iter().map(tensor).collect()
}

fn named(field: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_TENSOR_NAME {
        return Err(invalid(field, format!("a name has 1 to {MAX_TENSOR_NAME} bytes")));
    }
    // They are shown on terminals and in conditions.
    if name.chars().any(char::is_control) {
        return Err(invalid(field, "a name has no control characters"));
    }
    Ok(())
}
