//! Any shapes: programs drawn from a seed have the reference's bits on the device, however its kernels are cut.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use orion_engine::device::Device as _;
use orion_engine::plan::{Tile, plan};
use orion_engine::program::{Action, Conv, Function, MatMul, Pool, PoolOf, Program, Reduce, Run, Slot, Step};
use orion_engine::reference;
use orion_engine::session::{Library, Session};
use orion_engine::tensor::{Facts, Kind, Tensor};
use orion_opencl::{Kernel, OpenCl};

/// Numbers that anybody can draw again from the seed, and how large a dimension may be: a simulator is given small ones.
struct Random {
    state: u64,
    most: usize,
}

impl Random {
    fn new() -> Random {
        let seed = std::env::var("ORION_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11_u64);
        println!("ORION_TEST_SEED={seed}");
        let most = std::env::var("ORION_TEST_MAX_SIZE").ok().and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
        Random { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, most }
    }

    fn word(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        u32::try_from(self.state >> 32).unwrap()
    }

    /// At least `least`, at most `most`.
    fn size(&mut self, least: usize, most: usize) -> usize {
        let most = most.min(self.most).max(least);
        least + usize::try_from(self.word()).unwrap() % (most - least + 1)
    }

    fn chance(&mut self) -> bool {
        self.word() & 1 == 0
    }

    /// Mostly between -2 and 2; now and then a zero of either sign.
    fn float(&mut self) -> f32 {
        let word = self.word();
        match word % 16 {
            0 => 0.0,
            1 => -0.0,
            _ => f32::from_bits(0x3f80_0000 | word >> 9) * if word & 16 == 0 { 1.0 } else { -1.25 },
        }
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.float()).collect();
        Tensor::new(shape.to_vec(), values).unwrap()
    }
}

/// A program under construction, and what it is given.
#[derive(Default)]
struct Builder {
    program: Program,
    inputs: Vec<Tensor>,
}

impl Builder {
    fn value(&mut self, shape: &[usize]) -> Slot {
        let slot = Slot(u32::try_from(self.program.values.len()).unwrap());
        self.program.values.push(Facts { kind: Kind::F32, shape: shape.to_vec() });
        slot
    }

    fn input(&mut self, random: &mut Random, shape: &[usize]) -> Slot {
        self.given(random.tensor(shape))
    }

    fn given(&mut self, tensor: Tensor) -> Slot {
        let slot = self.value(tensor.shape());
        self.program.inputs.push(slot);
        self.inputs.push(tensor);
        slot
    }

    fn known(&mut self, tensor: Tensor) -> Slot {
        let slot = self.value(tensor.shape());
        self.program.constants.insert(slot, Arc::new(tensor));
        slot
    }

    /// A constant or an input.
    fn operand(&mut self, random: &mut Random, shape: &[usize]) -> Slot {
        let known = random.chance();
        let tensor = random.tensor(shape);
        if known { self.known(tensor) } else { self.given(tensor) }
    }

    fn step(&mut self, action: Action, inputs: &[Slot], shape: &[usize]) -> Slot {
        let output = self.value(shape);
        self.program.steps.push(Step { action, inputs: inputs.to_vec(), output, node: 0 });
        output
    }

    /// A bias along one dimension, then perhaps a residual of the whole shape and something curved: what follows contractions in models.
    fn finish(&mut self, random: &mut Random, mut slot: Slot, shape: &[usize], along: usize) -> Slot {
        let mut lengths = vec![1; shape.len()];
        lengths[along] = shape[along];
        let bias = self.operand(random, &lengths);
        slot = self.step(Action::Map(Function::Add), &[slot, bias], shape);
        if random.chance() {
            let residual = self.input(random, shape);
            slot = self.step(Action::Map(Function::Add), &[residual, slot], shape);
        }
        let last = [Function::Relu, Function::Gelu, Function::Sigmoid, Function::Neg][random.size(0, 3)];
        self.step(Action::Map(last), &[slot], shape)
    }

