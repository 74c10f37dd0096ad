//! The files of a job's outputs while they are written: the head of each format, then rows in the order of the units, hashed on the way. That is
//! what the platform's worker stores, so the digests are those of the job's status. A file appears whole or not at all.

use std::io::{BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use orion_protocol::combine::Combined;
use orion_protocol::digest::Hasher;
use orion_protocol::files::{Extract, File};
use orion_protocol::rows::offsets;
use orion_protocol::task::{Layout, OutputSpec, UnitTable};
use orion_protocol::{Digest, Format};
use tempfile::NamedTempFile;

/// Files of all outputs, in the order of the spec.
pub struct Results {
    outputs: Vec<OutputSpec>,
    units: UnitTable,
    growing: Vec<Growing>,
}

/// A file of one output.
struct Growing {
    /// Which output.
    at: usize,
    extract: Option<Extract>,
    format: Format,
    path: PathBuf,
    writer: Writer,
    state: State,
}

/// What a file goes by while it grows.
enum State {
    /// Its head is written, and rows follow.
    Rows,
    /// Values without their head, which needs to know how many they are.
    Values(u64),
    /// Where the last item's entries end.
    Offsets(u64),
    /// Nothing is written before all copies are there.
    Combined(Combined),
}

/// Hashes what it writes.
struct Writer {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    hasher: Hasher,
    size: u64,
}

/// A file that is there.
pub struct Written {
    /// The array in it.
    pub file: File,
    /// Where it is.
    pub path: PathBuf,
    /// Of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
}

impl Results {
    /// Begins the files of each output, to be found in the folder under their names.
    pub fn begin(
        folder: &Path,
        outputs: &[OutputSpec],
        units: &UnitTable,
        formats: &[Format],
    ) -> anyhow::Result<Results> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut growing = Vec::new();
        for (at, (spec, format)) in outputs.iter().zip(formats).enumerate() {
            for extract in spec.extracts() {
                growing.push(Growing::begin(folder, at, spec, units, *extract, *format)?);
            }
        }
        Ok(Results { outputs: outputs.to_vec(), units: *units, growing })
    }

    /// Appends what each output keeps of the next units.
    pub fn append(&mut self, rows: &[Vec<u8>]) -> anyhow::Result<()> {
        let Results { outputs, units: _, growing } = self;
        growing.iter_mut().try_for_each(|file| file.append(outputs, rows))
    }

    /// Puts the files in their places.
    pub fn finish(self) -> anyhow::Result<Vec<Written>> {
        let Results { outputs, units, growing } = self;
        growing.into_iter().map(|file| file.finish(&outputs, &units)).collect()
    }
}

impl Growing {
    fn begin(
        folder: &Path,
        at: usize,
        spec: &OutputSpec,
        units: &UnitTable,
        extract: Option<Extract>,
        format: Format,
    ) -> anyhow::Result<Growing> {
        let file = spec.file(extract, units, None);
        let path = folder.join(format!("{}.{format}", file.name));
        let mut writer = Writer::new(&path)?;
        let state = match (extract, Combined::new(spec)) {
            (Some(Extract::Values), _) => State::Values(0),
            (Some(Extract::Offsets), _) => State::Offsets(0),
            (None, Some(combined)) => State::Combined(combined),
            (Some(Extract::Units), _) | (None, None) => State::Rows,
        };
        match &state {
            State::Rows => writer.write(&format.head(&file))?,
            State::Offsets(first) => {
                writer.write(&format.head(&file))?;
                writer.write(&first.to_le_bytes())?;
            }
            State::Values(_) | State::Combined(_) => {}
        }
        Ok(Growing { at, extract, format, path, writer, state })
    }

    fn append(&mut self, outputs: &[OutputSpec], rows: &[Vec<u8>]) -> anyhow::Result<()> {
        let mine = rows.get(self.at).context("an output has no rows")?;
        match &mut self.state {
            State::Rows => self.writer.write(mine),
            State::Values(entries) => {
                *entries += mine.len() as u64 / outputs[self.at].entry_bytes();
                self.writer.write(mine)
            }
            State::Offsets(end) => {
                let Some(Layout::Lengths(lengths)) = outputs[self.at].layout else { return Ok(()) };
                let lengths = usize::try_from(lengths)?;
                let bytes = rows.get(lengths).context("an output of lengths has no rows")?;
                let (ends, last) = offsets(outputs[lengths].dtype, bytes, *end);
                *end = last;
                self.writer.write(&ends)
            }
            State::Combined(combined) => {
                combined.add(mine);
                Ok(())
            }
        }
    }

    fn finish(self, outputs: &[OutputSpec], units: &UnitTable) -> anyhow::Result<Written> {
        let Growing { at, extract, format, path, mut writer, state } = self;
        let entries = match &state {
            State::Values(entries) => Some(*entries),
            State::Rows | State::Offsets(_) | State::Combined(_) => None,
        };
        let file = outputs[at].file(extract, units, entries);
        match state {
            State::Rows | State::Offsets(_) => {}
            State::Values(_) => {
                let values = writer.file.into_inner().map_err(std::io::IntoInnerError::into_error);
                let values = values.with_context(|| format!("writing {}", path.display()))?;
                writer = Writer::new(&path)?;
                writer.write(&format.head(&file))?;
                writer.copy(values)?;
            }
            State::Combined(combined) => {
                writer.write(&format.head(&file))?;
                writer.write(combined.value())?;
            }
        }
        let (digest, size) = writer.finish()?;
        Ok(Written { file, path, digest, size })
    }
}

impl Writer {
    /// Writes beside the place where the file will be.
    fn new(path: &Path) -> anyhow::Result<Writer> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(folder).with_context(|| format!("writing to {}", folder.display()))?;
        Ok(Writer { path: path.to_owned(), file: BufWriter::new(file), hasher: Hasher::default(), size: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).with_context(|| format!("writing {}", self.path.display()))
    }

    /// Writes all of another file.
    fn copy(&mut self, mut from: NamedTempFile) -> anyhow::Result<()> {
        from.rewind().context("reading values")?;
        let mut chunk = vec![0; 1 << 20];
        loop {
            match from.read(&mut chunk).context("reading values")? {
                0 => return Ok(()),
                read => self.write(&chunk[..read])?,
            }
        }
    }

    fn finish(self) -> anyhow::Result<(Digest, u64)> {
        let Writer { path, file, hasher, size } = self;
        let name = || format!("writing {}", path.display());
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(name)?;
        file.persist(&path).with_context(name)?;
        Ok((hasher.finish(), size))
    }
}
