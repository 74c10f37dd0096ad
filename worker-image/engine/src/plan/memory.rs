//! Who may share memory: values that are never needed at the same time. Objects are shared whole, largest first, each value going into the
//! smallest one that is free all its life ("greedy by size" of Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net
//! Inference, 2020).

use std::collections::BTreeMap;

use super::{Buffer, BufferId, Content, Plan};

/// Objects that are looked at for one value: what a hostile model costs is bounded.
const CANDIDATES: usize = 64;

/// A shared object: its length, and the lives of those in it, first launch to last.
struct Object {
    bytes: usize,
    lives: BTreeMap<usize, usize>,
}

impl Object {
    fn is_free(&self, (first, last): (usize, usize)) -> bool {
        self.lives.range(..=last).next_back().is_none_or(|(_, ends)| *ends < first)
    }
}

/// Replaces the plan's buffers by those that are shared.
pub(super) fn share(plan: &mut Plan) {
    let lives = lives(plan);
    let mut order: Vec<usize> = (0..plan.buffers.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(plan.buffers[*at].bytes));
    let (mut objects, mut homes): (Vec<Object>, BTreeMap<usize, usize>) = (Vec::new(), BTreeMap::new());
    for at in order {
        let (Content::Any, Some(life)) = (&plan.buffers[at].content, lives.get(&at)) else { continue };
        // Sorted by size: the last ones that were made are the smallest, and none is too small.
        let free = (0..objects.len()).rev().take(CANDIDATES).find(|object| objects[*object].is_free(*life));
        let home = free.unwrap_or(objects.len());
        if free.is_none() {
            objects.push(Object { bytes: plan.buffers[at].bytes, lives: BTreeMap::new() });
        }
        objects[home].lives.insert(life.0, life.1);
        homes.insert(at, home);
    }
    let mut buffers: Vec<Buffer> =
        objects.iter().map(|object| Buffer { bytes: object.bytes, content: Content::Any }).collect();
    let mut moved = Vec::with_capacity(plan.buffers.len());
    for (at, buffer) in std::mem::take(&mut plan.buffers).into_iter().enumerate() {
        let to = match homes.get(&at) {
            Some(home) => *home,
            // Nobody uses it.
            None if matches!(buffer.content, Content::Any) => 0,
            None => {
                buffers.push(buffer);
                buffers.len() - 1
            }
        };
        moved.push(BufferId(u32::try_from(to).unwrap_or(u32::MAX)));
    }
    plan.buffers = buffers;
    let places = plan.inputs.iter_mut().chain(&mut plan.outputs).map(|(buffer, _)| buffer);
    for buffer in plan.launches.iter_mut().flat_map(|launch| &mut launch.buffers).chain(places) {
        *buffer = moved[buffer.0 as usize];
    }
}

/// The first and the last launch that needs each buffer, counted from 1. Inputs are there before the first launch, outputs stay.
fn lives(plan: &Plan) -> BTreeMap<usize, (usize, usize)> {
    let mut lives: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut used = |buffer: &BufferId, at: usize| {
        let life = lives.entry(buffer.0 as usize).or_insert((at, at));
        *life = (life.0.min(at), life.1.max(at));
    };
    for (buffer, _) in &plan.inputs {
        used(buffer, 0);
    }
    for (at, launch) in plan.launches.iter().enumerate() {
        for buffer in &launch.buffers {
            used(buffer, at + 1);
        }
    }
    for (buffer, _) in &plan.outputs {
        used(buffer, usize::MAX);
    }
    lives
}