    /// Runs it everywhere.
    fn check(mut self, bench: &mut Bench, what: &str, output: Slot) {
        self.program.outputs.push(output);
        let expected = reference::run(&self.program, &self.inputs).unwrap();
        for lanes in bench.lanes().iter().copied() {
            let plan = plan(&self.program, Tile::for_lanes(lanes)).unwrap_or_else(|error| panic!("{what}: {error}"));
            let session = Session::new(&bench.device, plan, &mut bench.library).unwrap();
            let have = session.run(&self.inputs).unwrap();
            for (have, expected) in have.iter().zip(&expected) {
                let wrong = have.to_le_bytes().iter().zip(expected.to_le_bytes()).position(|(x, y)| *x != y);
                assert_eq!(wrong.map(|byte| byte / 4), None, "{what} on {lanes} lanes: element {wrong:?} differs");
            }
        }
    }
}

struct Bench {
    device: OpenCl,
    library: Library<Kernel>,
}

impl Bench {
    fn new() -> Bench {
        Bench { device: OpenCl::open().unwrap(), library: Library::default() }
    }

    /// All the ways of a CPU; where registers hold one float (a simulator, which gets comparisons of vectors wrong) only that one.
    fn lanes(&self) -> &'static [u32] {
        if self.device.limits().lanes > 1 { &Tile::LANES } else { &[1] }
    }
}

#[test]
fn products_of_matrices() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    for _ in 0..24 {
        let [rows, depth, columns] = [70, 40, 70].map(|most| random.size(1, most));
        let batch: Vec<usize> = (0..random.size(0, 2)).map(|_| random.size(1, 3)).collect();
        let matmul = MatMul { transpose_a: random.chance(), transpose_b: random.chance() };
        let mut builder = Builder::default();
        let (a_size, b_size) = (
            if matmul.transpose_a { [depth, rows] } else { [rows, depth] },
            if matmul.transpose_b { [columns, depth] } else { [depth, columns] },
        );
        let a_dims: Vec<usize> = batch.iter().map(|dim| if random.chance() { *dim } else { 1 }).collect();
        let out = [batch.as_slice(), &[rows, columns]].concat();
        // One of both has every dimension.
        let a = builder.input(&mut random, &[a_dims.as_slice(), &a_size].concat());
        let b_dims = if random.chance() && a_dims == batch { vec![] } else { batch.clone() };
        let b = builder.operand(&mut random, &[b_dims.as_slice(), &b_size].concat());
        let what = format!("{matmul:?} {a_dims:?} {b_dims:?} {rows} x {depth} x {columns}");
        let product = builder.step(Action::MatMul(matmul), &[a, b], &out);
        let output = builder.finish(&mut random, product, &out, out.len() - 1);
        builder.check(&mut bench, &what, output);
    }
}

/// Sums that are walked in several blocks: of channels, of channels with their taps, of taps.
#[test]
fn long_sums() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    if random.most < 256 {
        return;
    }
    let depth = random.size(1537, 3200);
    let (rows, columns) = (random.size(1, 30), random.size(1, 70));
    let mut builder = Builder::default();
    let a = builder.input(&mut random, &[rows, depth]);
    let b = builder.operand(&mut random, &[depth, columns]);
    let matmul = MatMul { transpose_a: false, transpose_b: false };
    let product = builder.step(Action::MatMul(matmul), &[a, b], &[rows, columns]);
    let output = builder.finish(&mut random, product, &[rows, columns], 1);
    builder.check(&mut bench, &format!("{rows} x {depth} x {columns}"), output);
    for (channels, taps) in [(random.size(171, 400), 9), (random.size(1, 3), random.size(1537, 1700))] {
        let (mut builder, width, outputs) = (Builder::default(), random.size(1, 20), random.size(1, 40));
        let input = builder.input(&mut random, &[1, channels, width + taps - 1]);
        let weights = builder.operand(&mut random, &[outputs, channels, taps]);
        let conv = Conv { strides: vec![1], before: vec![0], dilations: vec![1], groups: 1 };
        let out = [1, outputs, width];
        let product = builder.step(Action::Conv(conv), &[input, weights], &out);
        let output = builder.finish(&mut random, product, &out, 1);
        builder.check(&mut bench, &format!("{channels} channels with {taps} taps, {width} x {outputs}"), output);
    }
}

