//! `orion bench`: what this machine's device is and how fast, as the worker's own executor finds it. It decides nothing: whether a provider is
//! taken, and how much it gets to do, follows from what it does.

use std::time::{Duration, Instant};

use orion_engine::bench::{Rates, SIZE};
use orion_executor_client::{DeviceInfo, Kernels};
use serde_json::json;

use crate::executor::ExecutorArgs;
use crate::{Format, Verdict};

/// `orion bench`
#[derive(clap::Args)]
pub struct BenchArgs {
    #[command(flatten)]
    executor: ExecutorArgs,
}

/// Compiling and measuring take seconds.
const BENCH_WAIT: Duration = Duration::from_mins(2);

/// Runs the command.
pub async fn run(format: Format, args: &BenchArgs) -> anyhow::Result<Verdict> {
    let (mut executor, device) = args.executor.open(Kernels::BuiltIn).await?;
    let rates = executor.bench(Instant::now() + BENCH_WAIT).await;
    executor.close().await;
    let Rates { peak, gemm } = rates.map_err(|fault| anyhow::anyhow!("the device does not measure: {fault}"))?;
    let DeviceInfo { class, driver, kernels, fault } = device;
    let verdict = if fault.is_none() { Verdict::Good } else { Verdict::Bad };
    match format {
        Format::Json => println!(
            "{}",
            json!({
                "driver": driver, "class": class, "fault": fault, "kernels": kernels,
                "peakFlops": peak, "gemmFlops": gemm, "gemmSize": SIZE,
            })
        ),
        Format::Text => {
            println!("device   {driver}");
            println!("class    {class}");
            match &fault {
                None => println!("probes   all answered as they must be"),
                Some(fault) => println!("probes   WRONG: {fault}; no platform gives this device anything to compute"),
            }
            let kernels = if kernels { "run here, confined or allowed" } else { "refused: Landlock needs Linux 5.13" };
            println!("kernels  of users {kernels}");
            println!("peak     {} (fused multiply-adds, all cores)", giga(peak));
            let share = u128::from(gemm) * 100 / u128::from(peak.max(1));
            println!("gemm     {} (float32, {SIZE} x {SIZE} x {SIZE}: {share} % of the peak)", giga(gemm));
        }
    }
    Ok(verdict)
}

/// With one decimal.
fn giga(flops: u64) -> String {
    let tenths = flops / 100_000_000;
    format!("{}.{} GFLOP/s", tenths / 10, tenths % 10)
}
