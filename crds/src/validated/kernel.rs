//! The kernel workload of a spec: index space, definitions, arguments.

use orion_protocol::scalar::parse_scalar;
use orion_protocol::task::{Argument, Builtin, KernelWorkload, OutputSpec, Workload};
use orion_protocol::{Refusal, dtype::DType};

use super::{InputRef, invalid, positive};
use crate::job;

/// At most so much text of a kernel, in bytes.
const MAX_SOURCE: usize = 64 * 1024;
/// At most so many parameters, and so many definitions.
const MAX_ARGUMENTS: usize = 64;
const MAX_DEFINES: usize = 32;
/// At most so much local memory for one argument, in bytes; the device's own limit is found at preflight.
const MAX_LOCAL_BYTES: u64 = 1 << 20;
/// At most so large in one dimension: what every JSON reader carries exactly.
const MAX_DIMENSION: u64 = 1 << 53;
/// Longest name of a function or macro; an executor refuses longer ones.
const MAX_NAME: usize = 64;
const KERNEL: &str = "spec.workload.kernel";

/// The items: the last dimension of the index space.
pub(super) fn items(raw: &job::Kernel) -> Result<u64, Refusal> {
    let dims = dimensions(&format!("{KERNEL}.globalSize"), &raw.global_size, 3)?;
    let points = dims.iter().try_fold(1_u64, |all, dim| all.checked_mul(*dim)).filter(|points| *points < 1 << 63);
    match (points, dims.last()) {
        (Some(_), Some(items)) => Ok(*items),
        _ => Err(invalid(&format!("{KERNEL}.globalSize"), "has more points than fit in 63 bits")),
    }
}

/// Declared operations an item.
pub(super) fn work_per_item(raw: &job::Kernel) -> Result<u64, Refusal> {
    let text = &raw.work_per_item;
    let good = (1..=19).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
    let work = good.then(|| text.parse().ok()).flatten();
    work.ok_or_else(|| invalid(&format!("{KERNEL}.workPerItem"), format!("{text:?} is no whole number of at least 1")))
}

/// 1 to `max` numbers, each at least 1.
pub(super) fn dimensions(field: &str, raw: &[i64], max: usize) -> Result<Vec<u64>, Refusal> {
    if raw.is_empty() || raw.len() > max {
        return Err(invalid(field, format!("between 1 and {max} dimensions")));
    }
    let dimension = |value: &i64| positive(field, *value);
    let dims: Vec<u64> = raw.iter().map(dimension).collect::<Result<_, _>>()?;
    match dims.iter().find(|dim| **dim > MAX_DIMENSION) {
        Some(_) => Err(invalid(field, format!("each at most {MAX_DIMENSION}"))),
        None => Ok(dims),
    }
}

/// The whole of it.
pub(super) fn workload(
    raw: &job::Kernel,
    inputs: &[InputRef],
    outputs: &[OutputSpec],
    items_per_unit: u64,
) -> Result<KernelWorkload, Refusal> {
    let job::Kernel { source, entry_point, global_size, local_size, defines, work_per_item: _, arguments } = raw;
    let job::Source { inline: Some(source) } = source else {
        return Err(invalid(&format!("{KERNEL}.source"), "exactly one must be set of: inline"));
    };
    if source.is_empty() || source.len() > MAX_SOURCE || source.contains('\0') {
        return Err(invalid(
            &format!("{KERNEL}.source.inline"),
            format!("1 to {MAX_SOURCE} bytes of text, no zero byte"),
        ));
    }
    if !is_identifier(entry_point) {
        return Err(invalid(&format!("{KERNEL}.entryPoint"), format!("{entry_point:?} is no name of a function")));
    }
    let global_size = dimensions(&format!("{KERNEL}.globalSize"), global_size, 3)?;
    let local_size = match local_size {
        Some(local) => Some(work_group(local, &global_size, items_per_unit)?),
        None => None,
    };
    let workload = KernelWorkload {
        source: source.clone(),
        entry_point: entry_point.clone(),
        arguments: bind(arguments, inputs, outputs, local_size.is_some())?,
        global_size,
        local_size,
        defines: definitions(defines)?,
    };
    let bytes = Workload::Kernel(workload.clone()).object().len();
    // Frame and length prefixes take a few bytes of their own.
    if bytes + 64 > Workload::MAX_BYTES {
        return Err(invalid(
            KERNEL,
            format!("is {bytes} bytes long in all, at most {} are allowed", Workload::MAX_BYTES),
        ));
    }
    Ok(workload)
}

/// A work-group must divide the index space, and a unit on the item dimension: no group may reach over a unit's edge.
fn work_group(raw: &[i64], global: &[u64], items_per_unit: u64) -> Result<Vec<u64>, Refusal> {
    let field = format!("{KERNEL}.localSize");
    let local = dimensions(&field, raw, 3)?;
    if local.len() != global.len() {
        return Err(invalid(&field, "must have as many dimensions as globalSize"));
    }
    if let Some((local, global)) = local.iter().zip(global).find(|(local, global)| !global.is_multiple_of(**local)) {
        return Err(invalid(&field, format!("{local} does not divide {global} of globalSize")));
    }
    match local.last() {
        Some(last) if !items_per_unit.is_multiple_of(*last) => {
            Err(invalid(&field, format!("{last} does not divide the {items_per_unit} of spec.sharding.itemsPerUnit")))
        }
        _ => Ok(local),
    }
}