#[test]
fn convolutions() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    for _ in 0..24 {
        let rank = random.size(1, 3);
        let groups = [1, 1, 2, 3][random.size(0, 3)];
        // Depthwise, or with channels of each group.
        let depthwise = random.chance();
        let (per_group, outputs) = if depthwise { (1, 1) } else { (random.size(1, 5), random.size(1, 20)) };
        let groups = if depthwise { random.size(1, 40) } else { groups };
        let (channels, outputs) = (groups * per_group, groups * outputs);
        let (mut conv, mut x, mut w, mut out) = (
            Conv { strides: vec![], before: vec![], dilations: vec![], groups },
            vec![random.size(1, 2), channels],
            vec![outputs, per_group],
            vec![],
        );
        out.extend([x[0], outputs]);
        for _ in 0..rank {
            let (tap, stride, dilation) = (random.size(1, 3), random.size(1, 2), random.size(1, 2));
            let (before, after) = (random.size(0, 2), random.size(0, 2));
            let reach = (tap - 1) * dilation + 1;
            let size = random.size(reach, reach + 9);
            conv.strides.push(stride);
            conv.dilations.push(dilation);
            conv.before.push(before);
            x.push(size);
            w.push(tap);
            out.push((size + before + after - reach) / stride + 1);
        }
        let what = format!("{conv:?} {x:?} {w:?}");
        let mut builder = Builder::default();
        let (input, weights) = (builder.input(&mut random, &x), builder.operand(&mut random, &w));
        let product = builder.step(Action::Conv(conv), &[input, weights], &out);
        let output = builder.finish(&mut random, product, &out, 1);
        builder.check(&mut bench, &what, output);
    }
}

/// Images that are written into the frame that the next convolution wants, read by others as well, with channels whose lines meet in a CPU's cache.
#[test]
fn convolutions_that_follow_each_other() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    for channels in [1, 3, 17, 256] {
        if channels > random.most {
            continue;
        }
        let (height, width) = (random.size(2, 9), random.size(2, 15));
        let shape = [random.size(1, 2), channels, height, width];
        let side = random.size(1, 2);
        let conv = |groups| Conv { strides: vec![1, 1], before: vec![side, side], dilations: vec![1, 1], groups };
        let tap = 2 * side + 1;
        let mut builder = Builder::default();
        let input = builder.input(&mut random, &shape);
        let depthwise = builder.operand(&mut random, &[channels, 1, tap, tap]);
        let narrow = channels.min(5);
        let down = builder.operand(&mut random, &[narrow, channels, 1, 1]);
        let up = builder.operand(&mut random, &[channels, narrow, tap, tap]);
        let inner = [shape[0], narrow, height, width];
        let first = builder.step(Action::Conv(conv(channels)), &[input, depthwise], &shape);
        let first = builder.finish(&mut random, first, &shape, 1);
        let second = Conv { before: vec![0, 0], ..conv(1) };
        let second = builder.step(Action::Conv(second), &[first, down], &inner);
        let second = builder.finish(&mut random, second, &inner, 1);
        let third = builder.step(Action::Conv(conv(1)), &[second, up], &shape);
        let third = builder.step(Action::Map(Function::Add), &[third, first], &shape);
        let fourth = builder.step(Action::Conv(conv(channels)), &[third, depthwise], &shape);
        let output = builder.step(Action::Map(Function::Sub), &[fourth, third], &shape);
        builder.check(&mut bench, &format!("{shape:?} with taps {tap}"), output);
    }
}

#[test]
fn windows() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    for _ in 0..12 {
        let rank = random.size(1, 3);
        let of = [PoolOf::Max, PoolOf::Average, PoolOf::AverageWithPadding][random.size(0, 2)];
        let list = Vec::new;
        let mut pool = Pool { of, window: list(), strides: list(), before: list(), after: list(), dilations: list() };
        let mut x = vec![random.size(1, 2), random.size(1, 40)];
        let mut out = x.clone();
        for _ in 0..rank {
            let (tap, stride) = (random.size(2, 3), random.size(1, 2));
            let (before, after) = (random.size(0, 1), random.size(0, 1));
            let size = random.size(tap, 9);
            pool.window.push(tap);
            pool.strides.push(stride);
            pool.before.push(before);
            pool.after.push(after);
            pool.dilations.push(1);
            x.push(size);
            out.push((size + before + after - tap) / stride + 1);
        }
        let what = format!("{pool:?} {x:?}");
        let mut builder = Builder::default();
        let input = builder.input(&mut random, &x);
        let output = builder.step(Action::Pool(pool), &[input], &out);
        builder.check(&mut bench, &what, output);
    }
}

