//! Operators on elements at the same place.

use super::node::Call;
use super::{Lowering, Outcome};
use crate::graph::Attribute;
use crate::program::{Action, Function, Slot};
use crate::tensor::{Facts, Kind, Tensor};

pub(super) fn lower(lowering: &mut Lowering<'_>, call: &Call<'_>) -> Outcome<Option<Vec<Slot>>> {
    if let Some(function) = unary(call)? {
        let input = call.input(0)?;
        lowering.float(input)?;
        return Ok(Some(vec![lowering.map(function, &[input])?]));
    }
    if let Some((function, kind)) = binary(call)? {
        let inputs = call.all()?;
        return Ok(Some(vec![lowering.chain(function, &inputs, kind)?]));
    }
    let slot = match call.operator() {
        "Neg" => lowering.map(Function::Neg, &[call.input(0)?])?,
        "Abs" => lowering.map(Function::Abs, &[call.input(0)?])?,
        "Relu" => lowering.map(Function::Relu, &[call.input(0)?])?,
        "Not" => lowering.map(Function::Not, &[call.input(0)?])?,
        "Cast" => {
            let to = kind_of_code(call.int("to", 0)?)?;
            lowering.cast(call.input(0)?, to)?
        }
        "Gelu" => lowering.gelu_tanh(call)?,
        "Clip" => lowering.clip(call)?,
        "HardSwish" => {
            let input = call.input(0)?;
            let gate = lowering.map(Function::HardSigmoid(1.0 / 6.0, 0.5), &[input])?;
            lowering.map(Function::Mul, &[input, gate])?
        }
        "Pow" => lowering.pow(call.input(0)?, call.input(1)?)?,
        "Where" => lowering.select(call.input(0)?, call.input(1)?, call.input(2)?)?,
        _ => return Ok(None),
    };
    Ok(Some(vec![slot]))
}

/// Functions of one float.
fn unary(call: &Call<'_>) -> Outcome<Option<Function>> {
    Ok(Some(match call.operator() {
        "Exp" => Function::Exp,
        "Log" => Function::Log,
        "Sqrt" => Function::Sqrt,
        "Reciprocal" => Function::Reciprocal,
        "Erf" => Function::Erf,
        "Tanh" => Function::Tanh,
        "Sigmoid" => Function::Sigmoid,
        "Sin" => Function::Sin,
        "Cos" => Function::Cos,
        "LeakyRelu" => Function::LeakyRelu(call.float("alpha", 0.01)?),
        "HardSigmoid" => Function::HardSigmoid(call.float("alpha", 0.2)?, call.float("beta", 0.5)?),
        "Gelu" if call.text("approximate", "none")? == "none" => Function::Gelu,
        _ => return Ok(None),
    }))
}

/// Functions of two, or of several one after the other; and the result's type where it is not the operands'.
fn binary(call: &Call<'_>) -> Outcome<Option<(Function, Option<Kind>)>> {
    let truth = Some(Kind::Bool);
    Ok(Some(match call.operator() {
        "Add" | "Sum" => (Function::Add, None),
        "Sub" => (Function::Sub, None),
        "Mul" => (Function::Mul, None),
        "Div" => (Function::Div, None),
        "Min" => (Function::Min, None),
        "Max" => (Function::Max, None),
        "Mod" if call.flag("fmod")? => (Function::Rem, None),
        "Mod" => (Function::Mod, None),
        "And" => (Function::And, truth),
        "Or" => (Function::Or, truth),
        "Equal" => (Function::Equal, truth),
        "Less" => (Function::Less, truth),
        "LessOrEqual" => (Function::LessOrEqual, truth),
        "Greater" => (Function::Greater, truth),
        "GreaterOrEqual" => (Function::GreaterOrEqual, truth),
        _ => return Ok(None),
    }))
}

/// Element types by the number that files give them.
pub(super) fn kind_of_code(code: i64) -> Outcome<Kind> {
    match code {
        1 => Ok(Kind::F32),
        6 => Ok(Kind::I32),
        7 => Ok(Kind::I64),
        9 => Ok(Kind::Bool),
        _ => Err(format!("element type {code} is not supported; float32, int32, int64 and bool are").into()),
    }
}

/// The shape of operands of these shapes side by side: from the end, equal or 1.
pub(super) fn broadcast<'s>(shapes: impl IntoIterator<Item = &'s [usize]>) -> Outcome<Vec<usize>> {
    let mut all: Vec<usize> = Vec::new();
    for shape in shapes {
        if shape.len() > all.len() {
            all.splice(0..0, vec![1; shape.len() - all.len()]);
        }
        let skip = all.len() - shape.len();
        for (dim, other) in all.iter_mut().skip(skip).zip(shape) {
            match (*dim, *other) {
                (_, 1) => {}
                (1, other) => *dim = other,
                (dim, other) if dim == other => {}
                _ => return Err(format!("shapes do not fit: {shape:?} beside {all:?}").into()),
            }
        }
    }
    Ok(all)
}

