//! The machine on which digests were compared, in the test's output: who reports a run names it.

/// Prints the driver, and the CPU with those of its flags that decide which kernels run.
pub fn print(driver: &str) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |key: &str| {
        let line = info.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim())
    };
    let telling = ["fma", "avx2", "avx512f"];
    let flags: Vec<&str> = of("flags").split(' ').filter(|flag| telling.contains(flag)).collect();
    println!("on {driver}; CPU: {}; flags: {}", of("model name"), flags.join(" "));
}
