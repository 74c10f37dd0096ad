//! Functions of elements: as many as follow each other become one launch, whose text is made here.

use std::fmt::Write as _;

use super::view::loops;
use super::{BLOCK, BufferId, GROUP, Planned, Planner, Text, View, c_type, signed};
use crate::builtin;
use crate::program::{Action, Function, Slot, Step};
use crate::tensor::Kind;

/// Operands of one launch.
const MAX_OPERANDS: usize = 12;
/// Functions in one launch: what walks over them does so by recursion.
pub(super) const MAX_CALLS: usize = 64;

/// Functions applied to functions.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// A value that lies in memory.
    Leaf(Slot),
    /// A float that is known, and the same for all elements: compilers make less of what is done with it.
    Known(f32),
    /// A function, its result's type, and what it is applied to.
    Call(Function, Kind, Vec<Tree>),
}

impl Tree {
    fn leaves(&self, into: &mut Vec<Slot>) {
        match self {
            Tree::Leaf(slot) if !into.contains(slot) => into.push(*slot),
            Tree::Leaf(_) | Tree::Known(_) => {}
            Tree::Call(_, _, parts) => parts.iter().for_each(|part| part.leaves(into)),
        }
    }

    pub(super) fn calls(&self) -> usize {
        match self {
            Tree::Leaf(_) | Tree::Known(_) => 0,
            Tree::Call(_, _, parts) => 1 + parts.iter().map(Tree::calls).sum::<usize>(),
        }
    }
}

impl Planner<'_> {
    pub(super) fn map(&mut self, step: &Step, function: Function) -> Planned<()> {
        let facts = self.facts(step.output).clone();
        let parts: Vec<Tree> = step
            .inputs
            .iter()
            .map(|slot| match self.trees.get(slot) {
                // Only who has this one use was put off, and only for a step of the same shape.
                Some(tree) => tree.clone(),
                None => self.leaf(*slot),
            })
            .collect();
        let tree = Tree::Call(function, facts.kind, parts);
        let mut leaves = Vec::new();
        tree.leaves(&mut leaves);
        if leaves.len() > MAX_OPERANDS || tree.calls() > MAX_CALLS {
            // Too many at once: the operands are computed on their own.
            for slot in &step.inputs {
                self.view(*slot)?;
            }
            let parts = step.inputs.iter().map(|slot| Tree::Leaf(*slot)).collect();
            return self.emit_map(step.output, &Tree::Call(function, facts.kind, parts));
        }
        for slot in &step.inputs {
            self.trees.remove(slot);
        }
        if self.feeds_a_map(step.output) {
            self.trees.insert(step.output, tree);
            return Ok(());
        }
        self.emit_map(step.output, &tree)
    }

    /// An operand that is not computed on the way.
    fn leaf(&self, slot: Slot) -> Tree {
        match self.program.constants.get(&slot).and_then(|tensor| tensor.as_slice::<f32>()) {
            Some([value]) => Tree::Known(*value),
            _ => Tree::Leaf(slot),
        }
    }

    /// Whether the value's only use is a function of elements with the same shape.
    pub(super) fn feeds_a_map(&self, slot: Slot) -> bool {
        let Some([only]) = self.uses.get(&slot).map(Vec::as_slice) else { return false };
        self.program.steps.get(*only).is_some_and(|next| {
            matches!(next.action, Action::Map(_)) && self.facts(next.output).shape == self.facts(slot).shape
        })
    }

    /// One launch for a tree.
    pub(super) fn emit_map(&mut self, slot: Slot, tree: &Tree) -> Planned<()> {
        let mut leaves = Vec::new();
        tree.leaves(&mut leaves);
        let shape = self.facts(slot).shape.clone();
        let mut operands = Vec::new();
        for leaf in &leaves {
            // A contraction may wait for this: then its view says where its result would lie.
            let view = match self.pending.get(leaf) {
                Some(pending) => pending.view.clone(),
                None => self.view(*leaf)?,
            };
            operands.push((self.facts(*leaf).kind, expand(&view, &shape)));
        }
        if self.contract_with(slot, tree, &leaves, &operands) {
            return Ok(());
        }
        let kind = self.facts(slot).kind;
        let mut out = self.output(slot);
        // Dimensions lie in the order of an operand that has them all, so that images keep their channels side by side.
        let whole = operands
            .iter()
            .find(|(_, view)| shape.iter().zip(&view.strides).all(|(dim, step)| *dim == 1 || *step != 0));
        if let Some((_, view)) = whole {
            out.strides = view.dense_strides();
            self.views.insert(slot, out.clone());
        }
        self.launch_map(&operands, (kind, &out), tree, &leaves);
        Ok(())
    }

    /// Copies elements to where they are wanted.
    pub(super) fn copy(&mut self, kind: Kind, from: &View, to: &View) {
        let slot = Slot(0);
        self.launch_map(&[(kind, from.clone())], (kind, to), &Tree::Leaf(slot), &[slot]);
    }

    fn launch_map(&mut self, operands: &[(Kind, View)], (kind, out): (Kind, &View), tree: &Tree, leaves: &[Slot]) {
        if out.shape.contains(&0) {
            return;
        }
        let views: Vec<&View> = std::iter::once(out).chain(operands.iter().map(|(_, view)| view)).collect();
        let (mut sizes, mut strides) = loops(&views);
        let inner = sizes.pop().unwrap_or(1);
        let inner_strides: Vec<isize> = strides.iter_mut().map(|strides| strides.pop().unwrap_or(0)).collect();
        let rows: usize = sizes.iter().product();
        let (block, rows_an_item, group) = if self.tile.grouped {
            let across = inner.next_power_of_two().min(GROUP);
            (1, 1, [across, GROUP / across, 1])
        } else {
            (inner.min(BLOCK), (BLOCK / inner).clamp(1, rows), [1; 3])
        };
        let mut meta = vec![signed(inner), signed(block), signed(rows), signed(rows_an_item)];
        meta.extend(sizes.iter().map(|size| signed(*size)));
        for (view, strides) in views.iter().zip(&strides) {
            meta.push(signed(view.offset));
            meta.extend(strides.iter().map(|stride| *stride as i64));
        }
        meta.extend(inner_strides.iter().map(|stride| *stride as i64));
        let kinds: Vec<Kind> = operands.iter().map(|(kind, _)| *kind).collect();
        let source = text(&kinds, kind, &inner_strides, (sizes.len(), group), tree, leaves);
        let buffers: Vec<BufferId> = views.iter().map(|view| view.buffer).collect();
        let global = [inner.div_ceil(block), rows.div_ceil(rows_an_item), 1];
        self.launch(Text { source, entry: "map", group }, buffers, &meta, global);
    }
}