impl Lowering<'_> {
    /// Refuses anything but floats.
    pub(super) fn float(&self, slot: Slot) -> Outcome<()> {
        let facts = self.facts(slot);
        if facts.kind == Kind::F32 { Ok(()) } else { Err(format!("is not defined for {facts}").into()) }
    }

    /// A function of elements; the result has the first operand's type.
    pub(super) fn map(&mut self, function: Function, inputs: &[Slot]) -> Outcome<Slot> {
        let kind = inputs.first().map_or(Kind::F32, |slot| self.facts(*slot).kind);
        self.map_to(function, inputs, kind)
    }

    fn map_to(&mut self, function: Function, inputs: &[Slot], kind: Kind) -> Outcome<Slot> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|slot| self.shape(*slot)).collect();
        let shape = broadcast(shapes.iter().map(Vec::as_slice))?;
        self.step(Action::Map(function), inputs, Facts { kind, shape })
    }

    /// One operand after the other, from the left.
    fn chain(&mut self, function: Function, inputs: &[Slot], kind: Option<Kind>) -> Outcome<Slot> {
        let Some((first, rest)) = inputs.split_first() else { return Err("has no inputs".into()) };
        let mut all = *first;
        for next in rest {
            let (a, b) = (self.facts(all).kind, self.facts(*next).kind);
            if a != b {
                return Err(format!("operands are {a} and {b}").into());
            }
            let logical = matches!(function, Function::And | Function::Or);
            let defined = match a {
                Kind::Bool => logical || function == Function::Equal,
                Kind::F32 => !logical && function != Function::Mod,
                Kind::I64 | Kind::I32 => !logical,
            };
            if !defined {
                return Err(format!("is not defined for {a}").into());
            }
            all = self.map_to(function, &[all, *next], kind.unwrap_or(a))?;
        }
        Ok(all)
    }

    pub(super) fn cast(&mut self, slot: Slot, to: Kind) -> Outcome<Slot> {
        if self.facts(slot).kind == to {
            return Ok(slot);
        }
        self.map_to(Function::Cast(to), &[slot], to)
    }

    pub(super) fn scalar_f32(&mut self, value: f32) -> Outcome<Slot> {
        self.constant(Tensor::scalar(value))
    }

    /// x / 2 (1 + tanh(a (x + b x^3))), a = sqrt(2 / pi), b = 0.044715: the cube as x x x, the sums by fma.
    fn gelu_tanh(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let kind = call.text("approximate", "none")?;
        if kind != "tanh" {
            return Err(format!("attribute approximate is {kind:?}").into());
        }
        let x = call.input(0)?;
        self.float(x)?;
        let [a, b, half, one] = [0.797_884_6, 0.044_715, 0.5, 1.0].map(|value| self.scalar_f32(value));
        let (a, b, half, one) = (a?, b?, half?, one?);
        let square = self.map(Function::Mul, &[x, x])?;
        let cube = self.map(Function::Mul, &[square, x])?;
        let inner = self.map(Function::Fma, &[cube, b, x])?;
        let scaled = self.map(Function::Mul, &[inner, a])?;
        let tanh = self.map(Function::Tanh, &[scaled])?;
        let gate = self.map(Function::Add, &[tanh, one])?;
        let halved = self.map(Function::Mul, &[x, half])?;
        self.map(Function::Mul, &[halved, gate])
    }

    fn clip(&mut self, call: &Call<'_>) -> Outcome<Slot> {
        let mut slot = call.input(0)?;
        for (name, at, function) in [("min", 1, Function::Max), ("max", 2, Function::Min)] {
            let bound = match call.node.attributes.get(name) {
                Some(Attribute::Float(bound)) => Some(self.scalar_f32(*bound)?),
                Some(_) => return Err(format!("attribute {name} is no float").into()),
                None => call.optional(at),
            };
            if let Some(bound) = bound {
                slot = self.chain(function, &[slot, bound], None)?;
            }
        }
        Ok(slot)
    }

    /// The result has the base's type. Whole exponents of whole bases stay whole; anything else goes through floats.
    fn pow(&mut self, base: Slot, exponent: Slot) -> Outcome<Slot> {
        let (kind, of) = (self.facts(base).kind, self.facts(exponent).kind);
        if kind == Kind::Bool || of == Kind::Bool {
            return Err("is not defined for bool".into());
        }
        if kind == Kind::F32 || of == Kind::F32 {
            let (base, exponent) = (self.cast(base, Kind::F32)?, self.cast(exponent, Kind::F32)?);
            let power = match self.small_power(base, exponent) {
                Some(times) => self.product_with_itself(base, times)?,
                None => self.map(Function::Pow, &[base, exponent])?,
            };
            return self.cast(power, kind);
        }
        let exponent = self.cast(exponent, kind)?;
        self.map(Function::Pow, &[base, exponent])
    }

    /// A known exponent of 2 or 3 for every element, as exporters write squares and cubes: products, which cost a hundredth.
    fn small_power(&self, base: Slot, exponent: Slot) -> Option<usize> {
        let known = self.known(exponent)?;
        let fits = known.shape().len() <= self.shape(base).len();
        match known.as_slice::<f32>()? {
            [2.0] if fits => Some(2),
            [3.0] if fits => Some(3),
            _ => None,
        }
    }

    fn product_with_itself(&mut self, base: Slot, times: usize) -> Outcome<Slot> {
        (1..times).try_fold(base, |power, _| self.map(Function::Mul, &[power, base]))
    }

    pub(super) fn select(&mut self, condition: Slot, yes: Slot, no: Slot) -> Outcome<Slot> {
        let kinds = [condition, yes, no].map(|slot| self.facts(slot).kind);
        if kinds[0] != Kind::Bool || kinds[1] != kinds[2] {
            return Err(format!("operands are {}, {} and {}", kinds[0], kinds[1], kinds[2]).into());
        }
        self.map_to(Function::Select, &[condition, yes, no], kinds[1])
    }
}