#[test]
fn rows() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    for at in 0..24 {
        let (rows, length) = (random.size(1, 40), random.size(1, 90));
        let mut builder = Builder::default();
        let input = builder.input(&mut random, &[rows, length]);
        let (action, inputs, out) = match at % 6 {
            0 => (Action::Reduce(Reduce::Sum), vec![input], 1),
            1 => (Action::Reduce(Reduce::Mean), vec![input], 1),
            2 => (Action::Reduce(Reduce::Max), vec![input], 1),
            3 => (Action::Softmax { log: false }, vec![input], length),
            4 => (Action::Softmax { log: true }, vec![input], length),
            _ => {
                let (scale, bias) = (builder.operand(&mut random, &[length]), builder.operand(&mut random, &[length]));
                (Action::LayerNorm { epsilon: 1e-5 }, vec![input, scale, bias], length)
            }
        };
        let what = format!("{action:?} of {rows} x {length}");
        let output = builder.step(action, &inputs, &[rows, out]);
        builder.check(&mut bench, &what, output);
    }
}

/// One number for all elements stands in the kernel's text. A quotient by a power of two, whose reciprocal is a float too, is a product there.
#[test]
fn elements_beside_a_number() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    let words = [
        1 << 31,
        1,
        0x0020_0000,
        0x0040_0000,
        0x0080_0000,
        0x3f00_0000,
        0x7e80_0000,
        0x7f00_0000,
        0x7f80_0000,
        0xffc0_0001,
    ];
    let mut numbers: Vec<f32> = words.into_iter().map(f32::from_bits).collect();
    numbers.extend([8.0, -0.5, 5.656_854, 3.0, random.float(), random.float()]);
    let special = numbers.clone();
    for number in numbers {
        let mut values = special.clone();
        values.extend(std::iter::repeat_with(|| random.float()).take(40));
        values.extend(values.clone().into_iter().map(|value| value * 1e-30));
        let mut builder = Builder::default();
        let shape = [values.len()];
        let input = builder.given(Tensor::new(shape.to_vec(), values).unwrap());
        let known = builder.known(Tensor::new(vec![1], vec![number]).unwrap());
        let quotient = builder.step(Action::Map(Function::Div), &[input, known], &shape);
        let output = builder.step(Action::Map(Function::Sub), &[quotient, known], &shape);
        builder.program.outputs.push(quotient);
        builder.check(&mut bench, &format!("x / {number:e} - {number:e}"), output);
    }
}

#[test]
fn elements_in_any_order() {
    let (mut random, mut bench) = (Random::new(), Bench::new());
    for _ in 0..16 {
        let shape: Vec<usize> = (0..random.size(1, 4)).map(|_| random.size(1, 9)).collect();
        let mut builder = Builder::default();
        // One operand comes transposed, another one is repeated.
        let mut order: Vec<usize> = (0..shape.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.size(0, at));
        }
        let mut turned = vec![0; shape.len()];
        for (to, from) in order.iter().enumerate() {
            turned[*from] = shape[to];
        }
        let whole = builder.input(&mut random, &turned);
        let runs = order.iter().map(|dim| Run::Along(*dim, 1)).collect();
        let action = Action::Move { starts: vec![0; shape.len()], runs };
        let whole = builder.step(action, &[whole], &shape);
        let part: Vec<usize> = shape.iter().map(|dim| if random.chance() { *dim } else { 1 }).collect();
        let part = builder.operand(&mut random, &part);
        let sum = builder.step(Action::Map(Function::Mul), &[whole, part], &shape);
        let curve = [Function::Exp, Function::Tanh, Function::Erf, Function::Sqrt][random.size(0, 3)];
        let output = builder.step(Action::Map(curve), &[sum], &shape);
        builder.check(&mut bench, &format!("{curve:?} of {shape:?} by {order:?}"), output);
    }
}
