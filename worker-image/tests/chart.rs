//! The chart's workers have the memory that docs/models.md promises: a model of 440 MB is kept for the next lease, and runs beside it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use orion_engine::need::Need;
use orion_protocol::task::UnitTable;
use orion_worker::agent::config::for_jobs;
use serde_json::Value;

/// Bytes of the model, and of the arrays that it reads.
const FILES: [u64; 2] = [440_000_000, 32 << 20];

fn values() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/orion/values.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_charts_workers_keep_a_model_of_440_mb_and_have_the_memory_to_run_it() {
    let units = UnitTable { items: 1, items_per_unit: 1, units_per_shard: 1, work_per_item: 1 };
    let need = Need::of_model(&units, &[], &FILES, 0);
    let values = values();
    for workers in ["platformWorker", "demoWorkers"] {
        let settings = &values[workers];
        let (slots, cache) = (settings["slots"].as_u64().unwrap(), settings["cacheBytes"].as_u64().unwrap());
        let limit = settings["resources"]["limits"]["memory"].as_str().and_then(|limit| limit.strip_suffix("Mi"));
        let memory = limit.unwrap().parse::<u64>().unwrap() << 20;
        assert!(cache >= FILES.iter().sum::<u64>(), "{workers} keep {cache} bytes");
        let jobs = for_jobs(memory, cache, slots.try_into().unwrap()).unwrap();
        assert!(jobs >= need.all(), "{workers} have {jobs} bytes for jobs, such a model takes {}", need.all());
    }
}