/// An operand as if it had the result's shape.
fn expand(view: &View, shape: &[usize]) -> View {
    let mut strides = vec![0; shape.len() - view.shape.len()];
    strides.extend(view.strides.iter().zip(&view.shape).map(|(stride, dim)| if *dim == 1 { 0 } else { *stride }));
    View { buffer: view.buffer, offset: view.offset, shape: shape.to_vec(), strides }
}

/// How the innermost loop reads an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step1 {
    Next,
    Same,
    Far,
}

fn text(
    kinds: &[Kind],
    kind: Kind,
    inner: &[isize],
    (outer, group): (usize, [usize; 3]),
    tree: &Tree,
    leaves: &[Slot],
) -> String {
    let steps: Vec<Step1> = inner
        .iter()
        .map(|stride| match stride {
            1 => Step1::Next,
            0 => Step1::Same,
            _ => Step1::Far,
        })
        .collect();
    let wide = group == [1; 3]
        && kind == Kind::F32
        && steps[0] == Step1::Next
        && !steps.contains(&Step1::Far)
        && all_float(tree, kinds);
    let mut text = String::new();
    let mut line = |words: &str| {
        text.push_str(words);
        text.push('\n');
    };
    let mut parameters = format!("__global {} *restrict out", c_type(kind));
    for (at, kind) in kinds.iter().enumerate() {
        let _ = write!(parameters, ", __global const {} *p{at}", c_type(*kind));
    }
    // An operand may be the output's own buffer nowhere: outputs are new.
    let [across, down, _] = group;
    line(&format!(
        "__kernel __attribute__((reqd_work_group_size({across}, {down}, 1))) void map({parameters}, __global const long *metas, const long meta)"
    ));
    line("{\n    __global const long *m = metas + meta;");
    line("    const long n = m[0], begin = get_global_id(0) * m[1], end = min(begin + m[1], n);");
    line("    const long last_row = min((long)(get_global_id(1) + 1) * m[3], m[2]);");
    line("    for (long row = get_global_id(1) * m[3]; row < last_row; row++) {\n        long rest = row;");
    for dim in (0..outer).rev() {
        line(&format!("        const long i{dim} = rest % m[{}]; rest /= m[{0}];", 4 + dim));
    }
    let place = |operand: usize| {
        let base = 4 + outer + operand * (outer + 1);
        let mut place = format!("m[{base}]");
        for dim in 0..outer {
            // Writing to a String cannot fail.
            let _ = write!(place, " + i{dim} * m[{}]", base + 1 + dim);
        }
        place
    };
    line(&format!("        __global {} *q = out + {};", c_type(kind), place(0)));
    for (at, kind) in kinds.iter().enumerate() {
        line(&format!("        __global const {} *q{at} = p{at} + {};", c_type(*kind), place(at + 1)));
    }
    line("        long i = begin;");
    if wide {
        line("        for (; i + 16 <= end; i += 16) {");
        for (at, step) in steps.iter().skip(1).enumerate() {
            line(&match step {
                Step1::Next => format!("            const float16 x{at} = vload16(0, q{at} + i);"),
                _ => format!("            const float16 x{at} = (float16)(q{at}[0]);"),
            });
        }
        let (statements, result) = statements(tree, leaves, kinds, true);
        line(&statements);
        line(&format!("            vstore16({result}, 0, q + i);\n        }}"));
    }
    line("        for (; i < end; i++) {");
    let base = 4 + outer + (kinds.len() + 1) * (outer + 1);
    for (at, step) in steps.iter().skip(1).enumerate() {
        let index = match step {
            Step1::Next => "i".to_owned(),
            Step1::Same => "0".to_owned(),
            Step1::Far => format!("i * m[{}]", base + 1 + at),
        };
        line(&format!("            const {} x{at} = q{at}[{index}];", c_type(kinds[at])));
    }
    let (statements, result) = statements(tree, leaves, kinds, false);
    line(&statements);
    let index = if steps[0] == Step1::Next { "i".to_owned() } else { format!("i * m[{base}]") };
    line(&format!("            q[{index}] = {result};\n        }}\n    }}\n}}"));
    builtin::complete(&text)
}

