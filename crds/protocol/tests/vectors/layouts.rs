//! Vectors of outputs whose items keep some of their entries, and of outputs of which each unit has a copy: rows as a device leaves them, what
//! is kept and hashed of them, and the files that the result becomes.

use orion_protocol::bytes::hex;
use orion_protocol::combine::Combined;
use orion_protocol::dtype::DType;
use orion_protocol::files::{Extract, File};
use orion_protocol::rows::{Span, offsets};
use orion_protocol::task::{Combine, Layout, OutputSpec, TaskSpec, UnitTable, unit_digest};
use serde_json::{Value, json};

use crate::fixtures::{name, task};
use crate::json::Json;

/// Items, and entries for which each has room.
const ITEMS: u64 = 10;
const ROOM: u64 = 3;

fn layouts_task() -> TaskSpec {
    let output =
        |of: &str, dtype, shape: &[u64], layout| OutputSpec { name: name(of), dtype, shape: shape.to_vec(), layout };
    let unit = |combine| Some(Layout::Unit(combine));
    TaskSpec {
        units: UnitTable { items: ITEMS, items_per_unit: 4, units_per_shard: 2, work_per_item: 1 },
        outputs: vec![
            output("near", DType::Uint16, &[ITEMS, ROOM], Some(Layout::Lengths(1))),
            output("near-counts", DType::Uint8, &[ITEMS], None),
            output("pairs", DType::Int32, &[ITEMS, ROOM, 2], Some(Layout::Lengths(1))),
            output("histogram", DType::Int64, &[3], unit(Combine::Sum)),
            output("wraps", DType::Uint8, &[2], unit(Combine::Sum)),
            output("least", DType::Int16, &[2, 2], unit(Combine::Min)),
            output("most", DType::Uint32, &[1], unit(Combine::Max)),
            output("total", DType::Float32, &[2], unit(Combine::Sum)),
        ],
        ..task()
    }
}

/// What a device leaves of a unit: tails are not zero, so that it shows where they are hashed.
fn device(unit: u64, first: u64, items: u64) -> Vec<Vec<u8>> {
    let range = first..first + items;
    let counts = range.clone().map(|item| u8::try_from(item * 7 % (ROOM + 1)).unwrap());
    let near = range.clone().flat_map(|item| (0..ROOM).map(move |entry| u16::try_from(100 * item + entry).unwrap()));
    let pairs = range.flat_map(|item| (0..2 * ROOM).map(move |entry| -i32::try_from(10 * item + entry).unwrap()));
    let (signed, small) = (i64::try_from(unit).unwrap(), i16::try_from(unit).unwrap());
    let float = f32::from(small);
    vec![
        near.flat_map(u16::to_le_bytes).collect(),
        counts.collect(),
        pairs.flat_map(i32::to_le_bytes).collect(),
        [signed, -1 - signed, i64::MAX].into_iter().flat_map(i64::to_le_bytes).collect(),
        vec![200, 1],
        [3 - small, small, -small, i16::MIN + small].into_iter().flat_map(i16::to_le_bytes).collect(),
        (u32::MAX - 5 * u32::from(unit == 1)).to_le_bytes().to_vec(),
        // What is added first decides what is rounded away; a sum from zero has no negative zero.
        [1e8 * (1.0 - float) + 3.0 * float, -0.0].into_iter().flat_map(f32::to_le_bytes).collect(),
    ]
}

fn file(file: File, data: &[u8]) -> Value {
    let File { name, dtype, shape } = file;
    json!({"name": name, "dtype": dtype.json(), "shape": shape, "data": hex(data)})
}

fn files(spec: &TaskSpec, whole: &[Vec<u8>]) -> Vec<Value> {
    let (mut files, table) = (Vec::new(), &spec.units);
    for (at, output) in spec.outputs.iter().enumerate() {
        let Some(layout) = output.layout else {
            files.push(file(output.file(None, table, None), &whole[at]));
            continue;
        };
        match layout {
            Layout::Lengths(lengths) => {
                let (ends, entries) = offsets(DType::Uint8, &whole[usize::try_from(lengths).unwrap()], 0);
                files.push(file(output.file(Some(Extract::Values), table, Some(entries)), &whole[at]));
                let ends = [vec![0; 8], ends].concat();
                files.push(file(output.file(Some(Extract::Offsets), table, None), &ends));
            }
            Layout::Unit(_) => {
                let mut combined = Combined::new(output).unwrap();
                combined.add(&whole[at]);
                files.push(file(output.file(None, table, None), combined.value()));
                files.push(file(output.file(Some(Extract::Units), table, None), &whole[at]));
            }
        }
    }
    files
}

pub fn layouts() -> Value {
    let spec = layouts_task();
    assert_eq!(TaskSpec::from_object(&spec.object()).unwrap(), spec);
    let (table, mut whole) = (spec.units, vec![Vec::new(); spec.outputs.len()]);
    let units: Vec<Value> = (0..table.units())
        .map(|unit| {
            let (first, items) = table.items_of(unit, 1);
            let rows = device(unit, first, items);
            let span = Span::new(&spec.outputs, &table, unit, 1);
            let mut kept = rows.clone();
            span.keep(&mut kept).unwrap();
            let slices: Vec<&[u8]> = kept.iter().map(Vec::as_slice).collect();
            let (_, outputs) = span.units(&slices).unwrap().next().unwrap();
            let digest = unit_digest(&spec.digest(), unit, &outputs);
            whole.iter_mut().zip(&kept).for_each(|(whole, kept)| whole.extend_from_slice(kept));
            let hexes = |rows: &[Vec<u8>]| rows.iter().map(|rows| hex(rows)).collect::<Vec<_>>();
            json!({"unit": unit, "device": hexes(&rows), "kept": hexes(&kept), "digest": digest.json()})
        })
        .collect();
    json!({"task": spec.json(), "task_object": hex(&spec.object()), "units": units, "files": files(&spec, &whole)})
}