/// `-D` definitions. They become part of the compiler's options, so nothing may be in them that starts another option.
fn definitions(raw: &std::collections::BTreeMap<String, String>) -> Result<Vec<(String, String)>, Refusal> {
    if raw.len() > MAX_DEFINES {
        return Err(invalid(&format!("{KERNEL}.defines"), format!("at most {MAX_DEFINES} are allowed")));
    }
    for (name, value) in raw {
        let field = format!("{KERNEL}.defines[{name}]");
        if !is_identifier(name) {
            return Err(invalid(&field, "is no name of a macro"));
        }
        let lower = name.to_ascii_lowercase();
        if ["__", "get_", "orion_"].iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(invalid(&field, "names that start with __, get_ or orion_ are the platform's"));
        }
        let good = |c: u8| c.is_ascii_alphanumeric() || b"_.+-*/%()<>=!&|^~?:,[]{};".contains(&c);
        if value.len() > 256 || !value.bytes().all(good) {
            return Err(invalid(&field, "at most 256 letters, digits and operators; no blanks, quotes or backslashes"));
        }
    }
    Ok(raw.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn is_identifier(text: &str) -> bool {
    let letter = |c: u8| c.is_ascii_alphabetic() || c == b'_';
    let first = text.bytes().next().is_some_and(letter);
    first && text.len() <= MAX_NAME && text.bytes().all(|c| letter(c) || c.is_ascii_digit())
}

fn bind(
    raw: &[job::Argument],
    inputs: &[InputRef],
    outputs: &[OutputSpec],
    fixed_groups: bool,
) -> Result<Vec<Argument>, Refusal> {
    let list = format!("{KERNEL}.arguments");
    if raw.is_empty() || raw.len() > MAX_ARGUMENTS {
        return Err(invalid(&list, format!("between 1 and {MAX_ARGUMENTS} are needed")));
    }
    let bind = |(at, raw)| argument(&format!("{list}[{at}]"), raw, inputs, outputs, fixed_groups);
    let arguments: Vec<Argument> = raw.iter().enumerate().map(bind).collect::<Result<_, _>>()?;
    let count = |wanted: &Argument| arguments.iter().filter(|argument| *argument == wanted).count();
    for (at, output) in (0..).zip(outputs) {
        match count(&Argument::Output(at)) {
            1 => {}
            0 => {
                return Err(invalid(
                    &format!("spec.outputs[{}]", output.name),
                    "no argument of the kernel is bound to it",
                ));
            }
            _ => return Err(invalid(&list, format!("output {} is bound more than once", output.name))),
        }
    }
    for (at, input) in (0..).zip(inputs) {
        if count(&Argument::Input(at)) == 0 {
            return Err(invalid(&format!("spec.inputs[{}]", input.name), "no argument of the kernel is bound to it"));
        }
    }
    Ok(arguments)
}

fn argument(
    field: &str,
    raw: &job::Argument,
    inputs: &[InputRef],
    outputs: &[OutputSpec],
    fixed_groups: bool,
) -> Result<Argument, Refusal> {
    let job::Argument { input, scalar, builtin, local, output } = raw;
    let place = |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok());
    match (input, scalar, builtin, local, output) {
        (Some(name), None, None, None, None) => place(inputs.iter().position(|input| input.name.as_str() == name))
            .map(Argument::Input)
            .ok_or_else(|| invalid(&format!("{field}.input"), format!("there is no input {name:?} in spec.inputs"))),
        (None, Some(job::Scalar { type_, value }), None, None, None) => {
            let dtype = DType::from_opencl(type_)
                .ok_or_else(|| invalid(&format!("{field}.scalar.type"), format!("unknown type {type_:?}")))?;
            let bits = parse_scalar(dtype, value).map_err(|why| invalid(&format!("{field}.scalar.value"), why))?;
            Ok(Argument::Scalar(dtype, bits))
        }
        (None, None, Some(name), None, None) => match name.as_str() {
            "Items" => Ok(Argument::Builtin(Builtin::Items)),
            "UnitFirst" => Ok(Argument::Builtin(Builtin::UnitFirst)),
            "UnitItems" => Ok(Argument::Builtin(Builtin::UnitItems)),
            _ => Err(invalid(&format!("{field}.builtin"), "must be Items, UnitFirst or UnitItems")),
        },
        (None, None, None, Some(job::Local { bytes }), None) => {
            let bytes = positive(&format!("{field}.local.bytes"), *bytes)?;
            if bytes > MAX_LOCAL_BYTES {
                return Err(invalid(&format!("{field}.local.bytes"), format!("at most {MAX_LOCAL_BYTES}")));
            }
            if !fixed_groups {
                return Err(invalid(
                    &format!("{field}.local"),
                    "needs localSize: without it the platform chooses the groups",
                ));
            }
            Ok(Argument::Local(bytes))
        }
        (None, None, None, None, Some(name)) => place(outputs.iter().position(|output| output.name.as_str() == name))
            .map(Argument::Output)
            .ok_or_else(|| invalid(&format!("{field}.output"), format!("there is no output {name:?} in spec.outputs"))),
        _ => Err(invalid(field, "exactly one must be set of: input, scalar, builtin, local, output")),
    }
}
