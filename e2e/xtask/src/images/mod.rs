//! Container images without a container engine: Containerfiles of a small dialect, assembled into one OCI archive.
//!
//! Why not buildah: without overlay storage it copies and compares the whole base file system for each image, tens of
//! seconds for a changed line of code. Here the base (made by mmdebstrap, cached under the hash of its package list) is
//! one layer, the binaries are another, and a code change costs only the second. The same Containerfiles build with
//! Docker or Podman wherever a registry can be reached, and that is how clusters of kind, k3d and minikube get them.
//!
//! An image's tag is the hash of its content, so an image that is loaded already is never loaded again.

mod archive;
mod base;
mod containerfile;
mod tar;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, external};
use crate::files;
use crate::mode::{self, Engine, Mode};
use crate::process;
use crate::progress::{Steps, megabytes};
use crate::settings::Settings;
use crate::tools::debian;
use archive::{Archive, Layer};
use containerfile::Recipe;

/// Name of a program and the path of its binary.
pub type BinaryPaths = BTreeMap<String, PathBuf>;

/// Name of an image and its full reference.
pub type ImageRefs = BTreeMap<String, String>;

/// An image to build.
#[derive(Debug, Clone)]
pub struct Image {
    /// Last part of its repository, `localhost/orion/<name>`.
    pub name: String,
    /// Its Containerfile; the files that it copies are looked up in the [`BinaryPaths`] by name.
    pub containerfile: PathBuf,
}

/// The images that Orion ships.
pub fn shipped() -> Vec<Image> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let image = |name: &str, file: &str| Image { name: name.to_owned(), containerfile: root.join(file) };
    vec![
        image("operator", "e2e/images/operator/Containerfile"),
        image("ledger", "e2e/images/ledger/Containerfile"),
        image("cli", "e2e/images/cli/Containerfile"),
        image("nats", "e2e/images/nats/Containerfile"),
        image("worker", "worker-image/Containerfile"),
    ]
}

/// Builds the shipped images whose binaries are given and loads them into the cluster. nats-server is always given.
///
/// An image none of whose binaries is given is left out; one with only some of them is an error.
pub fn build_and_load(settings: &Settings, cluster: &Cluster, binaries: &BinaryPaths) -> Result<ImageRefs> {
    build_and_load_these(settings, cluster, &shipped(), binaries)
}

/// As [`build_and_load`], for any images: tests bring their own.
pub fn build_and_load_these(
    settings: &Settings,
    cluster: &Cluster,
    images: &[Image],
    binaries: &BinaryPaths,
) -> Result<ImageRefs> {
    let mut binaries = binaries.clone();
    if let Ok(server) = cluster.tools.path("nats-server") {
        binaries.entry("nats-server".to_owned()).or_insert_with(|| server.to_owned());
    }
    match &cluster.mode {
        Mode::External { engine, .. } => {
            let references = build_by_engine(*engine, "localhost/orion", images, &binaries)?;
            load_by_engine(*engine, cluster, &references)?;
            Ok(references)
        }
        Mode::Context(_) => {
            let repository = settings.repository.as_deref().context("ORION_IMAGES names no repository to push to")?;
            let engine = mode::find_engine().context("neither docker nor podman answers, and images must be pushed")?;
            let references = build_by_engine(engine, repository, images, &binaries)?;
            for reference in references.values() {
                process::run(&mut external::push_image(engine, reference).command())?;
            }
            Ok(references)
        }
        _ => build_here(settings, cluster, images, &binaries),
    }
}

