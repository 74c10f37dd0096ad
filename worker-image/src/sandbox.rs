//! What an executor gives up before it loads any driver, for good and for all it starts: the network, files that are not its own, other
//! processes, programs other than the linker. Kernels are native code of strangers; a restricted pod can make no namespaces, but every process
//! may confine itself (Landlock for files, a seccomp filter for everything else).
//!
//! It must be called while the process has one thread. It does not bound memory or time: [`far_side`](crate::far_side) sets limits to those for
//! each job, and the agent watches the clock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use nix::libc;
use seccompiler::{
    BackendError, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What a driver reads: itself, its libraries, what machine this is. What is not there is left out.
const READ: [&str; 15] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/OpenCL",
    "/etc/ld.so.cache",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/mounts",
    "/proc/filesystems",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/dev/urandom",
];
/// PoCL links what it compiled; the loader comes with every program.
const PROGRAMS: [&str; 3] = ["/usr/bin/ld", "/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
/// Devices of drivers, by the beginning of their names in `/dev`.
const DEVICES: [&str; 3] = ["nvidia", "dri", "kfd"];
/// System calls up to this number are known and decided on here; newer ones do not exist for an executor.
const LAST_CALL: i64 = 470;
/// Flags of `clone` that make namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// Calls that reach other processes, the network, the kernel itself, or means of communication that outlive the process. `clone3` hides its
/// flags from a filter; libraries go on with `clone` where it is missing.
const DENIED: [i64; 52] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
    libc::SYS_mq_open,
    libc::SYS_fanotify_init,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_clone3,
    // A group of its own would outlive the kill of this one.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Memory that no limit counts.
    libc::SYS_memfd_create,
    // Other processes of this user.
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    // Landlock does not ask about these: whoever owns a folder, or a file that can be named, could close or empty it for everybody.
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_truncate,
    libc::SYS_inotify_add_watch,
];
/// `fchmodat2` of Linux 6.6.
const FCHMODAT2: i64 = 452;
/// What other calls do under older names.
#[cfg(target_arch = "x86_64")]
const DENIED_OLD: [i64; 3] = [libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_OLD: [i64; 0] = [];
/// Calls whose first argument is a process, 0 for this one.
const OF_A_PROCESS: [i64; 5] = [
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
];
/// Commands of `fcntl` that have signals sent to a process.
const SIGNALLING: [libc::c_int; 3] = [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX];
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;

/// Why a process could not confine itself.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Rules for files that the kernel does not take.
    #[error("confine files")]
    Files(#[from] landlock::RulesetError),
    /// A filter that cannot be made.
    #[error("make the filter of system calls")]
    Filter(#[from] BackendError),
    /// A filter that the kernel does not take.
    #[error("install the filter of system calls")]
    Install(#[from] seccompiler::Error),
    /// No filter is known for this kind of processor.
    #[error("there is no filter of system calls for {0}")]
    Architecture(&'static str),
}

/// Gives everything up but `own` directories, which may be written, and `vendors`, where drivers are listed. `Ok(false)`: this kernel has no
/// Landlock, and files are not confined.
pub fn enter(own: &[&Path], vendors: Option<&Path>) -> Result<bool, SandboxError> {
    let files = match confine_files(own, vendors) {
        Ok(()) => true,
        Err(landlock::RulesetError::CreateRuleset(_) | landlock::RulesetError::HandleAccesses(_)) => false,
        Err(error) => return Err(error.into()),
    };
    confine_calls()?;
    Ok(files)
}

fn confine_files(own: &[&Path], vendors: Option<&Path>) -> Result<(), landlock::RulesetError> {
    let all = AccessFs::from_all(ABI::V5);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let special = AccessFs::MakeSock | AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::MakeFifo;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        // What newer kernels know besides, where they do; the filter of calls forbids most of it anyway.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for path in READ.map(Path::new).into_iter().chain(vendors) {
        rules = allow(rules, path, read)?;
    }
    for path in devices() {
        rules = allow(rules, &path, read | AccessFs::WriteFile | AccessFs::IoctlDev)?;
    }
    rules = allow(rules, Path::new("/dev/null"), read | AccessFs::WriteFile)?;
    for path in PROGRAMS.map(Path::new) {
        rules = allow(rules, path, AccessFs::Execute | AccessFs::ReadFile)?;
    }
    for path in own {
        rules = allow(rules, path, all & !AccessFs::Execute & !special)?;
    }
    rules.restrict_self()?;
    Ok(())
}

/// Allows something beneath a path, if there is one.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(fd) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V5) };
    rules.add_rule(PathBeneath::new(fd, access))
}

fn devices() -> Vec<PathBuf> {
    let is_device = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        DEVICES.iter().any(|device| name.starts_with(device))
    };
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_device).collect()
}

fn confine_calls() -> Result<(), SandboxError> {
    let architecture = std::env::consts::ARCH;
    let target = architecture.try_into().map_err(|_| SandboxError::Architecture(architecture))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        (0..=LAST_CALL).filter(|call| !is_denied(*call)).map(|call| (call, Vec::new())).collect();
    let argument = |at, op, value| SeccompCondition::new(at, SeccompCmpArgLen::Dword, op, value);
    let own = u64::from(std::process::id());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![SeccompRule::new(vec![argument(0, SeccompCmpOp::Eq, own)?])?]);
    }
    for call in OF_A_PROCESS {
        let this = |number| SeccompRule::new(vec![argument(0, SeccompCmpOp::Eq, number)?]);
        rules.insert(call, vec![this(0)?, this(own)?]);
    }
    let harmless = |command: &libc::c_int| argument(1, SeccompCmpOp::Ne, u64::from(command.unsigned_abs()));
    let harmless = SIGNALLING.iter().map(harmless).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(harmless)?]);
    // Anonymous memory that is shared is counted by no limit.
    let [anonymous, shared] = [libc::MAP_ANONYMOUS, libc::MAP_SHARED].map(|flag| u64::from(flag.unsigned_abs()));
    let without = |flag| SeccompRule::new(vec![argument(3, SeccompCmpOp::MaskedEq(flag), 0)?]);
    rules.insert(libc::SYS_mmap, vec![without(anonymous)?, without(shared)?]);
    let threads = argument(0, SeccompCmpOp::MaskedEq(NEW_NAMESPACES), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![threads])?]);
    // As if they did not exist: libraries know how to go on without.
    let denied = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, target)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

fn is_denied(call: i64) -> bool {
    DENIED.contains(&call) || DENIED_OLD.contains(&call)
}
