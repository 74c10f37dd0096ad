//! A model's tensors bound to a job's inputs: every one once, of equal types, all with as many items. Nothing is cast.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orion_protocol::array::{self, Array};
use orion_protocol::dtype::DType;
use orion_protocol::task::{self, FeedFrom, InferenceWorkload};
use orion_protocol::{Reason, Refusal};

use crate::graph::{Dim, Graph, Input};
use crate::load::Load;
use crate::onnx;
use crate::tensor::{Data, Facts, Kind, Tensor, product};

/// A model whose tensors are bound.
pub struct Bound {
    graph: Graph,
    /// What is given at every launch, in the order of the graph's inputs that are left.
    pub feeds: Vec<Feed>,
    fills: Vec<Fill>,
    /// Bytes that filled tensors may take together.
    filled: u64,
    /// How many items the model takes at once, where it says so itself.
    pub fixed_items: Option<usize>,
    /// Names of the results in the model, in the job's order.
    pub results: Vec<String>,
}

/// An input of the model that comes from an input of the job.
pub struct Feed {
    input: Input,
    file: Arc<Vec<u8>>,
    array: Array,
    /// Dimensions, without the items' where there is one.
    shape: Vec<usize>,
    /// Bytes a row; none where it is the same for every item.
    pub item_bytes: Option<usize>,
}

/// An input of the model that has one value everywhere.
struct Fill {
    input: Input,
    text: String,
    /// Lengths of its dimensions; none is the items'.
    shape: Vec<Option<usize>>,
}

impl Feed {
    /// All its rows, or the whole of it.
    pub fn data(&self) -> &[u8] {
        self.array.data(&self.file)
    }
}

impl Bound {
    /// Which of the model's inputs have rows.
    pub fn is_rows(&self) -> Vec<bool> {
        self.feeds.iter().map(|feed| feed.item_bytes.is_some()).collect()
    }

    /// What a node is called in messages.
    pub fn node(&self, number: u32) -> String {
        let node = self.graph.nodes.get(number as usize);
        node.map_or_else(|| "the model's outputs".into(), |node| format!("node {} ({})", node.name, node.operator))
    }

    /// The model for so many items at once, and its inputs' types and shapes.
    pub fn graph(&self, items: usize) -> Result<(Graph, Vec<Facts>), Refusal> {
        let mut graph = self.graph.clone();
        let mut left = self.filled;
        for fill in &self.fills {
            let shape: Vec<usize> = fill.shape.iter().map(|dim| dim.unwrap_or(items)).collect();
            let bytes = product(&shape).map(|count| (count * fill.input.kind.bytes()) as u64);
            left = bytes.and_then(|bytes| left.checked_sub(bytes)).ok_or_else(|| {
                let why = format!("workload.inference.tensors: filled ones take over {} bytes together", self.filled);
                Refusal::new(Reason::TooLarge, why)
            })?;
            let tensor = filled(fill.input.kind, shape, &fill.text).map_err(|why| {
                let name = self.graph.name(fill.input.value);
                Refusal::new(Reason::InvalidSpec, format!("workload.inference.tensors[{name}].fill: {why}"))
            })?;
            graph.constants.insert(fill.input.value, Arc::new(tensor));
        }
        graph.inputs = self.feeds.iter().map(|feed| feed.input.clone()).collect();
        let facts = self.feeds.iter().map(|feed| {
            let items = feed.item_bytes.map(|_| items);
            Facts { kind: feed.input.kind, shape: items.into_iter().chain(feed.shape.iter().copied()).collect() }
        });
        Ok((graph, facts.collect()))
    }
}

