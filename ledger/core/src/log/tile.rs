//! The log as static files (c2sp.org/tlog-tiles): paths, hash tiles, entry bundles. Every file has one path and one form.

/// Hashes of a full tile, and entries of a full bundle.
pub const FULL: u16 = 256;
/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// The highest level that a path may name.
pub const MAX_LEVEL: u8 = 63;
/// No path is longer, in bytes: 7 elements of an index, the level, the width.
pub const MAX_PATH_BYTES: usize = 64;
/// log2 of [`FULL`].
pub(super) const BITS: u32 = 8;

/// Hashes side by side on one level: hash n of level l is the root over the 256^l leaves from n*256^l on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// The level, from 0, which holds the hashes of leaves.
    pub level: u8,
    /// The place on its level, from 0.
    pub index: u64,
    /// How many hashes, 1 to 256; fewer than 256 only at the right edge.
    pub width: u16,
}

/// A file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The newest signed checkpoint; the one file that changes.
    Checkpoint,
    /// A hash tile.
    Hashes(Tile),
    /// A bundle of entries.
    Entries {
        /// The place, from 0: the bundle's first entry is 256 times this.
        index: u64,
        /// How many entries, 1 to 256.
        width: u16,
    },
}

/// Why a path is no file of a log.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PathError {
    /// Longer than any.
    #[error("the path is over {MAX_PATH_BYTES} bytes long")]
    TooLong,
    /// Neither the checkpoint nor below tile/.
    #[error("expected checkpoint, tile/<level>/<index> or tile/entries/<index>")]
    Unknown,
    /// The level is no number up to 63.
    #[error("the level is not 0 to {MAX_LEVEL}, without leading zeros")]
    Level,
    /// The index is not in groups of three digits, all but the last with an x.
    #[error("the index is not in groups of three digits, all but the last after an x")]
    Index,
    /// The width is no number up to 255.
    #[error("the width is not 1 to 255, without leading zeros")]
    Width,
}

impl Resource {
    /// Reads a path below the log's prefix, without a slash before it. Each file has one path.
    pub fn parse(path: &str) -> Result<Resource, PathError> {
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if path == "checkpoint" {
            return Ok(Resource::Checkpoint);
        }
        let (kind, rest) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(PathError::Unknown)?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, number(width).ok_or(PathError::Width)?),
            None => (rest, u64::from(FULL)),
        };
        let partial = index.len() < rest.len();
        let width = u16::try_from(width).ok().filter(|width| *width > 0 && *width <= FULL - u16::from(partial));
        let (index, width) = (parse_index(index).ok_or(PathError::Index)?, width.ok_or(PathError::Width)?);
        if kind == "entries" {
            return Ok(Resource::Entries { index, width });
        }
        let level = number(kind).and_then(|level| u8::try_from(level).ok()).filter(|level| *level <= MAX_LEVEL);
        Ok(Resource::Hashes(Tile { level: level.ok_or(PathError::Level)?, index, width }))
    }

    /// The path below the log's prefix.
    pub fn path(&self) -> String {
        let (kind, index, width) = match *self {
            Resource::Checkpoint => return "checkpoint".into(),
            Resource::Hashes(Tile { level, index, width }) => (level.to_string(), index, width),
            Resource::Entries { index, width } => ("entries".into(), index, width),
        };
        let mut groups = format!("{:03}", index % 1000);
        let mut rest = index / 1000;
        while rest > 0 {
            groups = format!("x{:03}/{groups}", rest % 1000);
            rest /= 1000;
        }
        let partial = if width < FULL { format!(".p/{width}") } else { String::new() };
        format!("tile/{kind}/{groups}{partial}")
    }
}

/// A decimal number without sign and leading zeros.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if digits && (text.len() == 1 || !text.starts_with('0')) { text.parse().ok() } else { None }
}

fn parse_index(text: &str) -> Option<u64> {
    let mut groups = text.split('/').peekable();
    let (mut index, mut first) = (0_u64, true);
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let digits = if last { group } else { group.strip_prefix('x')? };
        // A first group of zeros would give one index two paths.
        if digits.len() != 3
            || !digits.bytes().all(|digit| digit.is_ascii_digit())
            || (first && !last && digits == "000")
        {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        first = false;
    }
    Some(index)
}

impl Tile {
    /// Tile `index` of `level` in a log of `size` leaves, as wide as it is there; `None` where it has no hash.
    pub fn at(size: u64, level: u8, index: u64) -> Option<Tile> {
        let before = index.checked_mul(u64::from(FULL))?;
        let left = hashes_on(size, level).checked_sub(before).filter(|left| *left > 0)?;
        let width = u16::try_from(left).map_or(FULL, |left| left.min(FULL));
        Some(Tile { level, index, width })
    }
}

/// How many hashes a log of `size` leaves has on `level`.
pub(super) fn hashes_on(size: u64, level: u8) -> u64 {
    size.checked_shr(BITS * u32::from(level)).unwrap_or(0)
}

/// The tiles that become full while a log grows from `old` to `new` leaves, lowest level first.
pub fn full_tiles(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    (0..MAX_LEVEL).flat_map(move |level| {
        let range = hashes_on(old, level + 1)..hashes_on(new, level + 1);
        range.map(move |index| Tile { level, index, width: FULL })
    })
}

/// The tiles at the right edge of a log of `size` leaves that are not full, lowest level first.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..MAX_LEVEL).filter_map(move |level| {
        let index = hashes_on(size, level + 1);
        Tile::at(size, level, index)
    })
}

/// The hashes in a tile's bytes; `None` when they are not as many as `width`.
pub fn parse_hashes(bytes: &[u8], width: u16) -> Option<Vec<[u8; 32]>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    (rest.is_empty() && hashes.len() == usize::from(width)).then(|| hashes.to_vec())
}

/// Why bytes are no bundle.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntriesError {
    /// It ends within an entry.
    #[error("the bundle ends within entry {0}")]
    Truncated(u16),
    /// Something follows the last entry.
    #[error("something follows the last of the bundle's {0} entries")]
    Trailing(u16),
    /// An entry's length does not fit in two bytes.
    #[error("an entry of {0} bytes: at most 65535 are allowed")]
    TooLong(usize),
}

/// Appends an entry to a bundle: its length as two bytes, big endian, then the entry.
pub fn write_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntriesError> {
    let length = u16::try_from(entry.len()).map_err(|_| EntriesError::TooLong(entry.len()))?;
    bundle.extend(length.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// The `width` entries of a bundle.
pub fn entries(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, EntriesError> {
    let (mut entries, mut rest) = (Vec::new(), bundle);
    for at in 0..width {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(EntriesError::Truncated(at))?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(EntriesError::Truncated(at))?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(EntriesError::Trailing(width)) }
}
