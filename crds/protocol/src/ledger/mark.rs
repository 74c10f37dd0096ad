//! What was signed last, as it is kept outside of the ledger's volume, and how the ledger and its keeper write it down:
//!
//! ```text
//! version 1234
//! size 57
//! root 64 hex digits
//! ```
//!
//! A mark under which nothing was signed yet has the first line only. Whoever moves it names the version that they saw, so
//! that of two who move it one is refused.

use crate::Digest;
use crate::bytes::{hex, unhex};

/// No text is longer, in bytes.
pub const MAX_MARK_BYTES: usize = 256;
/// No version is longer, in bytes.
const MAX_VERSION_BYTES: usize = 64;

/// A mark at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Says nothing but which moment: it is another one after each change.
    pub version: String,
    /// Size and root that were, or were about to be, signed last.
    pub signed: Option<(u64, Digest)>,
}

/// A text that is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mark cannot be read: expected lines of version, size and root")]
pub struct MarkTextError;

impl Marked {
    /// The text, in its only form.
    pub fn text(&self) -> String {
        let Marked { version, signed } = self;
        let signed = signed.map(|(size, root)| format!("size {size}\nroot {}\n", hex(&root.0)));
        format!("version {version}\n{}", signed.unwrap_or_default())
    }

    /// Reads a text.
    pub fn parse(text: &[u8]) -> Result<Marked, MarkTextError> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX_MARK_BYTES);
        let marked = text.and_then(|text| {
            let lines: Vec<&str> = text.lines().take(4).collect();
            let version = lines.first()?.strip_prefix("version ")?;
            let plain = version.bytes().all(|byte| byte.is_ascii_graphic());
            let bounded = !version.is_empty() && version.len() <= MAX_VERSION_BYTES;
            let signed = match lines[1..] {
                [] => None,
                [size, root] => {
                    let size = size.strip_prefix("size ")?.parse().ok()?;
                    Some((size, Digest(unhex(root.strip_prefix("root ")?).ok()?)))
                }
                _ => return None,
            };
            let marked = Marked { version: version.to_owned(), signed };
            (plain && bounded && marked.text() == text).then_some(marked)
        });
        marked.ok_or(MarkTextError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_one_text_and_any_other_is_refused() {
        let signed = Some((u64::MAX, Digest([0xab; 32])));
        for marked in [Marked { version: "1".into(), signed: None }, Marked { version: "x/9".into(), signed }] {
            let text = marked.text();
            assert_eq!(Marked::parse(text.as_bytes()), Ok(marked));
            for at in 0..text.len() {
                assert!(
                    Marked::parse(&text.as_bytes()[..at]).is_err_and(|MarkTextError| true)
                        || text[at..].starts_with("size")
                );
            }
        }
        let root = "00".repeat(32);
        let bad = [
            String::new(),
            "version \n".into(),
            "version a b\n".into(),
            format!("version {}\n", "a".repeat(65)),
            "version 1\nsize 1\n".into(),
            format!("version 1\nsize 01\nroot {root}\n"),
            format!("version 1\nsize 18446744073709551616\nroot {root}\n"),
            format!("version 1\nsize 1\nroot {root}0\n"),
            format!("version 1\nsize 1\nroot {root}\nmore\n"),
            format!("version 1\r\nsize 1\r\nroot {root}\r\n"),
            format!("size 1\nroot {root}\n"),
        ];
        for text in bad {
            assert_eq!(Marked::parse(text.as_bytes()), Err(MarkTextError), "{text:?}");
        }
    }
}
