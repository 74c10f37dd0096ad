//! Sets of indexes as text, like batch/v1 Job's `completedIndexes`: `0-57,60`. Reading and printing are bounded, because
//! the text lives in an object whose size is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Longest text that is read or printed, in bytes.
pub const MAX_TEXT: usize = 32 * 1024;

/// A set of `u32`, kept as disjoint ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSet {
    /// First of each range to its last, both within.
    ranges: BTreeMap<u32, u32>,
}

/// Why text is no index set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IndexError {
    /// Longer than [`MAX_TEXT`].
    #[error("an index set of {have} bytes was read, at most {MAX_TEXT} are allowed")]
    TooLong {
        /// Its length in bytes.
        have: usize,
    },
    /// Not numbers and ranges, ascending, without overlap.
    #[error("an index set must be ascending numbers and ranges like 0-57,60; {at:?} is not")]
    Malformed {
        /// The part in question.
        at: String,
    },
}

impl IndexSet {
    /// Adds an index; `false` if it was there.
    pub fn insert(&mut self, index: u32) -> bool {
        let before = self.ranges.range(..=index).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= index) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last + 1 == index => first,
            _ => index,
        };
        // `index` is not the largest u32 where something follows it.
        let after = index.checked_add(1).and_then(|next| self.ranges.remove(&next));
        self.ranges.insert(first, after.unwrap_or(index));
        true
    }

    /// Whether the index is there.
    pub fn contains(&self, index: u32) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, last)| *last >= index)
    }

    /// How many indexes there are.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// All indexes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The text, cut before the first range with which it would pass `max` bytes; and whether nothing was cut. What is
    /// left out counts as not known to the reader, who finds it in the ledger.
    pub fn to_text(&self, max: usize) -> (String, bool) {
        let mut text = String::new();
        for (first, last) in &self.ranges {
            let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
            if text.len() + range.len() + 1 > max {
                return (text, false);
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&range);
        }
        (text, true)
    }
}

impl FromIterator<u32> for IndexSet {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        let mut set = IndexSet::default();
        for index in indexes {
            set.insert(index);
        }
        set
    }
}

impl fmt::Display for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(MAX_TEXT).0)
    }
}

impl FromStr for IndexSet {
    type Err = IndexError;

    fn from_str(text: &str) -> Result<Self, IndexError> {
        if text.len() > MAX_TEXT {
            return Err(IndexError::TooLong { have: text.len() });
        }
        let mut set = IndexSet::default();
        let mut next = Some(0);
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let malformed = || IndexError::Malformed { at: part.to_owned() };
            let number = |text: &str| {
                let good = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
                good.then(|| text.parse::<u32>().ok()).flatten().ok_or_else(malformed)
            };
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            // Ranges that touch are two words for one set: refused, so that each set has one text.
            if first > last || next.is_none_or(|next| first < next) {
                return Err(malformed());
            }
            set.ranges.insert(first, last);
            next = last.checked_add(2);
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(indexes: &[u32], text: &str) {
        let set: IndexSet = indexes.iter().copied().collect();
        assert_eq!(set.to_string(), text);
        assert_eq!(text.parse(), Ok(set));
    }

    #[test]
    fn text_is_ranges_and_numbers() {
        check(&[], "");
        check(&[7], "7");
        check(&[60, 1, 0, 2, 59, 4], "0-2,4,59-60");
        check(&[u32::MAX, u32::MAX - 1], "4294967294-4294967295");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [",", "1,", "2-1", "1,1", "1-2,3", "3,1", "a", "+1", "-1", "1-", "4294967296", " 1", "1-2-3"] {
            assert!(text.parse::<IndexSet>().is_err(), "{text}");
        }
        let long = "1".repeat(MAX_TEXT + 1);
        assert_eq!(long.parse::<IndexSet>(), Err(IndexError::TooLong { have: MAX_TEXT + 1 }));
    }

    #[test]
    fn a_cut_text_is_a_prefix_of_the_set() {
        let set: IndexSet = (0..1000).map(|x| x * 2).collect();
        let (text, whole) = set.to_text(20);
        assert_eq!((text.as_str(), whole), ("0,2,4,6,8,10,12,14", false));
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(indexes in proptest::collection::vec(0_u32..300, 0..300)) {
            let mut set = IndexSet::default();
            let mut model = BTreeSet::new();
            for index in &indexes {
                prop_assert_eq!(set.insert(*index), model.insert(*index));
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert!((0..300).all(|index| set.contains(index) == model.contains(&index)));
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }
    }
}
