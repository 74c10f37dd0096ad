//! Whether the job's arguments fit the kernel's parameters: count, type, address space, const. The message names the
//! parameter as the source does.

use orion_protocol::dtype::DType;
use orion_protocol::task::{Argument, Builtin, KernelWorkload};
use orion_protocol::{Reason, Refusal};

use crate::builtin::header;
use crate::device::{Param, Space};
use crate::load::{Load, Sizes, builtin_name};

/// What a parameter is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// The input with this index.
    Input(usize),
    /// The output with this index.
    Output(usize),
    /// Always the same value.
    Value(DType, u64),
    /// A number that changes from unit to unit.
    PerUnit(DType, Builtin),
    /// Local memory of so many bytes.
    Local(u64),
}

/// What each parameter is set to, in order.
pub(crate) fn fit(
    load: &Load,
    workload: &KernelWorkload,
    sizes: &Sizes,
    params: &[Param],
) -> Result<Vec<Binding>, Refusal> {
    let arguments = &workload.arguments;
    if arguments.len() != params.len() {
        let (entry, want, have) = (&workload.entry_point, params.len(), arguments.len());
        return Err(mismatch(format!("kernel {entry} has {want} parameters, the job gives {have} arguments")));
    }
    let pairs = arguments.iter().zip(params).enumerate();
    pairs.map(|(at, (argument, param))| binding(load, sizes, at, argument, param)).collect()
}

fn binding(load: &Load, sizes: &Sizes, at: usize, argument: &Argument, param: &Param) -> Result<Binding, Refusal> {
    let refuse = |what: String, want: String| {
        let have = declaration(param);
        Err(mismatch(format!("parameter {at} is `{have}`, but arguments[{at}] is {what}, which needs `{want}`")))
    };
    let name = &param.name;
    match *argument {
        Argument::Input(index) => {
            let index = index as usize;
            let dtype = sizes.inputs[index].dtype;
            if param.space == Space::Global && param.is_const && pointee(param) == Some(dtype) {
                return Ok(Binding::Input(index));
            }
            refuse(format!("input {index} of {dtype}"), format!("__global const {}* {name}", type_of(dtype)))
        }
        Argument::Output(index) => {
            let index = index as usize;
            let (dtype, output) = (load.outputs[index].dtype, &load.outputs[index].name);
            if param.space == Space::Global && !param.is_const && pointee(param) == Some(dtype) {
                return Ok(Binding::Output(index));
            }
            refuse(format!("output {output} of {dtype}"), format!("__global {}* {name}", type_of(dtype)))
        }
        Argument::Scalar(dtype, bits) => {
            if param.space == Space::Private && scalar(&param.type_name) == Some(dtype) {
                return Ok(Binding::Value(dtype, bits));
            }
            refuse(format!("a scalar of {dtype}"), format!("{} {name}", type_of(dtype)))
        }
        Argument::Builtin(builtin) => match scalar(&param.type_name) {
            Some(dtype @ (DType::Uint32 | DType::Uint64)) if param.space == Space::Private => {
                number(load, at, builtin, dtype)
            }
            _ => refuse(format!("the builtin {}", builtin_name(builtin)), format!("uint {name}` or `ulong {name}")),
        },
        Argument::Local(bytes) => {
            if param.space == Space::Local {
                return Ok(Binding::Local(bytes));
            }
            refuse(format!("{bytes} bytes of local memory"), format!("__local T* {name}"))
        }
    }
}

fn number(load: &Load, at: usize, builtin: Builtin, dtype: DType) -> Result<Binding, Refusal> {
    let items = load.units.items;
    if dtype == DType::Uint32 && items > u64::from(u32::MAX) {
        return Err(mismatch(format!("parameter {at} is a uint, but the job's {items} items need a ulong")));
    }
    Ok(match builtin {
        Builtin::Items => Binding::Value(dtype, items),
        Builtin::UnitFirst | Builtin::UnitItems => Binding::PerUnit(dtype, builtin),
    })
}

/// What a kernel calls a type. It has no other floats than those, so for 64 bits of one it is told that.
fn type_of(dtype: DType) -> &'static str {
    match dtype {
        DType::Float32 => header::TYPE,
        DType::Float64 => "(no type: kernels have 32-bit floats)",
        integer => integer.opencl(),
    }
}

/// The scalar type with this name; compilers may spell it out.
fn scalar(type_name: &str) -> Option<DType> {
    if type_name.strip_prefix("struct ").unwrap_or(type_name) == header::TYPE {
        return Some(DType::Float32);
    }
    let words: Vec<&str> = type_name.split_whitespace().filter(|word| *word != "int" || type_name == "int").collect();
    match words.as_slice() {
        ["signed"] => Some(DType::Int32),
        ["unsigned"] => Some(DType::Uint32),
        ["unsigned", name] => DType::from_opencl(&format!("u{name}")),
        ["signed", name] | [name] => DType::from_opencl(name).filter(|dtype| !dtype.is_float()),
        _ => None,
    }
}

/// What a pointer points to.
fn pointee(param: &Param) -> Option<DType> {
    scalar(param.type_name.strip_suffix('*')?.trim_end())
}

/// The parameter as it would be written.
fn declaration(param: &Param) -> String {
    let Param { name, type_name, space, is_const } = param;
    let space = match space {
        Space::Global => "__global ",
        Space::Constant => "__constant ",
        Space::Local => "__local ",
        Space::Private => "",
    };
    let qualifier = if *is_const && *space != *"__constant " { "const " } else { "" };
    format!("{space}{qualifier}{type_name} {name}")
}

fn mismatch(why: String) -> Refusal {
    Refusal::new(Reason::ArgumentMismatch, why)
}
