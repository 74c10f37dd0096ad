//! Why a file is refused, and where in it. Names of the file are quoted and cut, so that messages stay readable and short
//! whatever the file holds.

use std::fmt;

use orion_protocol::{Reason, Refusal};

use crate::tensor::{Facts, Misfit};

/// A refused file: where the fault is, and what it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct ReadError {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

/// A name out of the file: at most 80 characters of it, quoted and escaped where it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Box<str>);

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file, or the model as a whole.
    Model,
    /// A field by its path and number, where names are not known yet.
    Field(String),
    /// A node by its name, or by its number where it has none.
    Node {
        /// Its name.
        name: Option<Name>,
        /// Its number in the file.
        number: usize,
        /// Its operator.
        operator: Name,
        /// The attribute in question.
        attribute: Option<Name>,
    },
    /// A constant.
    Tensor(Name),
    /// An input of the model.
    Input(Name),
    /// An output of the model.
    Output(Name),
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// A field is longer than what holds it.
    #[error("it ends within a field")]
    Cut,
    /// A varint that does not end.
    #[error("a number is longer than ten bytes")]
    Endless,
    /// A wire type that ONNX does not use, or no field number.
    #[error("it is no protobuf of ONNX")]
    Wire,
    /// A field that can be there once.
    #[error("its field {0} is there twice")]
    Twice(&'static str),
    /// The decoder's words.
    #[error("it does not decode: {0}")]
    Decode(prost::DecodeError),
    /// Beyond a limit.
    #[error("{what}: {have}, and at most {max} are read")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How many there are, as far as they were counted.
        have: u64,
        /// How many there may be.
        max: u64,
    },
    /// Something that has to be there.
    #[error("has no {0}")]
    Missing(&'static str),
    /// Something that is not read.
    #[error("{0} are not supported")]
    Unsupported(&'static str),
    /// A version of the format outside of what is read.
    #[error("IR version {0} is not supported: use 3 to 13")]
    IrVersion(i64),
    /// A version of the operators outside of what is read.
    #[error("opset {0} is not supported: use 7 to 22 (onnx.version_converter changes it)")]
    Opset(i64),
    /// Operators of somebody else.
    #[error("its operator is of the domain {0}: only ONNX's own are supported")]
    Domain(Name),
    /// An element type that is not read.
    #[error("elements of type {0} are not supported: use float32, int64, int32 or bool")]
    Type(Name),
    /// Inputs that are no arrays.
    #[error("is no tensor, and only tensors are supported")]
    NoTensor,
    /// A dimension that cannot be.
    #[error("dimension {0} is negative")]
    Dimension(i64),
    /// More elements than can be addressed.
    #[error("the shape {0:?} is too large")]
    Shape(Vec<usize>),
    /// Bytes that are not what the shape says.
    #[error("{have} bytes of raw_data do not fill {facts}, which takes {want}")]
    Raw {
        /// What they should fill.
        facts: Box<Facts>,
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        want: usize,
    },
    /// Elements that are not as many as the shape says.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// Elements in a field that is not for their type.
    #[error("holds elements in {0}, which is not where its type has them")]
    Elsewhere(&'static str),
    /// Data in another file.
    #[error("its data is in another file: save the model with its data inside")]
    External,
    /// A truth value that is neither.
    #[error("holds the truth value {0}, which is neither 0 nor 1")]
    Truth(i64),
    /// A name that is taken.
    #[error("a value named {0} is there already")]
    Exists(Name),
    /// A value that is nowhere.
    #[error("takes {0}, which nothing makes")]
    Undefined(Name),
    /// A value that is made too late.
    #[error("takes {value}, which {maker} makes: nodes must be sorted, and free of cycles")]
    Unsorted {
        /// The value.
        value: Name,
        /// The node that makes it.
        maker: Box<Place>,
    },
    /// An output that is nowhere.
    #[error("nothing makes it")]
    Unmade,
    /// A declaration that the constant of the same name does not keep.
    #[error("is declared as {declared}, and the file's constant of this name is {held}")]
    Disagrees {
        /// Type and dimensions as declared.
        declared: Box<str>,
        /// What is there.
        held: Box<Facts>,
    },
    /// Two attributes of one name.
    #[error("is there twice")]
    Repeated,
    /// An attribute whose field is not that of its type.
    #[error("says it is of type {says}, and holds {holds}")]
    Holds {
        /// Its type.
        says: &'static str,
        /// What it holds too.
        holds: &'static str,
    },
    /// An attribute of a type that no supported operator has.
    #[error("attributes of type {0} are not supported")]
    AttributeType(Name),
    /// A graph within a node.
    #[error("holds a graph: control flow is not supported")]
    Subgraph,
    /// Text that is none.
    #[error("is not UTF-8")]
    Text,
    /// A constant's attribute.
    #[error("has to have exactly one of value, value_float, value_floats, value_int and value_ints")]
    Constant,
    /// A constant's operands.
    #[error("takes nothing and makes one value, and this one has other inputs or outputs")]
    ConstantOperands,
}

/// Longest part of a name that is shown.
const SHOWN: usize = 80;

impl Name {
    /// As much of it as is shown.
    pub fn new(name: &str) -> Name {
        let end = name.char_indices().nth(SHOWN).map(|(at, _)| at);
        Name(end.map_or_else(|| name.into(), |end| format!("{}...", &name[..end]).into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Model => f.write_str("model"),
            Place::Field(path) => f.write_str(path),
            Place::Node { name, number, operator, attribute } => {
                match name {
                    Some(name) => write!(f, "node {name} ({})", operator.0.escape_debug())?,
                    None => write!(f, "node #{number} ({})", operator.0.escape_debug())?,
                }
                attribute.as_ref().map_or(Ok(()), |attribute| write!(f, ", attribute {attribute}"))
            }
            Place::Tensor(name) => write!(f, "tensor {name}"),
            Place::Input(name) => write!(f, "input {name}"),
            Place::Output(name) => write!(f, "output {name}"),
        }
    }
}

impl Fault {
    /// At this place.
    pub(super) fn at(self, place: Place) -> ReadError {
        ReadError { place, fault: self }
    }
}

impl ReadError {
    /// The reason of the closed list.
    pub fn reason(&self) -> Reason {
        match self.fault {
            Fault::Limit { .. } | Fault::Shape(_) => Reason::TooLarge,
            _ => Reason::InvalidInput,
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Refusal {
        Refusal::new(error.reason(), error.to_string())
    }
}
