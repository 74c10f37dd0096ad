//! What a kernel's text may not contain, decided on the text alone: floating point (its bits depend on the device) other than through
//! [`header::NAMES`], and what the platform does not offer or cannot judge. Every refusal names what, and the line.
//!
//! It reads tokens as a compiler does (comments, continued lines, preprocessor lines) but expands no macro. So whatever could
//! make a token that is not in the text is refused too: pasting, trigraphs, includes, the compiler's own names. It says no
//! more than the text shows: a kernel may still race or loop; the preflight and the executor deal with that.

mod attributes;
mod directives;
mod floats;
mod lex;
mod names;
mod scan;

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::dtype::DType;
use orion_protocol::scalar::parse_scalar;
use orion_protocol::task::KernelWorkload;
use orion_protocol::{Reason, Refusal};

use crate::builtin::header;
use lex::{Kind, LexError, Spliced, Token};
use scan::Scan;

/// Tokens of a define up to its value: `#define NAME`.
const NAMED: usize = 3;

/// What a kernel uses of the exact floats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floats {
    /// Those of [`header::NAMES`] that are in its text.
    pub names: BTreeSet<&'static str>,
    /// The bits of its defines that are floating-point literals.
    pub constants: BTreeMap<String, u32>,
}

/// Checks the kernel's source and its defines, and tells what floats it uses.
pub fn check(kernel: &KernelWorkload) -> Result<Floats, Refusal> {
    let defines = kernel.defines.iter().map(|(name, value)| Spliced::new(&format!("#define {name} {value}")));
    let defines = defines.collect::<Vec<_>>();
    let mut texts = Vec::new();
    for ((name, _), text) in kernel.defines.iter().zip(&defines) {
        texts.push(Text::read(Place::Define(name), text)?);
    }
    let source = Spliced::new(&kernel.source);
    texts.push(Text::read(Place::Source, &source)?);
    let macros = texts.iter().flat_map(|text| directives::defined(&text.tokens)).collect();
    let scan = Scan { macros, has_local_size: kernel.local_size.is_some() };
    let tokens = || texts.iter().flat_map(|text| &text.tokens);
    let mut floats = Floats { names: tokens().filter_map(public).collect(), constants: BTreeMap::new() };
    for text in &texts {
        match text.constant().filter(|_| !floats.names.is_empty()) {
            Some((name, value)) => {
                let checked = scan.check(&text.tokens[..NAMED]).and_then(|()| constant(&value));
                floats.constants.insert(name.to_owned(), checked.map_err(|found| found.refusal(text.place))?);
            }
            None => scan.check(&text.tokens).map_err(|found| found.refusal(text.place))?,
        }
    }
    match tokens().find(|token| public(token).is_some()) {
        // Whoever reads the text as it is must find the name too: the task names the kernel set by that.
        Some(token) if !kernel.names_functions() => {
            let what = "a name that begins with orion_ is broken over two lines: write it on one";
            Err(Found::unsupported(token.line, what).refusal(Place::Source))
        }
        _ => Ok(floats),
    }
}

/// The public name that a token is.
fn public(token: &Token<'_>) -> Option<&'static str> {
    header::NAMES.binary_search(&token.text).ok().map(|at| header::NAMES[at])
}

/// The bits of a floating-point literal, rounded once and by ourselves: compilers may take the float beside the nearest.
fn constant(literal: &str) -> Result<u32, Found> {
    let has_suffix = literal.ends_with(['f', 'F']);
    let number = if has_suffix { &literal[..literal.len() - 1] } else { literal };
    match parse_scalar(DType::Float32, number) {
        // A 32-bit float's bits are in the lower half.
        Ok(bits) => Ok(u32::try_from(bits).unwrap_or_default()),
        Err(error) => Err(Found { reason: Reason::InvalidSpec, line: 1, what: error.to_string() }),
    }
}

/// Tokens, and where they come from.
struct Text<'a> {
    place: Place<'a>,
    tokens: Vec<Token<'a>>,
}

/// Where a text comes from.
#[derive(Clone, Copy)]
enum Place<'a> {
    Source,
    Define(&'a str),
}

impl<'a> Text<'a> {
    fn read(place: Place<'a>, spliced: &'a Result<Spliced, LexError>) -> Result<Text<'a>, Refusal> {
        let tokens = spliced.as_ref().map_err(Clone::clone).and_then(Spliced::tokens);
        match tokens {
            Ok(tokens) => Ok(Text { place, tokens }),
            Err(LexError { line, what }) => Err(Found::unsupported(line, what).refusal(place)),
        }
    }

    /// Name and value, where this is a define that is one floating-point literal.
    fn constant(&self) -> Option<(&'a str, String)> {
        let Place::Define(name) = self.place else { return None };
        let (sign, number) = match self.tokens.get(NAMED..)? {
            [number] => ("", number),
            [sign, number] if sign.text == "-" => ("-", number),
            _ => return None,
        };
        let is_literal = number.kind == Kind::Number && floats::literal(number.text);
        is_literal.then(|| (name, format!("{sign}{}", number.text)))
    }
}

/// Something that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    reason: Reason,
    line: u32,
    what: String,
}

impl Found {
    fn unsupported(line: u32, what: impl Into<String>) -> Found {
        Found { reason: Reason::UnsupportedKernel, line, what: what.into() }
    }

    /// `instead` is what to write.
    fn not_exact(line: u32, what: &str, instead: &str) -> Found {
        let what = format!("{what}, whose results depend on the device: {instead} (docs/exact-floats.md)");
        Found { reason: Reason::NotExact, line, what }
    }

    fn refusal(&self, place: Place<'_>) -> Refusal {
        let what = &self.what;
        let message = match place {
            Place::Source => format!("kernel source, line {}: {what}", self.line),
            Place::Define(name) => format!("defines[{name}]: {what}"),
        };
        Refusal::new(self.reason, message)
    }
}