/// Reads the model and binds it; filled tensors may take so many bytes together.
pub fn bind(load: &Load, workload: &InferenceWorkload, filled: u64) -> Result<Bound, Refusal> {
    let invalid = |why: String| Refusal::new(Reason::InvalidSpec, format!("workload.inference: {why}"));
    let model = load.inputs.get(workload.model as usize).ok_or_else(|| invalid("there is no such model".into()))?;
    let mut graph = onnx::read(Bytes::from_owner(Shared(model.clone())), &onnx::Limits::default())
        .map_err(|error| Refusal::new(Reason::InvalidInput, format!("the model: {error}")))?;
    let mut dims = Dims::new(workload)?;
    let mut binder = Binder { load, dims: &mut dims, feeds: Vec::new(), fills: Vec::new(), fixed: None };
    for input in &graph.inputs {
        let name = graph.name(input.value);
        let mut given = workload.tensors.iter().filter(|feed| feed.tensor == name);
        let feed = given.next().ok_or_else(|| invalid(format!("tensors: the model's input {name} is not there")))?;
        if given.next().is_some() {
            return Err(invalid(format!("tensors[{name}]: is there twice")));
        }
        binder.input(input, feed).map_err(|why| invalid(format!("tensors[{name}]: {why}")))?;
    }
    let Binder { feeds, fills, fixed, .. } = binder;
    for feed in &workload.tensors {
        if !graph.inputs.iter().any(|input| graph.name(input.value) == feed.tensor) {
            return Err(invalid(format!("tensors[{}]: the model has no such input", feed.tensor)));
        }
    }
    let fills =
        fills.into_iter().map(|(input, text)| dims.fill(input, text).map_err(invalid)).collect::<Result<_, _>>()?;
    if let Some(name) = dims.unused() {
        return Err(invalid(format!("dims[{name}]: the model has no dimension of that name, or it is the items'")));
    }
    let mut outputs = Vec::with_capacity(workload.results.len());
    for name in &workload.results {
        let found = graph.outputs.iter().find(|output| graph.name(**output) == name);
        outputs.push(*found.ok_or_else(|| invalid(format!("results: the model has no output {name}")))?);
    }
    if outputs.len() != load.outputs.len() {
        return Err(invalid("results: one for each output is needed".into()));
    }
    graph.outputs = outputs;
    if !feeds.iter().any(|feed| feed.item_bytes.is_some()) {
        return Err(invalid("tensors: none has a row for each item".into()));
    }
    Ok(Bound { graph, feeds, fills, filled, fixed_items: fixed, results: workload.results.clone() })
}

/// A file that readers of the model share.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What is known of named dimensions.
struct Dims {
    lengths: BTreeMap<String, usize>,
    /// Those of the job that no tensor asked for yet.
    unused: Vec<String>,
    /// What the items' dimension is called.
    items: Option<String>,
}

impl Dims {
    fn new(workload: &InferenceWorkload) -> Result<Dims, Refusal> {
        let mut lengths = BTreeMap::new();
        for (name, length) in &workload.dims {
            let length = usize::try_from(*length).ok().filter(|length| (1..1 << 31).contains(length));
            let length = length.ok_or_else(|| {
                Refusal::new(Reason::InvalidSpec, format!("workload.inference.dims[{name}]: must be within 1 and 2^31"))
            })?;
            lengths.insert(name.clone(), length);
        }
        Ok(Dims { unused: lengths.keys().cloned().collect(), lengths, items: None })
    }

    fn unused(&self) -> Option<&str> {
        self.unused.first().map(String::as_str)
    }

    /// A dimension that has this length.
    fn is(&mut self, dim: &Dim, length: usize) -> Result<(), String> {
        let expected = match dim {
            Dim::Known(known) => *known,
            Dim::Free => length,
            Dim::Named(name) if self.items.as_ref() == Some(name) => {
                return Err(format!("dimension {name} is the items'"));
            }
            Dim::Named(name) => {
                self.unused.retain(|unused| unused != name);
                *self.lengths.entry(name.clone()).or_insert(length)
            }
        };
        if expected == length { Ok(()) } else { Err(format!("a dimension is {length}, the model has {expected}")) }
    }

    /// A dimension that is the items'.
    fn is_items(&mut self, dim: &Dim, fixed: &mut Option<usize>) -> Result<(), String> {
        match dim {
            Dim::Known(0) => Err("the model's first dimension is 0".into()),
            Dim::Known(known) if fixed.is_some_and(|fixed| fixed != *known) => {
                Err("the model's inputs have different first dimensions".into())
            }
            Dim::Known(known) => {
                *fixed = Some(*known);
                Ok(())
            }
            Dim::Free => Ok(()),
            Dim::Named(name) if self.lengths.contains_key(name) => {
                Err(format!("dimension {name} is the items' here and has a length elsewhere"))
            }
            Dim::Named(name) => {
                let items = self.items.get_or_insert_with(|| name.clone());
                if items == name {
                    Ok(())
                } else {
                    Err(format!("the items' dimension is {items} elsewhere, and {name} here"))
                }
            }
        }
    }

