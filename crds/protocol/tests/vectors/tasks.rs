//! Vectors of what is computed: the objects of a task, its units, salts and trees, and npy headers.

use orion_protocol::bytes::hex;
use orion_protocol::merkle::{self, Scheme, Sha3, Sha256};
use orion_protocol::npy::{self, Header};
use orion_protocol::task::{TaskSpec, UnitTable, Workload, unit_salt};
use orion_protocol::{Digest, dtype::DType};
use serde_json::{Value, json};

use crate::fixtures::{SALT_KEY, honest, job, leaf, model, rows, salt, task as spec, units as table, workload};
use crate::json::Json;

fn hashes(hashes: &[[u8; 32]]) -> Vec<String> {
    hashes.iter().map(|hash| hex(hash)).collect()
}

pub fn npy() -> Value {
    // In the last two NumPy's spare room, and its padding by a whole 64, make a difference.
    let shapes: [&[u64]; 8] = [
        &[],
        &[1797],
        &[1797, 64],
        &[0, 3],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[1 << 40, 3],
        &[7, 100_000, 100_000, 10_000, 1_000, 1_000, 1_000],
        &[1, 2, 3, 4, 5, 1_000_000, 10_000, 10_000],
    ];
    let types = [
        DType::Uint8,
        DType::Int8,
        DType::Uint16,
        DType::Int16,
        DType::Uint32,
        DType::Int32,
        DType::Uint64,
        DType::Int64,
        DType::Float32,
        DType::Float64,
    ];
    let every_type = types.iter().map(|dtype| Header { dtype: *dtype, shape: vec![3, 5] });
    let every_shape = shapes.iter().map(|shape| Header { dtype: DType::Float32, shape: shape.to_vec() });
    every_type
        .chain(every_shape)
        .map(|header| {
            let bytes = header.to_bytes();
            if let Some(length @ 0..1_048_576) = header.data_bytes() {
                let data = vec![0; usize::try_from(length).unwrap()];
                let file = [bytes.as_slice(), &data].concat();
                assert_eq!(npy::parse(&file), Ok((header.clone(), data.as_slice())));
            }
            json!({"dtype": header.dtype.name(), "shape": header.shape, "opencl": header.dtype.opencl(),
                   "data_bytes": header.data_bytes(), "header": hex(&bytes)})
        })
        .collect()
}

pub fn task() -> Value {
    let (workload, task) = (workload(), spec());
    assert_eq!(Workload::from_object(&workload.object()).unwrap(), workload);
    assert_eq!(Workload::from_object(&model().object()).unwrap(), model());
    assert_eq!(TaskSpec::from_object(&task.object()).unwrap(), task);
    let tables = [
        table(),
        UnitTable { items: 1797, items_per_unit: 16, units_per_shard: 8, work_per_item: 115_008 },
        UnitTable { items: 1, items_per_unit: 100, units_per_shard: 100, work_per_item: 1 },
        UnitTable { items: 64, items_per_unit: 8, units_per_shard: 8, work_per_item: 1 << 50 },
    ];
    let tables = tables.iter().map(|table| {
        table.check().unwrap();
        let shards: Vec<Value> = (0..table.shards())
            .map(|shard| {
                let (first, count) = table.shard(shard).unwrap();
                let (first_item, items) = table.items_of(first, count);
                json!({"first_unit": first, "units": count, "first_item": first_item, "items": items, "work": table.work_of(first, count)})
            })
            .collect();
        assert_eq!(table.shard(table.shards()), None);
        json!({"table": table.json(), "units": table.units(), "work": table.work(), "shards": shards})
    });
    json!({
        "workload": workload.json(),
        "workload_object": hex(&workload.object()),
        "workload_digest": Digest::of(&workload.object()).json(),
        "model": model().json(),
        "model_object": hex(&model().object()),
        "model_digest": Digest::of(&model().object()).json(),
        "task": task.json(),
        "task_object": hex(&task.object()),
        "task_digest": task.digest().json(),
        "tables": tables.collect::<Vec<_>>(),
    })
}

pub fn units() -> Value {
    let units: Vec<Value> = (0..table().units())
        .map(|unit| {
            let (first, items) = table().items_of(unit, 1);
            let [predictions, hits] = rows(first, items);
            let salt = unit_salt(&salt(), unit);
            json!({"unit": unit, "rows": [hex(&predictions), hex(&hits)], "digest": honest(unit).json(),
                   "salt": salt.json(), "leaf": hex(&leaf(unit))})
        })
        .collect();
    // A tree over all units, though commitments are made over a shard's: more shapes of paths.
    let leaves: Vec<[u8; 32]> = (0..table().units()).map(leaf).collect();
    let trees: Vec<Value> = (0..=leaves.len())
        .map(|size| {
            let paths: Vec<_> = (0..size).map(|at| hashes(&merkle::path::<Sha3>(&leaves[..size], at))).collect();
            json!({"size": size, "root": hex(&merkle::root::<Sha3>(&leaves[..size])), "paths": paths})
        })
        .collect();
    json!({
        "task_digest": spec().digest().json(),
        "outputs": spec().outputs.json(),
        "salt_key": hex(&SALT_KEY),
        "job": job().json(),
        "job_salt": salt().json(),
        "units": units,
        "trees": trees,
    })
}

pub fn log_tree() -> Value {
    let entries: Vec<Vec<u8>> = (0..9_u8).map(|at| vec![at; usize::from(at)]).collect();
    let leaves: Vec<[u8; 32]> = entries.iter().map(|entry| Sha256::leaf(entry)).collect();
    assert_eq!(merkle::root::<Sha256>(&[]), Sha256::empty());
    let trees: Vec<Value> = (0..=leaves.len())
        .map(|size| {
            let paths: Vec<_> = (0..size).map(|at| hashes(&merkle::path::<Sha256>(&leaves[..size], at))).collect();
            json!({"size": size, "root": hex(&merkle::root::<Sha256>(&leaves[..size])), "paths": paths})
        })
        .collect();
    json!({"entries": entries.iter().map(|entry| hex(entry)).collect::<Vec<_>>(), "leaves": hashes(&leaves), "trees": trees})
}
