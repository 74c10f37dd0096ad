//! rten as a candidate of `bench/engine.py`: `bench-rten MODEL INPUTS` loads the model and the npy files named after its inputs, says `ready`, and
//! answers every line `run` with the milliseconds of processor time that one run took.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rten::{Model, NodeId, Value, ValueOrView};
use rten_tensor::Tensor;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, inputs] = args.as_slice() else { bail!("usage: bench-rten MODEL INPUTS") };
    let model = Model::load_file(model)?;
    let mut given: Vec<(NodeId, Value)> = Vec::new();
    for id in model.input_ids() {
        let info = model.node_info(*id).context("an input without a node")?;
        let name = info.name().context("an input without a name")?;
        given.push((*id, read(&Path::new(inputs).join(format!("{name}.npy")))?));
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        if line? == "run" {
            let values: Vec<(NodeId, ValueOrView)> = given.iter().map(|(id, value)| (*id, value.as_view().into())).collect();
            let begin = cpu_ms();
            let out = model.run(values, model.output_ids(), None)?;
            let took = cpu_ms() - begin;
            drop(out);
            println!("{took:.4}");
            std::io::stdout().flush()?;
        }
    }
    Ok(())
}

/// float32 or int64 (which rten takes as int32), C order, version 1 of the format.
fn read(path: &Path) -> Result<Value> {
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    let end = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let header = String::from_utf8_lossy(&file[10..end]).into_owned();
    let shape = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).context("a shape")?.0;
    let shape: Vec<usize> = shape.split(',').filter_map(|dim| dim.trim().parse().ok()).collect();
    let data = &file[end..];
    if header.contains("<f4") {
        let values: Vec<f32> = data.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        return Ok(Tensor::from_data(shape.as_slice(), values).into());
    }
    let values: Vec<i32> = data.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word) as i32).collect();
    Ok(Tensor::from_data(shape.as_slice(), values).into())
}

/// Processor time of this process so far.
fn cpu_ms() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