    fn fill(&mut self, input: Input, text: String) -> Result<Fill, String> {
        let dims = input.shape.clone().unwrap_or_default();
        let length = |dim: &Dim| match dim {
            Dim::Known(known) => Ok(Some(*known)),
            Dim::Free => Err("fill: a dimension without a name or length cannot be filled".to_owned()),
            Dim::Named(name) if self.items.as_ref() == Some(name) => Ok(None),
            Dim::Named(name) => {
                self.unused.retain(|unused| unused != name);
                self.lengths.get(name).copied().map(Some).ok_or_else(|| format!("dims: {name} has no length"))
            }
        };
        let shape = dims.iter().map(length).collect::<Result<_, _>>()?;
        Ok(Fill { input, text, shape })
    }
}

struct Binder<'l> {
    load: &'l Load,
    dims: &'l mut Dims,
    feeds: Vec<Feed>,
    fills: Vec<(Input, String)>,
    fixed: Option<usize>,
}

impl Binder<'_> {
    fn input(&mut self, input: &Input, given: &task::Feed) -> Result<(), String> {
        let (at, shared) = match &given.from {
            FeedFrom::Fill(text) => {
                self.fills.push((input.clone(), text.clone()));
                return Ok(());
            }
            FeedFrom::Rows(at) => (*at, false),
            FeedFrom::Shared(at) => (*at, true),
        };
        let file = self.load.inputs.get(at as usize).ok_or("there is no such input")?;
        let array = array::find(file, file.len() as u64, given.key.as_deref()).map_err(|error| error.to_string())?;
        let header = &array.header;
        if header.dtype != dtype(input.kind) || input.kind == Kind::Bool {
            return Err(format!("the input is {}, the model takes {}", header.dtype.name(), input.kind));
        }
        let lengths = header.shape.iter().map(|dim| usize::try_from(*dim).map_err(|error| error.to_string()));
        let lengths: Vec<usize> = lengths.collect::<Result<_, _>>()?;
        if let Some(dims) = input.shape.as_ref().filter(|dims| dims.len() != lengths.len()) {
            return Err(format!("the input has {} dimensions, the model {}", lengths.len(), dims.len()));
        }
        let dims = input.shape.clone().unwrap_or_else(|| vec![Dim::Free; lengths.len()]);
        let bytes = |shape: &[usize]| product(shape).map(|count| count * input.kind.bytes()).ok_or("it is too large");
        let (shape, item_bytes) = if shared {
            for (dim, length) in dims.iter().zip(&lengths) {
                self.dims.is(dim, *length)?;
            }
            (lengths, None)
        } else {
            let (Some((first, rest)), Some((items, row))) = (dims.split_first(), lengths.split_first()) else {
                return Err("a single value has no rows".into());
            };
            if *items as u64 != self.load.units.items {
                return Err(format!("it has {items} rows, the job {} items", self.load.units.items));
            }
            self.dims.is_items(first, &mut self.fixed)?;
            for (dim, length) in rest.iter().zip(row) {
                self.dims.is(dim, *length)?;
            }
            (row.to_vec(), Some(bytes(row)?))
        };
        if item_bytes == Some(0) || array.bytes == 0 {
            return Err("it has no elements".into());
        }
        self.feeds.push(Feed { input: input.clone(), file: file.clone(), array, shape, item_bytes });
        Ok(())
    }
}

/// A tensor with one value everywhere.
fn filled(kind: Kind, shape: Vec<usize>, text: &str) -> Result<Tensor, String> {
    let count = product(&shape).ok_or("it is too large")?;
    let wrong = || format!("{text:?} is no {kind}");
    let data = match kind {
        Kind::F32 => {
            let value: f32 = text.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(wrong)?;
            Data::F32(vec![value; count])
        }
        Kind::I64 => Data::I64(vec![text.parse().map_err(|_| wrong())?; count]),
        Kind::I32 => Data::I32(vec![text.parse().map_err(|_| wrong())?; count]),
        Kind::Bool => match text {
            "0" | "false" => Data::Bool(vec![false; count]),
            "1" | "true" => Data::Bool(vec![true; count]),
            _ => return Err(wrong()),
        },
    };
    Tensor::new(shape, data).map_err(|error| error.to_string())
}

/// The type of an array file for elements of a kind; truth values leave as bytes of 0 and 1.
pub fn dtype(kind: Kind) -> DType {
    match kind {
        Kind::F32 => DType::Float32,
        Kind::I64 => DType::Int64,
        Kind::I32 => DType::Int32,
        Kind::Bool => DType::Uint8,
    }
}