/// Whether everything is a float, so that sixteen can be done at once.
pub(super) fn all_float(tree: &Tree, kinds: &[Kind]) -> bool {
    fn calls(tree: &Tree) -> bool {
        match tree {
            Tree::Leaf(_) | Tree::Known(_) => true,
            // These are written for one float at a time.
            Tree::Call(Function::Rem | Function::Sin | Function::Cos | Function::Pow, ..) => false,
            Tree::Call(_, kind, parts) => *kind == Kind::F32 && parts.iter().all(calls),
        }
    }
    kinds.iter().all(|kind| *kind == Kind::F32) && calls(tree)
}

/// One statement a function, so that nothing can be contracted; and the name of the result.
pub(super) fn statements(tree: &Tree, leaves: &[Slot], kinds: &[Kind], wide: bool) -> (String, String) {
    let mut writer = Writer { leaves, kinds, wide, text: String::new(), count: 0 };
    let (result, _) = writer.write(tree);
    (writer.text, result)
}

struct Writer<'t> {
    leaves: &'t [Slot],
    kinds: &'t [Kind],
    wide: bool,
    text: String,
    count: usize,
}

impl Writer<'_> {
    fn write(&mut self, tree: &Tree) -> (String, Kind) {
        match tree {
            Tree::Leaf(slot) => {
                let at = self.leaves.iter().position(|leaf| leaf == slot).unwrap_or(0);
                (format!("x{at}"), self.kinds.get(at).copied().unwrap_or(Kind::F32))
            }
            Tree::Known(value) => (literal(*value, self.wide), Kind::F32),
            Tree::Call(function, kind, trees) => {
                let parts: Vec<(String, Kind)> = trees.iter().map(|part| self.write(part)).collect();
                let of = parts.first().map_or(*kind, |(_, kind)| *kind);
                let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
                let name = format!("t{}", self.count);
                self.count += 1;
                let c_type = if self.wide { "float16" } else { c_type(*kind) };
                let expression = match (function, trees.as_slice()) {
                    (Function::Div, [_, Tree::Known(by)]) if is_power_of_two(*by) => {
                        format!("{} * {}", names[0], literal(by.recip(), self.wide))
                    }
                    _ => expression(*function, of, *kind, &names, self.wide),
                };
                // Writing to a String cannot fail.
                let _ = writeln!(self.text, "            const {c_type} {name} = {expression};");
                (name, *kind)
            }
        }
    }
}

/// Of such a number the reciprocal is a float too, so that to multiply by it rounds what to divide would round.
fn is_power_of_two(value: f32) -> bool {
    value.is_normal() && value.recip().is_normal() && value.to_bits().trailing_zeros() >= f32::MANTISSA_DIGITS - 1
}

