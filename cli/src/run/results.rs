//! The files of a job's outputs while they are written: the head of each format, then rows in the order of the units, hashed on the way. That is
//! what the platform's worker stores, so the digests are those of the job's status. A file appears whole or not at all.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use orion_protocol::digest::Hasher;
use orion_protocol::task::OutputSpec;
use orion_protocol::{Digest, Format};
use tempfile::NamedTempFile;

/// Files of all outputs, in the order of the spec.
pub struct Results(Vec<Growing>);

struct Growing {
    spec: OutputSpec,
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    hasher: Hasher,
    size: u64,
}

/// A file that is there.
pub struct Written {
    /// The output.
    pub spec: OutputSpec,
    /// Where it is.
    pub path: PathBuf,
    /// Of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
}

impl Results {
    /// Begins a file for each output, to be found as <output>.<format> in the folder.
    pub fn begin(folder: &Path, outputs: &[OutputSpec], formats: &[Format]) -> anyhow::Result<Results> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let begin = |(spec, format): (&OutputSpec, &Format)| {
            let path = folder.join(format!("{}.{format}", spec.name));
            let file = NamedTempFile::new_in(folder).with_context(|| format!("writing to {}", folder.display()))?;
            let (file, hasher) = (BufWriter::new(file), Hasher::default());
            let mut growing = Growing { spec: spec.clone(), path, file, hasher, size: 0 };
            growing.write(&format.head(spec))?;
            Ok(growing)
        };
        outputs.iter().zip(formats).map(begin).collect::<anyhow::Result<_>>().map(Results)
    }

    /// Appends the next rows of each output.
    pub fn append(&mut self, rows: &[Vec<u8>]) -> anyhow::Result<()> {
        self.0.iter_mut().zip(rows).try_for_each(|(output, rows)| output.write(rows))
    }

    /// Puts the files in their places.
    pub fn finish(self) -> anyhow::Result<Vec<Written>> {
        self.0.into_iter().map(Growing::finish).collect()
    }
}

impl Growing {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).with_context(|| format!("writing {}", self.path.display()))
    }

    fn finish(self) -> anyhow::Result<Written> {
        let Growing { spec, path, file, hasher, size } = self;
        let name = || format!("writing {}", path.display());
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(name)?;
        file.persist(&path).with_context(name)?;
        Ok(Written { spec, digest: hasher.finish(), size, path })
    }
}
