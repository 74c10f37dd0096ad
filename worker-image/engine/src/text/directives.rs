//! Preprocessor lines: which are allowed, and which names they define.

use super::Found;
use super::lex::{Kind, Token};
use super::names::{WORK_ITEM_FUNCTIONS, has};
use crate::builtin::header;

/// What may follow `#`.
const ALLOWED: [&str; 12] =
    ["define", "elif", "else", "endif", "error", "if", "ifdef", "ifndef", "line", "pragma", "undef", "warning"];

/// Pragmas that change no bit, word by word; `*` is any one word.
const PRAGMAS: [&[&str]; 5] = [
    &["unroll"],
    &["unroll", "*"],
    &["OPENCL", "FP_CONTRACT", "OFF"],
    &["OPENCL", "EXTENSION", "cl_khr_byte_addressable_store", ":", "enable"],
    &["OPENCL", "EXTENSION", "cl_khr_global_int32_base_atomics", ":", "enable"],
];

/// The names of all macros that the text defines.
pub(super) fn defined<'a>(tokens: &[Token<'a>]) -> impl Iterator<Item = &'a str> {
    let defined = |line: &[Token<'a>]| match line {
        [_, define, name, ..] if define.text == "define" => Some(name.text),
        _ => None,
    };
    lines(tokens).into_iter().filter_map(defined)
}

/// The preprocessor lines, each with its `#`.
pub(super) fn lines<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let starts = tokens.iter().enumerate().filter(|(_, token)| token.first && token.directive);
    let line = |(start, _): (usize, &Token<'a>)| {
        let rest = &tokens[start + 1..];
        let length = rest.iter().position(|token| token.first).unwrap_or(rest.len());
        &tokens[start..=start + length]
    };
    starts.map(line).collect()
}

/// Whether the rest of the line is free text for people.
pub(super) fn is_message(line: &[Token<'_>]) -> bool {
    line.get(1).is_some_and(|name| matches!(name.text, "error" | "warning"))
}

/// Whether the line is a pragma, whose words are no code.
pub(super) fn is_pragma(line: &[Token<'_>]) -> bool {
    line.get(1).is_some_and(|name| name.text == "pragma")
}

/// Checks one preprocessor line, apart from the names in it.
pub(super) fn check(line: &[Token<'_>]) -> Result<(), Found> {
    let Some(name) = line.get(1) else { return Ok(()) };
    let found = |what: String| Err(Found::unsupported(name.line, what));
    if line[0].text != "#" || !ALLOWED.contains(&name.text) {
        return found(format!("#{} is refused: a kernel is judged by its own text, and must be whole", name.text));
    }
    let words: Vec<&str> = line[2..].iter().map(|token| token.text).collect();
    if is_pragma(line) {
        let fits = |pragma: &&[&str]| {
            let same = |(word, want): (&&str, &&str)| *want == "*" || word == want;
            pragma.len() == words.len() && words.iter().zip(pragma.iter()).all(same)
        };
        if !PRAGMAS.iter().any(fits) {
            return found(format!(
                "#pragma {} is refused: only unroll and FP_CONTRACT OFF are known harmless",
                words.join(" ")
            ));
        }
        return Ok(());
    }
    if matches!(name.text, "define" | "undef") {
        if let Some(target) = line.get(2)
            && (has(WORK_ITEM_FUNCTIONS, target.text) || has(&header::NAMES, target.text) || target.text == "defined")
        {
            return found(format!("#{} {} is refused: the name has its meaning", name.text, target.text));
        }
        if let Some(token) = line[2..].iter().find(|token| token.text.starts_with('#')) {
            let what = format!("{} in a macro is refused: it makes tokens that the text does not show", token.text);
            return Err(Found::unsupported(token.line, what));
        }
        if let Some(token) = line[2..].iter().find(|token| matches!(token.text, "constant" | "__constant")) {
            let what = format!("{} in a macro is refused: it could hide a program-scope variable", token.text);
            return Err(Found::unsupported(token.line, what));
        }
    }
    match line[2..].iter().find(|token| token.kind == Kind::Text) {
        Some(token) if !is_message(line) => {
            Err(Found::unsupported(token.line, "text in quotes has no use in a kernel"))
        }
        _ => Ok(()),
    }
}
