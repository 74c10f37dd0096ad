//! Kernels that get past the scan of their text, as if somebody had found a way around it: what follows a mark in a comment is uncovered by
//! `orion-naive-executor` when the scan is over. The executor that is shipped compiles the comment as a comment, so nothing in it could be
//! switched off by accident.

/// Begins a line that only `orion-naive-executor` compiles.
const MARK: &str = "//ORION_TEST_UNSCANNED ";

/// Text that no scan sees.
pub fn hide(text: &str) -> String {
    text.lines().map(|line| [MARK, line, "\n"].concat()).collect()
}

/// The text of a kernel with all that was hidden.
pub fn uncover(source: &str) -> String {
    source.replace(MARK, "")
}
