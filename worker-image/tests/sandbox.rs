//! What a confined process can still do. Each attempt is made by a child that has confined itself, for the way back is closed.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(unsafe_code, reason = "system calls are tried as a kernel's native code would make them")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nix::libc;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getppid};
use orion_worker::sandbox;

const CHILD: &str = "ORION_TEST_SANDBOX_CHILD";

/// Runs an attempt in a child; what it printed.
fn attempt(what: &str) -> String {
    let private = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
        .env(CHILD, what)
        .env("TMPDIR", private.path())
        .current_dir(private.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().find_map(|line| line.strip_prefix("said: ").or_else(|| Some(line.split_once("said: ")?.1)));
    said.unwrap_or_else(|| panic!("{what}: {text}{}", String::from_utf8_lossy(&output.stderr))).to_owned()
}

/// No test of its own: the child's side of those below.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let private = std::env::current_dir().unwrap();
    assert!(sandbox::enter(&[&private], None).unwrap(), "this kernel has no Landlock");
    let result = match what.as_str() {
        "own file" => std::fs::write("file", "x"),
        "other file" => std::fs::read("/etc/passwd").map(drop),
        "other folder" => std::fs::write("/tmp/orion-test-sandbox", "x"),
        "agent's memory" => std::fs::read(format!("/proc/{}/environ", getppid())).map(drop),
        "library" => std::fs::read("/etc/ld.so.cache").map(drop),
        "network" => std::net::TcpStream::connect("127.0.0.1:1").map(drop),
        "name" => std::os::unix::net::UnixDatagram::unbound().map(drop),
        "signal to the agent" => kill(getppid(), None).map_err(Into::into),
        "signal to its group" => kill(Pid::from_raw(0), None).map_err(Into::into),
        "signal to itself" => kill(Pid::this(), None).map_err(Into::into),
        "other program" => Command::new("/bin/true").status().map(drop),
        "linker" => Command::new("/usr/bin/ld").arg("--version").output().map(drop),
        "thread" => std::thread::spawn(|| ()).join().map_err(|_| std::io::Error::other("it panicked")),
        "session" => nix::unistd::setsid().map(drop).map_err(Into::into),
        "group" => nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(Into::into),
        "limit of the agent" => call(libc::SYS_prlimit64, [i64::from(getppid().as_raw()), 0, 0, 0]),
        "own limit" => {
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map(drop).map_err(Into::into)
        }
        "priority of the agent" => call(libc::SYS_setpriority, [0, i64::from(getppid().as_raw()), 1, 0]),
        "processor of the agent" => call(libc::SYS_sched_setaffinity, [i64::from(getppid().as_raw()), 0, 0, 0]),
        "owner of signals" => call(libc::SYS_fcntl, [0, i64::from(libc::F_SETOWN), i64::from(getppid().as_raw()), 0]),
        "flags of a file" => call(libc::SYS_fcntl, [0, i64::from(libc::F_GETFL), 0, 0]),
        "mode of a folder" => std::fs::set_permissions(".", std::fs::Permissions::from_mode(0o700)),
        "length of a named file" => std::fs::write("file", "x").and_then(|()| {
            let name = c"file";
            call(libc::SYS_truncate, [name.as_ptr() as i64, 0, 0, 0])
        }),
        "file in memory" => call(libc::SYS_memfd_create, [c"x".as_ptr() as i64, 0, 0, 0]),
        "shared memory" => map(libc::MAP_SHARED | libc::MAP_ANONYMOUS),
        "memory" => map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
        "copied program" => std::fs::copy("/bin/true", "true").and_then(|_| Command::new("./true").status()).map(drop),
        other => panic!("{other}"),
    };
    match result {
        Ok(()) => println!("said: done"),
        Err(error) => println!("said: {:?}", error.raw_os_error().map_or(0, |code| code)),
    }
}

/// A system call by its number.
fn call(number: i64, [a, b, c, d]: [i64; 4]) -> std::io::Result<()> {
    // SAFETY: the calls that are made here write nothing, and read at most a name that lives for ever.
    let outcome = unsafe { libc::syscall(number, a, b, c, d) };
    if outcome < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

fn map(flags: libc::c_int) -> std::io::Result<()> {
    let wanted = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new place in memory, which nobody uses.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), 4096, wanted, flags, -1, 0) };
    if place == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn its_own_files_threads_and_the_linker_are_left() {
    for what in ["own file", "library", "thread", "signal to itself", "own limit", "flags of a file", "memory"] {
        assert_eq!(attempt(what), "done", "{what}");
    }
    if Path::new("/usr/bin/ld").exists() {
        assert_eq!(attempt("linker"), "done");
    }
}

#[test]
fn files_of_others_and_other_programs_are_out_of_reach() {
    let forbidden = libc::EACCES.to_string();
    for what in ["other file", "other folder", "agent's memory", "other program", "copied program"] {
        assert_eq!(attempt(what), forbidden, "{what}");
    }
}

#[test]
fn the_network_and_other_processes_are_out_of_reach() {
    let missing = libc::ENOSYS.to_string();
    for what in [
        "network",
        "name",
        "signal to the agent",
        "signal to its group",
        "session",
        "group",
        "limit of the agent",
        "priority of the agent",
        "processor of the agent",
        "owner of signals",
    ] {
        assert_eq!(attempt(what), missing, "{what}");
    }
}

#[test]
fn what_no_rule_for_files_and_no_limit_counts_does_not_exist() {
    let missing = libc::ENOSYS.to_string();
    for what in ["mode of a folder", "length of a named file", "file in memory", "shared memory"] {
        assert_eq!(attempt(what), missing, "{what}");
    }
}
