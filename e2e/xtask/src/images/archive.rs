//! OCI images: configuration and manifest from a recipe and its layers, and an archive that holds several images.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::containerfile::Recipe;
use super::tar::Tar;
use crate::files::{self, HashingWriter};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A layer on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Layer {
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub digest: String,
    /// SHA-256 of the tar file, before compression.
    pub diff_id: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the tar file, before compression.
    pub size_unpacked: u64,
    /// Media type.
    pub media_type: String,
}

/// An image, complete but for its name.
#[derive(Debug)]
pub struct Assembled {
    layers: Vec<Layer>,
    config: Blob,
    manifest: Blob,
}

#[derive(Debug)]
struct Blob {
    bytes: Vec<u8>,
    digest: String,
}

/// The archive format: OCI image layout in a tar file.
pub struct Archive;

impl Layer {
    /// A layer that is not compressed.
    pub fn plain(path: &Path) -> Result<Self> {
        let digest = files::hash_file(path)?;
        let size = path.metadata().with_context(|| format!("look at {}", path.display()))?.len();
        Ok(Self {
            path: path.to_owned(),
            diff_id: digest.clone(),
            digest,
            size,
            size_unpacked: size,
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        })
    }

    /// A layer compressed with zstd, beside the tar file that it was made from.
    pub fn zstd(path: &Path, tar: &Path) -> Result<Self> {
        let raw = Self::plain(tar)?;
        let packed = Self::plain(path)?;
        let media_type = "application/vnd.oci.image.layer.v1.tar+zstd".to_owned();
        Ok(Self { diff_id: raw.diff_id, size_unpacked: raw.size, media_type, ..packed })
    }
}

impl Assembled {
    /// Joins layers under a recipe's configuration.
    pub fn new(recipe: &Recipe, layers: Vec<Layer>) -> Result<Self> {
        let mut environment = vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        environment.extend(recipe.environment.iter().cloned());
        let diff_ids: Vec<_> = layers.iter().map(|layer| sha256(&layer.diff_id)).collect();
        let config = Blob::json(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "User": recipe.user,
                "Env": environment,
                "Entrypoint": recipe.entrypoint,
                "WorkingDir": if recipe.workdir.is_empty() { "/" } else { &recipe.workdir },
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))?;
        let described: Vec<_> =
            layers.iter().map(|layer| descriptor(&layer.media_type, &layer.digest, layer.size)).collect();
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config.digest, config.bytes.len() as u64),
            "layers": described,
        }))?;
        Ok(Self { layers, config, manifest })
    }

    /// The full reference under which it is loaded: its tag is its content.
    pub fn reference(&self, name: &str) -> String {
        format!("localhost/orion/{name}:{}", &self.manifest.digest[..12])
    }

    /// Its layers, base first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter()
    }
}

impl Archive {
    /// Writes images into one file. A layer that several share is there once.
    pub fn write(target: &Path, images: &[(String, Assembled)]) -> Result<()> {
        let file = File::create(target).with_context(|| format!("create {}", target.display()))?;
        let mut tar = Tar::new(BufWriter::new(file));
        let mut add = |path: &str, bytes: &[u8]| tar.file(path, 0o644, bytes.len() as u64, &mut &bytes[..]);
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add("index.json", &serde_json::to_vec(&index(images))?)?;
        let mut written = BTreeSet::new();
        for (_, image) in images {
            for blob in [&image.config, &image.manifest] {
                if written.insert(&blob.digest) {
                    add(&blob_path(&blob.digest), &blob.bytes)?;
                }
            }
        }
        for layer in images.iter().flat_map(|(_, image)| &image.layers) {
            if written.insert(&layer.digest) {
                let mut content = File::open(&layer.path).with_context(|| format!("open {}", layer.path.display()))?;
                tar.file(&blob_path(&layer.digest), 0o644, layer.size, &mut content)?;
            }
        }
        tar.finish()?.flush().with_context(|| format!("write {}", target.display()))
    }
}

fn index(images: &[(String, Assembled)]) -> Value {
    let manifests: Vec<_> = images
        .iter()
        .map(|(reference, image)| {
            let mut entry = descriptor(MANIFEST, &image.manifest.digest, image.manifest.bytes.len() as u64);
            entry["platform"] = json!({"os": "linux", "architecture": architecture()});
            entry["annotations"] = json!({
                "io.containerd.image.name": reference,
                "org.opencontainers.image.ref.name": reference.rsplit(':').next(),
            });
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "manifests": manifests})
}

impl Blob {
    fn json(value: &Value) -> Result<Self> {
        let bytes = serde_json::to_vec(value)?;
        let mut hasher = HashingWriter::default();
        hasher.write_all(&bytes)?;
        Ok(Self { digest: hasher.finish().0, bytes })
    }
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": sha256(digest), "size": size})
}

fn sha256(digest: &str) -> String {
    format!("sha256:{digest}")
}

fn blob_path(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

/// The machine's name in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