/// Reads `name=path`, for the command line.
pub fn parse_binary(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write it as name=path")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

/// Writes an archive with the image of the pause program, and returns its reference.
pub fn pause_archive(program: &Path, target: &Path) -> Result<String> {
    let scratch = tempfile::tempdir().context("make a temporary folder")?;
    let image = pause(program, scratch.path())?;
    let reference = image.reference("pause");
    Archive::write(target, &[(reference.clone(), image)])?;
    Ok(reference)
}

/// The reference of the image that [`pause_archive`] writes.
pub fn pause_reference(program: &Path) -> Result<String> {
    let scratch = tempfile::tempdir().context("make a temporary folder")?;
    Ok(pause(program, scratch.path())?.reference("pause"))
}

fn pause(program: &Path, scratch: &Path) -> Result<archive::Assembled> {
    let recipe = Recipe::parse("FROM scratch\nCOPY pause /pause\nUSER 65532:65532\nENTRYPOINT [\"/pause\"]\n", "")?;
    let binaries = BinaryPaths::from([("pause".to_owned(), program.to_owned())]);
    let layer = thin_layer(&recipe, &binaries, &scratch.join("pause.layer"))?;
    archive::Assembled::new(&recipe, vec![layer])
}

fn build_here(settings: &Settings, cluster: &Cluster, images: &[Image], binaries: &BinaryPaths) -> Result<ImageRefs> {
    debian::ensure(settings, debian::IMAGES)?;
    let suite = base::suite();
    let images = with_recipes(images, binaries, suite.as_deref())?;
    let mut steps = Steps::new("images", images.len() + 1);
    let scratch = tempfile::tempdir_in(files_root(settings)?).context("make a temporary folder")?;
    let mut built = Vec::new();
    for (image, recipe) in &images {
        let assembled = steps.run(&image.name, |step| {
            let mut layers = Vec::new();
            if let Some(base) = &recipe.base {
                layers.push(base::ensure(settings, base, step)?);
            }
            let target = scratch.path().join(format!("{}.layer", image.name));
            layers.push(thin_layer(recipe, &stripped(recipe, binaries, scratch.path())?, &target)?);
            archive::Assembled::new(recipe, layers)
        })?;
        let sizes: Vec<_> = assembled.layers().map(|layer| megabytes(layer.size)).collect();
        eprintln!("    {} (layers: {})", assembled.reference(&image.name), sizes.join(" + "));
        built.push((assembled.reference(&image.name), assembled));
    }
    let references =
        images.iter().zip(&built).map(|((image, _), (reference, _))| (image.name.clone(), reference.clone())).collect();
    steps.run("load", |step| load(cluster, built, scratch.path(), |text| step.note(text)))?;
    steps.finish();
    Ok(references)
}

/// Loads what the cluster does not hold yet.
fn load(
    cluster: &Cluster,
    mut built: Vec<(String, archive::Assembled)>,
    scratch: &Path,
    note: impl Fn(&str),
) -> Result<()> {
    let loaded = cluster.loaded_images()?;
    built.retain(|(reference, _)| !loaded.contains(reference));
    if built.is_empty() {
        return Ok(());
    }
    let target = scratch.join("images.tar");
    note("write the archive");
    Archive::write(&target, &built)?;
    note("import");
    cluster.load_images(&target)
}

/// With Docker or Podman: the engine builds from the same Containerfiles.
fn build_by_engine(engine: Engine, repository: &str, images: &[Image], binaries: &BinaryPaths) -> Result<ImageRefs> {
    if !cfg!(target_os = "linux") {
        bail!("images hold programs built on this machine, which must be Linux; ORION_MODE=processes needs no images");
    }
    let suite = base::suite();
    let images = with_recipes(images, binaries, suite.as_deref())?;
    let scratch = tempfile::tempdir().context("make a temporary folder")?;
    let mut steps = Steps::new("images", images.len());
    let mut references = ImageRefs::new();
    for (image, recipe) in &images {
        let reference = steps.run(&image.name, |step| {
            let context = scratch.path().join(&image.name);
            let text = fs::read(&image.containerfile)?;
            let mut parts = vec![text];
            for (name, path) in stripped(recipe, binaries, &context)? {
                parts.push(fs::read(&path).with_context(|| format!("read {name}"))?);
            }
            let tag = &files::hash_parts(parts.iter().map(Vec::as_slice))[..12];
            let reference = format!("{repository}/{}:{tag}", image.name);
            let mut argv = external::build_image(engine, &image.containerfile, &context, &reference);
            if let Some(suite) = &suite {
                argv.words.extend(["--build-arg".to_owned(), format!("SUITE={suite}")]);
            }
            process::run_long(&mut argv.command(), step)?;
            Ok(reference)
        })?;
        references.insert(image.name.clone(), reference);
    }
    steps.finish();
    Ok(references)
}

/// Brings images of the engine into the cluster, as one archive.
fn load_by_engine(engine: Engine, cluster: &Cluster, references: &ImageRefs) -> Result<()> {
    let scratch = tempfile::tempdir().context("make a temporary folder")?;
    let archive = scratch.path().join("images.tar");
    let all: Vec<_> = references.values().cloned().collect();
    process::run(&mut external::save_images(engine, &archive, &all).command())?;
    cluster.load_images(&archive)
}

/// Reads the Containerfiles and leaves out images none of whose binaries is given.
fn with_recipes<'a>(
    images: &'a [Image],
    binaries: &BinaryPaths,
    suite: Option<&str>,
) -> Result<Vec<(&'a Image, Recipe)>> {
    let known: BTreeSet<&str> = binaries.keys().map(String::as_str).collect();
    let mut wanted = Vec::new();
    for image in images {
        let path = image.containerfile.display();
        let text = fs::read_to_string(&image.containerfile).with_context(|| format!("read {path}"))?;
        let recipe = Recipe::parse(&text, suite.unwrap_or_default()).with_context(|| format!("understand {path}"))?;
        let (given, missing): (Vec<_>, Vec<_>) = recipe.sources().partition(|name| known.contains(name));
        match (given.is_empty(), missing.is_empty()) {
            (_, true) => wanted.push((image, recipe)),
            (true, false) => eprintln!("images: {} left out, no binary given for {}", image.name, missing.join(", ")),
            (false, false) => bail!("image {} also needs a binary for {}", image.name, missing.join(", ")),
        }
    }
    Ok(wanted)
}

