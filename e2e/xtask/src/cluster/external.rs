//! Clusters made by kind, k3d or minikube: the commands as data, so that they can be tested where none is installed.
//!
//! Untested by us beyond these commands: no container engine was at hand.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::mode::{Distribution, Engine};
use crate::process;

/// A command line with the variables it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Variables set for it.
    pub environment: Vec<(&'static str, String)>,
}

impl Argv {
    fn new<const N: usize>(words: [&str; N]) -> Self {
        Self { words: words.map(str::to_owned).to_vec(), environment: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// As a command to run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// One cluster of this kind.
#[derive(Debug, Clone, Copy)]
pub struct External<'a> {
    /// The container engine.
    pub engine: Engine,
    /// What makes the cluster.
    pub distribution: Distribution,
    /// Its name there.
    pub name: &'a str,
    /// Where its kubeconfig goes; the user's own is left alone.
    pub kubeconfig: &'a Path,
}

impl External<'_> {
    /// Prints the clusters that exist, or succeeds when ours does.
    pub fn list(&self) -> Argv {
        self.fit(match self.distribution {
            Distribution::Kind => Argv::new(["kind", "get", "clusters"]),
            Distribution::K3d => Argv::new(["k3d", "cluster", "list", "--no-headers"]),
            Distribution::Minikube => Argv::new(["minikube", "profile", "list", "--output", "json"]),
        })
    }

    /// Makes the cluster and waits for it.
    pub fn create(&self) -> Argv {
        let config = self.kubeconfig.to_string_lossy();
        let engine = self.engine.to_string();
        self.fit(match self.distribution {
            Distribution::Kind => {
                Argv::new(["kind", "create", "cluster", "--name", self.name, "--kubeconfig", &config, "--wait", "180s"])
            }
            Distribution::K3d => {
                Argv::new(["k3d", "cluster", "create", self.name, "--wait", "--kubeconfig-update-default=false"])
            }
            Distribution::Minikube => Argv::new([
                "minikube",
                "start",
                "--profile",
                self.name,
                "--driver",
                &engine,
                "--wait",
                "all",
                "--keep-context",
            ]),
        })
    }

    /// Prints the kubeconfig, for those that cannot write it to a file of our choice.
    pub fn print_kubeconfig(&self) -> Option<Argv> {
        match self.distribution {
            Distribution::K3d => Some(self.fit(Argv::new(["k3d", "kubeconfig", "get", self.name]))),
            Distribution::Kind | Distribution::Minikube => None,
        }
    }

    /// Brings an image archive into the cluster.
    pub fn load(&self, archive: &Path) -> Argv {
        let archive = archive.to_string_lossy();
        self.fit(match self.distribution {
            Distribution::Kind => Argv::new(["kind", "load", "image-archive", &archive, "--name", self.name]),
            Distribution::K3d => Argv::new(["k3d", "image", "import", &archive, "--cluster", self.name]),
            Distribution::Minikube => Argv::new(["minikube", "image", "load", &archive, "--profile", self.name]),
        })
    }

    /// Removes the cluster.
    pub fn delete(&self) -> Argv {
        let config = self.kubeconfig.to_string_lossy();
        self.fit(match self.distribution {
            Distribution::Kind => {
                Argv::new(["kind", "delete", "cluster", "--name", self.name, "--kubeconfig", &config])
            }
            Distribution::K3d => Argv::new(["k3d", "cluster", "delete", self.name]),
            Distribution::Minikube => Argv::new(["minikube", "delete", "--profile", self.name]),
        })
    }

    /// Makes the cluster unless it is there, and leaves its kubeconfig in the file.
    pub fn up(&self) -> Result<()> {
        let listed = process::output(&mut self.list().command())?;
        if !is_listed(&listed, self.name) {
            process::run(&mut self.create().command())?;
        }
        if let Some(print) = self.print_kubeconfig() {
            crate::files::write_private(self.kubeconfig, process::output(&mut print.command())?)?;
        }
        Ok(())
    }

    /// Adds what the engine and the distribution need in their environment.
    fn fit(&self, argv: Argv) -> Argv {
        match (self.distribution, self.engine) {
            (Distribution::Kind, Engine::Podman) => argv.with("KIND_EXPERIMENTAL_PROVIDER", "podman"),
            (Distribution::Minikube, _) => argv.with("KUBECONFIG", self.kubeconfig.to_string_lossy()),
            _ => argv,
        }
    }
}

/// Builds an image where a registry can be reached.
pub fn build_image(engine: Engine, containerfile: &Path, context: &Path, reference: &str) -> Argv {
    let [file, folder] = [containerfile, context].map(|path| path.to_string_lossy().into_owned());
    Argv::new([&engine.to_string(), "build", "--file", &file, "--tag", reference, &folder])
}

/// Pushes an image to the repository in its name.
pub fn push_image(engine: Engine, reference: &str) -> Argv {
    Argv::new([&engine.to_string(), "push", reference])
}

/// Writes images to one archive.
pub fn save_images(engine: Engine, archive: &Path, references: &[String]) -> Argv {
    let mut argv = Argv::new([&engine.to_string(), "save", "--output", &archive.to_string_lossy()]);
    if engine == Engine::Podman {
        argv.words.push("--multi-image-archive".to_owned());
    }
    argv.words.extend_from_slice(references);
    argv
}

/// Whether a listing names the cluster: as a line of its own, the first word of one, or a JSON string.
fn is_listed(listing: &str, name: &str) -> bool {
    listing.lines().any(|line| line.split_whitespace().next() == Some(name))
        || listing.contains(&format!("\"Name\":\"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(engine: Engine, distribution: Distribution, expected: [&str; 4]) {
        let external = External { engine, distribution, name: "orion", kubeconfig: Path::new("/s/kubeconfig") };
        let lines = [external.list(), external.create(), external.load(Path::new("/c/i.tar")), external.delete()];
        assert_eq!(lines.map(|argv| argv.words.join(" ")), expected);
    }

    #[test]
    fn kind_commands() {
        check(
            Engine::Docker,
            Distribution::Kind,
            [
                "kind get clusters",
                "kind create cluster --name orion --kubeconfig /s/kubeconfig --wait 180s",
                "kind load image-archive /c/i.tar --name orion",
                "kind delete cluster --name orion --kubeconfig /s/kubeconfig",
            ],
        );
    }

    #[test]
    fn k3d_commands() {
        check(
            Engine::Docker,
            Distribution::K3d,
            [
                "k3d cluster list --no-headers",
                "k3d cluster create orion --wait --kubeconfig-update-default=false",
                "k3d image import /c/i.tar --cluster orion",
                "k3d cluster delete orion",
            ],
        );
    }

    #[test]
    fn minikube_commands() {
        check(
            Engine::Podman,
            Distribution::Minikube,
            [
                "minikube profile list --output json",
                "minikube start --profile orion --driver podman --wait all --keep-context",
                "minikube image load /c/i.tar --profile orion",
                "minikube delete --profile orion",
            ],
        );
    }

    #[test]
    fn the_users_own_kubeconfig_is_never_written() {
        for distribution in [Distribution::Kind, Distribution::K3d, Distribution::Minikube] {
            let kubeconfig = Path::new("/s/kubeconfig");
            let external = External { engine: Engine::Docker, distribution, name: "orion", kubeconfig };
            let create = external.create();
            let set = create.environment.iter().any(|(name, _)| *name == "KUBECONFIG");
            let given = create.words.iter().any(|word| word.starts_with("--kubeconfig"));
            assert!(set || given, "{distribution}");
        }
    }

    #[test]
    fn podman_is_announced_to_kind() {
        let kubeconfig = Path::new("/s/kubeconfig");
        let external = External { engine: Engine::Podman, distribution: Distribution::Kind, name: "orion", kubeconfig };
        assert_eq!(external.create().environment, [("KIND_EXPERIMENTAL_PROVIDER", "podman".to_owned())]);
    }

    #[test]
    fn image_commands() {
        let build = build_image(Engine::Docker, Path::new("w/Containerfile"), Path::new("ctx"), "localhost/orion/w:1");
        assert_eq!(build.words.join(" "), "docker build --file w/Containerfile --tag localhost/orion/w:1 ctx");
        assert_eq!(push_image(Engine::Podman, "example.com/o/w:1").words.join(" "), "podman push example.com/o/w:1");
        let references = ["localhost/orion/a:1".to_owned(), "localhost/orion/b:1".to_owned()];
        let save = save_images(Engine::Podman, Path::new("/c/i.tar"), &references);
        assert_eq!(
            save.words.join(" "),
            "podman save --output /c/i.tar --multi-image-archive localhost/orion/a:1 localhost/orion/b:1"
        );
    }

    #[test]
    fn a_listed_cluster_is_recognised_by_its_whole_name() {
        assert!(is_listed("kind\norion\n", "orion"));
        assert!(is_listed("orion   1/1   0/0   true", "orion"));
        assert!(is_listed(r#"{"valid":[{"Name":"orion","Status":"Running"}]}"#, "orion"));
        assert!(!is_listed("orion-two\n", "orion"));
    }
}