/// A float, or sixteen of them, bit by bit.
fn literal(value: f32, wide: bool) -> String {
    let word = format!("as_float(0x{:08x}u)", value.to_bits());
    if wide { format!("(float16)({word})") } else { word }
}

/// A function in OpenCL C. `of` is the first operand's type, `kind` the result's.
fn expression(function: Function, of: Kind, kind: Kind, names: &[&str], wide: bool) -> String {
    let [x, y, z] = [0, 1, 2].map(|at| names.get(at).copied().unwrap_or("0"));
    let float = of == Kind::F32;
    let lit = |value: f32| literal(value, wide);
    let own = |name: &str| format!("orion_{name}{}({x})", if wide { "16" } else { "" });
    let own2 = |name: &str| format!("orion_{name}{}({x}, {y})", if wide { "16" } else { "" });
    let unsigned = if of == Kind::I64 { "ulong" } else { "uint" };
    let bits = if of == Kind::I64 { "long" } else { "int" };
    let wraps = |sign: &str| format!("({bits})(({unsigned}){x} {sign} ({unsigned}){y})");
    match function {
        Function::Neg if float => format!("-{x}"),
        Function::Neg => format!("({bits})(0 - ({unsigned}){x})"),
        Function::Abs if float => format!("fabs({x})"),
        Function::Abs => format!("{x} < 0 ? ({bits})(0 - ({unsigned}){x}) : {x}"),
        Function::Exp => own("exp"),
        Function::Log => own("log"),
        Function::Sqrt => own("sqrt"),
        Function::Reciprocal => format!("orion_div{}({}, {x})", if wide { "16" } else { "" }, lit(1.0)),
        Function::Erf => own("erf"),
        Function::Tanh => own("tanh"),
        Function::Sigmoid => own("sigmoid"),
        Function::Gelu => own("gelu"),
        Function::Sin => own("sin"),
        Function::Cos => own("cos"),
        Function::Relu if float => format!("{x} < {zero} ? {zero} : {x}", zero = lit(0.0)),
        Function::Relu => format!("{x} < 0 ? 0 : {x}"),
        Function::LeakyRelu(alpha) => format!("{x} < {} ? {} * {x} : {x}", lit(0.0), lit(alpha)),
        Function::HardSigmoid(alpha, beta) => {
            let suffix = if wide { "16" } else { "" };
            format!(
                "orion_max{suffix}({}, orion_min{suffix}({}, fma({}, {x}, {})))",
                lit(0.0),
                lit(1.0),
                lit(alpha),
                lit(beta)
            )
        }
        Function::Not => format!("!{x}"),
        Function::Cast(_) => cast(of, kind, x),
        Function::Add if float => format!("{x} + {y}"),
        Function::Sub if float => format!("{x} - {y}"),
        Function::Mul if float => format!("{x} * {y}"),
        Function::Add => wraps("+"),
        Function::Sub => wraps("-"),
        Function::Mul => wraps("*"),
        Function::Div if float => own2("div"),
        Function::Div => format!("orion_quotient_{bits}({x}, {y})"),
        Function::Pow if float => own2("pow"),
        Function::Pow => format!("orion_power_{bits}({x}, {y})"),
        Function::Min if float => own2("min"),
        Function::Max if float => own2("max"),
        Function::Min => format!("{x} < {y} ? {x} : {y}"),
        Function::Max => format!("{x} > {y} ? {x} : {y}"),
        Function::Rem if float => format!("fmod({x}, {y})"),
        Function::Rem => format!("orion_rem_{bits}({x}, {y})"),
        Function::Mod => format!("orion_mod_{bits}({x}, {y})"),
        Function::And => format!("{x} && {y}"),
        Function::Or => format!("{x} || {y}"),
        Function::Equal => format!("{x} == {y}"),
        Function::Less => format!("{x} < {y}"),
        Function::LessOrEqual => format!("{x} <= {y}"),
        Function::Greater => format!("{x} > {y}"),
        Function::GreaterOrEqual => format!("{x} >= {y}"),
        Function::Fma => format!("fma({x}, {y}, {z})"),
        Function::Select => format!("{x} ? {y} : {z}"),
    }
}

fn cast(from: Kind, to: Kind, x: &str) -> String {
    match (from, to) {
        (Kind::F32, Kind::I64) => format!("orion_to_long({x})"),
        (Kind::F32, Kind::I32) => format!("orion_to_int({x})"),
        (_, Kind::Bool) => format!("{x} != 0"),
        (_, Kind::F32) => format!("convert_float_rte({x})"),
        (_, Kind::I64) => format!("(long){x}"),
        (_, Kind::I32) => format!("(int){x}"),
    }
}
