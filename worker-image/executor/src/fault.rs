//! What went wrong with an executor, in the words of the protocol.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use orion_protocol::{Reason, Refusal};

use super::process::Process;

/// Words of a process that ends because it got no memory: Rust's, LLVM's, those of C++, and Rust's again where an exception of C++ reaches it:
/// compilers are built to throw no other than `std::bad_alloc`.
const OUT_OF_MEMORY: [&str; 4] =
    ["memory allocation of", "out of memory", "std::bad_alloc", "Rust cannot catch foreign exceptions"];

/// Why a request has no result. Each carries the refusal to answer the lease with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The engine says no; the executor can be asked again.
    #[error("{0}")]
    Refused(Refusal),
    /// The executor died or broke the protocol, and is gone.
    #[error("{0}")]
    Crashed(Refusal),
    /// The deadline came, or its processor time was used up, and the executor was killed.
    #[error("{0}")]
    TimedOut(Refusal),
}

impl Fault {
    /// The refusal to answer the lease with.
    pub fn refusal(&self) -> &Refusal {
        match self {
            Fault::Refused(refusal) | Fault::Crashed(refusal) | Fault::TimedOut(refusal) => refusal,
        }
    }

    /// The refusal to answer the lease with.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Fault::Refused(refusal) | Fault::Crashed(refusal) | Fault::TimedOut(refusal) => refusal,
        }
    }
}

/// Kills an executor that said what it may not say.
pub(super) async fn violation(process: &mut Process, what: &str) -> Fault {
    process.kill();
    process.ended().await;
    let why = format!("the executor broke its protocol: it sent {what}");
    Fault::Crashed(Refusal::new(Reason::KernelFault, with_stderr(why, process)))
}

/// Kills an executor that is late.
pub(super) fn late(process: &mut Process, reason: Reason) -> Fault {
    process.kill();
    let why = "the executor did not answer before the deadline and was killed";
    Fault::TimedOut(Refusal::new(reason, with_stderr(why.into(), process)))
}

/// Finds out how an executor ended whose pipe broke. One whose processor time was used up is `late`.
pub(super) async fn crash(process: &mut Process, error: &io::Error, late: Reason) -> Fault {
    let status = process.ended_by_itself().await;
    process.kill();
    process.ended().await;
    if status.and_then(|status| status.signal()) == Some(Signal::SIGXCPU as i32) {
        let why =
            "the executor took all the processor time that there is before the deadline, and was ended by SIGXCPU";
        return Fault::TimedOut(Refusal::new(late, with_stderr(why.into(), process)));
    }
    let stderr = process.stderr();
    let (reason, why) = match status {
        Some(status) => judge(status, &stderr),
        None => (Reason::KernelFault, format!("the executor closed its pipe without ending: {error}")),
    };
    Fault::Crashed(Refusal::new(reason, with_stderr(why, process)))
}

fn judge(status: ExitStatus, stderr: &str) -> (Reason, String) {
    let Some(number) = status.signal() else {
        let code = status.code().unwrap_or(-1);
        return (Reason::KernelFault, format!("the executor ended with code {code} in the middle of a request"));
    };
    let name = Signal::try_from(number).map_or("an unknown signal", Signal::as_str);
    match Signal::try_from(number) {
        // We did not send it, so the system did: that is what it does when memory runs out.
        Ok(Signal::SIGKILL) => {
            (Reason::OutOfMemory, format!("the executor was killed by {name}, as when memory runs out"))
        }
        Ok(Signal::SIGABRT) if OUT_OF_MEMORY.iter().any(|words| stderr.contains(words)) => {
            (Reason::OutOfMemory, format!("the executor ran out of memory ({name})"))
        }
        Ok(signal) if !is_of_crash(signal) => (Reason::InternalError, format!("the executor was ended by {name}")),
        _ => (Reason::KernelFault, format!("the kernel crashed its executor with {name}")),
    }
}

/// Whether code brings this signal upon itself. Others come from outside, and no kernel is blamed for them.
fn is_of_crash(signal: Signal) -> bool {
    use Signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    matches!(signal, SIGABRT | SIGBUS | SIGFPE | SIGILL | SIGSEGV | SIGSYS | SIGTRAP)
}

fn with_stderr(why: String, process: &Process) -> String {
    match process.stderr().trim() {
        "" => why,
        stderr => format!("{why}; it last wrote:\n{stderr}"),
    }
}
