//! `__attribute__((...))`: a few are harmless, the others can change types or run code.

use std::collections::BTreeSet;

use super::Found;
use super::lex::Token;
use super::names::{ATTRIBUTES, has};

/// Checks the attribute list whose keyword is `tokens[0]`.
pub(super) fn check(tokens: &[&Token<'_>], macros: &BTreeSet<&str>) -> Result<(), Found> {
    let line = tokens.first().map_or(1, |token| token.line);
    let mut rest = tokens.iter().skip(1).map(|token| token.text);
    let unreadable = || Found::unsupported(line, "an __attribute__ that is not written as __attribute__((name, ...))");
    if rest.next() != Some("(") || rest.next() != Some("(") {
        return Err(unreadable());
    }
    loop {
        let name = rest.next().ok_or_else(unreadable)?;
        if !has(ATTRIBUTES, name) || macros.contains(name) {
            let what = format!("__attribute__(({name})) is refused: allowed are {}", ATTRIBUTES.join(", "));
            return Err(Found::unsupported(line, what));
        }
        let mut next = rest.next();
        if next == Some("(") {
            let mut depth = 1;
            while depth > 0 {
                depth = match rest.next().ok_or_else(unreadable)? {
                    "(" => depth + 1,
                    ")" => depth - 1,
                    _ => depth,
                };
            }
            next = rest.next();
        }
        match next {
            Some(",") => {}
            Some(")") if rest.next() == Some(")") => return Ok(()),
            _ => return Err(unreadable()),
        }
    }
}
