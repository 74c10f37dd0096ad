//! What this build needs of a processor, and whether it is there: asked before anything else runs, so that an old machine gets a sentence and no
//! illegal instruction.

/// What x86-64-v3 has over the first x86-64, as Linux names it: processors have had them since 2013 (Haswell) and 2015 (Excavator).
const NEEDED: [&str; 8] = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"];

/// Refuses a processor that lacks what this build was compiled for. Where nobody can tell, it is believed.
pub fn check() -> Result<(), String> {
    if !cfg!(all(target_arch = "x86_64", target_feature = "avx2")) {
        return Ok(());
    }
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    match missing(&text) {
        Some(flag) => Err(format!(
            "this build is for x86-64-v3, this processor has no {flag}: build with `--config 'build.rustflags=[]'` for it"
        )),
        None => Ok(()),
    }
}

/// What the first processor that is listed lacks.
fn missing(cpuinfo: &str) -> Option<&'static str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let flags: Vec<&str> = line.split_once(':')?.1.split_whitespace().collect();
    NEEDED.into_iter().find(|needed| !flags.contains(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_flag_is_named() {
        let all = format!("processor\t: 0\nflags\t\t: fpu {}\n", NEEDED.join(" "));
        assert_eq!(missing(&all), None);
        assert_eq!(missing(&all.replace(" avx2", "")), Some("avx2"));
        assert_eq!(missing("an operating system that does not say"), None);
        check().unwrap();
    }
}
