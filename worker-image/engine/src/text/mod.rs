//! What a kernel's text may not contain, decided on the text alone: floating point (its bits depend on the device), and what
//! the platform does not offer or cannot judge. Every refusal names what, and the line.
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

use orion_protocol::task::KernelWorkload;
use orion_protocol::{Reason, Refusal};

use lex::{LexError, Spliced, Token};
use scan::Scan;

/// Checks the kernel's source and its defines.
pub fn check(kernel: &KernelWorkload) -> Result<(), Refusal> {
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
    texts.iter().try_for_each(|text| scan.check(&text.tokens).map_err(|found| found.refusal(text.place)))
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

    fn not_exact(line: u32, what: impl Into<String>) -> Found {
        let what = what.into();
        let what =
            format!("{what}: floating-point results depend on the device, only integers can be compared bit by bit");
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
