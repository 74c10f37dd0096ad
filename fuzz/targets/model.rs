//! A whole model up to the device: what can be read is lowered, its items are told apart, and it is planned for every device, or it is refused.
//! Where items are proven not to meet, each must get from the reference what it gets alone.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{Corpus, fuzz_target};
use orion_engine::graph::{Dim, Graph};
use orion_engine::plan::{Tile, plan};
use orion_engine::program::Program;
use orion_engine::tensor::{Data, Facts, Kind, Tensor};
use orion_engine::{items, lower, onnx, reference};

/// Items at once.
const ITEMS: usize = 3;
/// Any other dimension that is not known.
const OTHER: usize = 2;
/// Operations of what is computed as well.
const MOST_WORK: u64 = 1 << 18;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(graph) = onnx::read(Bytes::copy_from_slice(data), &onnx::Limits::default()) else { return Corpus::Reject };
    let Some(together) = lowered(&graph, ITEMS) else { return Corpus::Keep };
    for lanes in Tile::LANES {
        if let Ok(plan) = plan(&together, Tile::for_lanes(lanes)) {
            // Every size fits.
            let _ = plan.memory();
        }
    }
    let rows: Vec<bool> = graph.inputs.iter().map(|input| has_rows(input.shape.as_deref())).collect();
    if let Ok(proof) = items::prove(&together, ITEMS, &rows)
        && let Some(alone) = lowered(&graph, 1)
        && proof.is_that_of_one(&together, &alone)
        && together.work() <= MOST_WORK
    {
        compare(&together, &alone, &rows);
    }
    Corpus::Keep
});

fn has_rows(shape: Option<&[Dim]>) -> bool {
    matches!(shape.and_then(<[Dim]>::first), Some(Dim::Named(_) | Dim::Free))
}

fn lowered(graph: &Graph, items: usize) -> Option<Program> {
    let length = |(at, dim): (usize, &Dim)| match dim {
        Dim::Known(length) => *length,
        Dim::Named(_) | Dim::Free if at == 0 => items,
        Dim::Named(_) | Dim::Free => OTHER,
    };
    let facts = |input: &orion_engine::graph::Input| Facts {
        kind: input.kind,
        shape: input.shape.iter().flatten().enumerate().map(length).collect(),
    };
    let inputs: Vec<Facts> = graph.inputs.iter().map(facts).collect();
    let limits = lower::Limits { value_bytes: 1 << 20, rank: 16, folded_bytes: 1 << 20, folded_work: 1 << 20 };
    lower::lower(graph, &inputs, limits).ok()
}

/// Small numbers of every sign; the same for the same place.
fn given(facts: &Facts, from: usize) -> Tensor {
    let count = facts.elements().unwrap_or(0);
    let numbers = (from..from + count).map(|at| (at * 7 % 11) as i32 - 5);
    let data = match facts.kind {
        Kind::F32 => Data::F32(numbers.map(|number| number as f32 / 4.0).collect()),
        Kind::I64 => Data::I64(numbers.map(i64::from).collect()),
        Kind::I32 => Data::I32(numbers.collect()),
        Kind::Bool => Data::Bool(numbers.map(|number| number > 0).collect()),
    };
    Tensor::new(facts.shape.clone(), data).expect("as many as the shape says")
}

/// Rows of the batch beside those of one item at a time.
fn compare(together: &Program, alone: &Program, rows: &[bool]) {
    let inputs = |program: &Program, item: usize| -> Vec<Tensor> {
        let each = program.inputs.iter().zip(rows);
        each.map(|(slot, rows)| {
            let facts = program.facts(*slot);
            given(facts, if *rows { item * facts.elements().unwrap_or(0) } else { 0 })
        })
        .collect()
    };
    let Ok(whole) = reference::run(together, &inputs(together, 0)) else { return };
    for item in 0..ITEMS {
        let one = reference::run(alone, &inputs(alone, item)).expect("as for several");
        for (whole, one) in whole.iter().zip(one) {
            let (whole, one) = (whole.to_le_bytes(), one.to_le_bytes());
            assert_eq!(whole[item * one.len()..][..one.len()], one, "item {item}");
        }
    }
}