/// Copies of a recipe's binaries without symbols: a debug build is ten times as large with them.
fn stripped(recipe: &Recipe, binaries: &BinaryPaths, folder: &Path) -> Result<BinaryPaths> {
    files::make_folder(folder)?;
    let mut copies = BinaryPaths::new();
    for name in recipe.sources() {
        let source = &binaries[name];
        let copy = folder.join(name);
        if process::run(Command::new("strip").arg("-o").arg(&copy).arg(source)).is_err() {
            // A script has no symbols.
            fs::copy(source, &copy).with_context(|| format!("copy {}", source.display()))?;
        }
        copies.insert(name.to_owned(), copy);
    }
    Ok(copies)
}

fn thin_layer(recipe: &Recipe, binaries: &BinaryPaths, target: &Path) -> Result<Layer> {
    let entries: Vec<_> =
        recipe.copies.iter().map(|(source, destination)| (destination.as_str(), binaries[source].as_path())).collect();
    tar::write_layer(target, &entries)?;
    Layer::plain(target)
}

fn files_root(settings: &Settings) -> Result<PathBuf> {
    let folder = settings.cache.join("images");
    files::make_folder(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_containerfile_is_understood() {
        let binaries = ["orion-operator", "orion-ledger", "orion", "nats-server", "orion-worker", "orion-executor"];
        let binaries = binaries.map(|name| (name.to_owned(), PathBuf::from("/bin/true"))).into();
        let images = shipped();
        let recipes = with_recipes(&images, &binaries, None).unwrap();
        assert_eq!(recipes.len(), images.len());
        for (image, recipe) in recipes {
            assert_eq!(recipe.user, "65532:65532", "{} must not run as root", image.name);
            assert!(!recipe.entrypoint.is_empty(), "{}", image.name);
        }
    }

    #[test]
    fn half_an_image_is_refused() {
        let binaries = BinaryPaths::from([("orion-worker".to_owned(), PathBuf::from("/bin/true"))]);
        let error = with_recipes(&shipped(), &binaries, None).unwrap_err();
        assert_eq!(error.to_string(), "image worker also needs a binary for orion-executor");
    }

    #[test]
    fn the_pause_reference_follows_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("pause");
        fs::write(&program, "one").unwrap();
        let first = pause_reference(&program).unwrap();
        assert_eq!(first, pause_archive(&program, &folder.path().join("a.tar")).unwrap());
        fs::write(&program, "two").unwrap();
        assert_ne!(first, pause_reference(&program).unwrap());
    }
}
