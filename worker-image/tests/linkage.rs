//! The agent holds keys and must never load OpenCL: both binaries come from one package, so the linker's work is looked at.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

/// Whether the file names the library among those that the loader loads.
fn needs_opencl(binary: &str) -> bool {
    let bytes = std::fs::read(binary).unwrap();
    let name = b"libOpenCL.so";
    bytes.windows(name.len()).any(|window| window == name)
}

#[test]
fn the_agent_does_not_link_opencl_and_the_executor_does() {
    assert!(!needs_opencl(env!("CARGO_BIN_EXE_orion-worker")));
    assert!(needs_opencl(env!("CARGO_BIN_EXE_orion-executor")));
}
