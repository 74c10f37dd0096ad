//! Debian packages that no Go module replaces: what is missing, and how it comes in.
//!
//! Root on a Debian-like system: asked for on a terminal, otherwise installed. Anybody else is told the command.

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress::Steps;
use crate::settings::Settings;

/// A package, known to be there when its file is.
pub struct Package {
    /// Name for apt-get.
    pub name: &'static str,
    /// A program on the PATH or an absolute path that the package brings.
    pub proof: &'static str,
}

/// To compile runc and the pause program.
pub const BUILD: &[Package] = &[
    Package { name: "gcc", proof: "cc" },
    Package { name: "libc6-dev", proof: "/usr/include/stdlib.h" },
    Package { name: "pkg-config", proof: "pkg-config" },
    Package { name: "libseccomp-dev", proof: "/usr/include/seccomp.h" },
];

/// To run a node: namespaces, links, pod networks, Service addresses.
pub const NODE: &[Package] = &[
    Package { name: "util-linux", proof: "nsenter" },
    Package { name: "mount", proof: "mount" },
    Package { name: "iproute2", proof: "ip" },
    Package { name: "nftables", proof: "nft" },
    Package { name: "containernetworking-plugins", proof: "/usr/lib/cni/ptp" },
];

/// To build and run what computes: the OpenCL loader and a driver for the CPU.
pub const OPENCL: &[Package] = &[
    Package { name: "ocl-icd-opencl-dev", proof: "/usr/lib/x86_64-linux-gnu/libOpenCL.so" },
    Package { name: "pocl-opencl-icd", proof: "/etc/OpenCL/vendors/pocl.icd" },
];

/// To run tests on other OpenCL runtimes.
pub const BITS: &[Package] =
    &[Package { name: "mmdebstrap", proof: "mmdebstrap" }, Package { name: "oclgrind", proof: "oclgrind" }];

/// To compile libFuzzer.
pub const FUZZ: &[Package] = &[Package { name: "g++", proof: "c++" }];

/// To make container images.
pub const IMAGES: &[Package] = &[
    Package { name: "mmdebstrap", proof: "mmdebstrap" },
    Package { name: "binutils", proof: "strip" },
    Package { name: "zstd", proof: "zstd" },
];

/// Sees to it that the packages are installed.
pub fn ensure(settings: &Settings, packages: &[Package]) -> Result<()> {
    let names = missing(packages);
    if names.is_empty() {
        return Ok(());
    }
    let list = names.join(" ");
    let apt = which::which("apt-get").is_ok();
    if !apt {
        bail!(
            "these programs are missing: {}; install them (Debian packages: {list}) and run this again",
            proofs(packages)
        );
    }
    if !process::is_root() {
        bail!("Debian packages are missing; run: sudo apt-get install --no-install-recommends {list}");
    }
    if settings.ask && !confirmed(&list)? {
        bail!("not installed; run: apt-get install --no-install-recommends {list}");
    }
    install(&names)
}

/// Names of the packages whose proof is not found.
pub fn missing(packages: &[Package]) -> Vec<&'static str> {
    packages.iter().filter(|package| !present(package.proof)).map(|package| package.name).collect()
}

fn present(proof: &str) -> bool {
    if proof.starts_with('/') { Path::new(proof).exists() } else { which::which(proof).is_ok() }
}

fn proofs(packages: &[Package]) -> String {
    let missing = packages.iter().filter(|package| !present(package.proof));
    missing.map(|package| package.proof).collect::<Vec<_>>().join(", ")
}

fn confirmed(list: &str) -> Result<bool> {
    eprint!("Install these Debian packages now: {list}? [Y/n] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

fn install(names: &[&str]) -> Result<()> {
    let mut steps = Steps::new("packages", 2);
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        command
    };
    // A failed refresh is no reason to stop: the package lists at hand may do.
    steps.run("refresh lists", |step| Ok(process::run_long(&mut apt(&["update", "--quiet"]), step).ok()))?;
    steps.run(&names.join(" "), |step| {
        process::run_long(apt(&["install", "--yes", "--quiet", "--no-install-recommends"]).args(names), step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_when_its_proof_is() {
        let packages = [
            Package { name: "shell", proof: "sh" },
            Package { name: "root", proof: "/" },
            Package { name: "absent", proof: "no-such-program-anywhere" },
            Package { name: "gone", proof: "/no/such/path" },
        ];
        assert_eq!(missing(&packages), ["absent", "gone"]);
    }
}
