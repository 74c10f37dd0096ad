//! Kernels that attack who runs them: each is refused or ended for the right reason, and the next job is none the worse.
//!
//! System calls, which no kernel can name here, are tried by [`payloads`](crate::payloads).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use orion_crds::{ConditionType, OrionJob};
use orion_e2e::namespace::reason;
use orion_e2e::{Busy, Namespace};

use crate::{LONG, SHORT, shared};

/// A trial may take a minute, and what crashes or is late by its own fault is tried once more.
pub const TRIALS: Duration = Duration::from_mins(4);

/// A kernel, and how the refusal begins and what it names.
struct Attack {
    name: &'static str,
    kernel: &'static str,
    reason: &'static str,
    names: &'static str,
}

const ATTACKS: [Attack; 8] = [
    Attack {
        name: "endless",
        kernel: "__kernel void slow(__global uint *last) { volatile uint x = 1; while (x) x |= 1; last[0] = x; }",
        reason: "PreflightTimeout",
        names: "killed",
    },
    Attack {
        name: "out-of-bounds",
        kernel: "__kernel void slow(__global uint *last) { last[get_global_id(0) + (1ul << 40)] = 1; }",
        reason: "KernelFault",
        names: "SIGSEGV",
    },
    Attack {
        name: "deep-stack",
        kernel: "__kernel void slow(__global uint *last) { volatile uint x[1 << 26]; for (uint i = 0; i < 1 << 26; i += 64) \
                 x[i] = i; last[get_global_id(0)] = x[64]; }",
        reason: "KernelFault",
        names: "SIGSEGV",
    },
    Attack {
        name: "fork-bomb",
        kernel: "__kernel void slow(__global uint *last) { long r; for (;;) __asm__ volatile(\"syscall\" : \"=a\"(r) : \"a\"(57)); }",
        reason: "UnsupportedKernel",
        names: "__asm__",
    },
    Attack {
        name: "spliced-assembly",
        kernel: "#define GLUE(a, b) a ## b\n__kernel void slow(__global uint *last) { GLUE(as, m)(\"syscall\"); }",
        reason: "UnsupportedKernel",
        names: "##",
    },
    Attack {
        name: "canary",
        kernel: "#define FILE \"/etc/passwd\"\n#include FILE\n__kernel void slow(__global uint *last) { last[0] = 1; }",
        reason: "UnsupportedKernel",
        names: "quotes",
    },
    Attack {
        name: "libc",
        kernel: "int system(const char *command);\n__kernel void slow(__global uint *last) { char words[5] = {116, 114, 117, 101}; \
                 last[0] = system(words); }",
        reason: "CompileFailed",
        names: "system",
    },
    Attack {
        name: "impure",
        kernel: "__kernel void slow(__global uint *last) { last[get_global_id(0)] = 1 + last[0]; }",
        reason: "KernelNotUnitPure",
        names: "unit",
    },
];

#[tokio::test]
async fn kernels_that_attack_are_refused_for_the_right_reason_and_harm_nobody() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "hostile", "60").await?;
    let neighbour = Busy { units: 24, steps: 15_000_000, ..Busy::named("neighbour") };
    namespace.submit(&neighbour.job()?).await?;
    for attack in &ATTACKS {
        let mut job = Busy::named(attack.name).job()?;
        let kernel = job.spec.workload.kernel.as_mut().context("a kernel")?;
        kernel.source.inline = Some(attack.kernel.into());
        namespace.submit(&job).await?;
    }
    for Attack { name, reason: expected, names, kernel: _ } in &ATTACKS {
        let words = refusal(&namespace, name, TRIALS).await?;
        ensure!(words.starts_with(&format!("False {expected}: ")) && words.contains(names), "{name}: {words}");
        ensure!(!words.contains("root:"), "{name}: a file of the host is in {words}");
    }
    let job = namespace.succeeded("neighbour", LONG).await?;
    world.ledger()?.complete(&job)?;
    namespace.submit(&Busy::named("next").job()?).await?;
    let job = namespace.succeeded("next", LONG).await?;
    world.ledger()?.complete(&job)?;
    namespace.passed();
    Ok(())
}

#[tokio::test]
async fn an_output_that_no_worker_can_hold_is_refused_before_anything_runs() -> Result<()> {
    let (_ground, world) = shared().await?;
    let namespace = Namespace::with_credits(&world, "huge", "30").await?;
    let mut job = Busy::named("huge").job()?;
    // 64 GiB of uint32 in all.
    job.spec.outputs[0].shape = Some(vec![8, 1 << 31]);
    namespace.submit(&job).await?;
    let words = refusal(&namespace, "huge", SHORT).await?;
    ensure!(words.starts_with("False TooLarge: "), "{words}");
    namespace.passed();
    Ok(())
}

/// The words of a job that is not accepted.
pub async fn refusal(namespace: &Namespace, job: &str, limit: Duration) -> Result<String> {
    let is_refused =
        |job: &OrionJob| reason(job, ConditionType::Accepted).starts_with("False") && job.finalizers().is_empty();
    let job = namespace.wait_for(job, "a refusal", limit, is_refused).await?;
    Ok(reason(&job, ConditionType::Accepted))
}
