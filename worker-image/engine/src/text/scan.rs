//! The walk over a kernel's tokens.

use std::collections::BTreeSet;

use super::lex::{Kind, Token};
use super::names::{FLOAT_FUNCTIONS, NEEDS_LOCAL_SIZE, UNDERSCORED, has};
use super::{Found, attributes, directives, floats};
use crate::builtin::header;

/// What to write instead of a floating-point type or constant.
const VALUES: &str = "use orion_float and the orion_* functions";
/// What to write instead of a literal.
const LITERALS: &str = "make it one of the job's defines, whose literals become orion_float, or use orion_from_bits";

/// What the walk must know about the whole kernel.
pub(super) struct Scan<'a> {
    /// Every macro that the source or the job defines.
    pub(super) macros: BTreeSet<&'a str>,
    /// Whether the job fixes the work-group size.
    pub(super) has_local_size: bool,
}

/// Where the walk is.
#[derive(Default)]
struct Nesting {
    braces: usize,
    parens: usize,
    /// Parentheses that are open around a macro's arguments, counted from the outermost such macro.
    macro_parens: usize,
}

impl Scan<'_> {
    /// Checks one text; the first thing that is refused is told.
    pub(super) fn check(&self, tokens: &[Token<'_>]) -> Result<(), Found> {
        for line in directives::lines(tokens) {
            directives::check(line)?;
            if !directives::is_message(line) && !directives::is_pragma(line) {
                self.directive(line)?;
            }
        }
        let code: Vec<&Token<'_>> = tokens.iter().filter(|token| !token.directive).collect();
        let mut nesting = Nesting::default();
        for at in 0..code.len() {
            self.token(&code[at..], &nesting)?;
            nesting.step(&code[at..], &self.macros);
        }
        Ok(())
    }

    /// Checks the names and numbers of a preprocessor line.
    fn directive(&self, line: &[Token<'_>]) -> Result<(), Found> {
        let line: Vec<&Token<'_>> = line.iter().collect();
        for (at, token) in line.iter().enumerate().skip(2) {
            self.word(&line[at..])?;
            if token.kind == Kind::Ident && has(FLOAT_FUNCTIONS, token.text) {
                let what = format!("`{}` in a preprocessor line may be the floating-point function", token.text);
                return Err(Found::not_exact(token.line, &what, &instead_of(token.text)));
            }
        }
        Ok(())
    }

    /// Checks `rest[0]`, a token outside of preprocessor lines.
    fn token(&self, rest: &[&Token<'_>], nesting: &Nesting) -> Result<(), Found> {
        self.word(rest)?;
        let token = rest[0];
        let unsupported = |what: &str| Err(Found::unsupported(token.line, what));
        match (token.kind, token.text) {
            (Kind::Text, _) => unsupported("text in quotes has no use in a kernel"),
            (Kind::Punct, "#" | "##") => unsupported("# outside of a preprocessor line"),
            (Kind::Ident, "constant" | "__constant") | (Kind::Punct, "=") if nesting.is_outside() => {
                unsupported("program-scope variables are refused: declare it within the kernel, or pass it as an input")
            }
            (Kind::Ident, name) if has(FLOAT_FUNCTIONS, name) && (self.is_called(rest) || nesting.macro_parens > 0) => {
                let what = format!("`{name}` is a floating-point function (give one of your own another name)");
                Err(Found::not_exact(token.line, &what, &instead_of(name)))
            }
            _ => Ok(()),
        }
    }

    /// Checks what is refused wherever it stands.
    fn word(&self, rest: &[&Token<'_>]) -> Result<(), Found> {
        let token = rest[0];
        let name = token.text;
        if token.kind == Kind::Number && floats::literal(name) {
            let what = format!("`{name}` is a floating-point literal");
            return Err(Found::not_exact(token.line, &what, LITERALS));
        }
        if token.kind != Kind::Ident {
            return Ok(());
        }
        if let Some(what) = floats::name(name) {
            return Err(Found::not_exact(token.line, &format!("`{name}` {what}"), VALUES));
        }
        if matches!(name, "__attribute__" | "__attribute") {
            return attributes::check(rest, &self.macros);
        }
        if !self.has_local_size && has(NEEDS_LOCAL_SIZE, name) {
            let what = format!("`{name}` needs a fixed work-group size: set localSize");
            return Err(Found::unsupported(token.line, what));
        }
        refused(name).map_or(Ok(()), |why| Err(Found::unsupported(token.line, format!("`{name}` is refused: {why}"))))
    }

    /// Whether the name at `rest[0]` is called, or could be once macros are expanded.
    fn is_called(&self, rest: &[&Token<'_>]) -> bool {
        let mut next = rest.iter().skip(1).map(|token| token.text).peekable();
        if next.peek().is_some_and(|text| self.macros.contains(text)) {
            return true;
        }
        // `(sqrt)(x)` is a call as well.
        next.find(|text| *text != ")" && !self.macros.contains(text)) == Some("(")
    }
}

impl Nesting {
    fn is_outside(&self) -> bool {
        self.braces == 0 && self.parens == 0
    }

    fn step(&mut self, rest: &[&Token<'_>], macros: &BTreeSet<&str>) {
        let opens_macro = rest.get(1).is_some_and(|next| next.text == "(") && macros.contains(rest[0].text);
        match rest[0].text {
            "{" => self.braces += 1,
            "}" => self.braces = self.braces.saturating_sub(1),
            "(" => {
                self.parens += 1;
                self.macro_parens += usize::from(self.macro_parens > 0);
            }
            ")" => {
                self.parens = self.parens.saturating_sub(1);
                self.macro_parens = self.macro_parens.saturating_sub(1);
            }
            _ => {}
        }
        // One more than the parentheses open: the macro's own is still to come, and counts itself.
        if opens_macro && self.macro_parens == 0 {
            self.macro_parens = 1;
        }
    }
}

/// What to write instead of one of the language's functions.
fn instead_of(function: &str) -> String {
    let same = match function {
        "fabs" => "orion_abs",
        "fmax" => "orion_max",
        "fmin" => "orion_min",
        "isequal" => "orion_eq",
        "isless" => "orion_lt",
        "islessequal" => "orion_le",
        "mad" => "orion_fma",
        name => name,
    };
    let ours =
        header::NAMES.into_iter().find(|ours| ours.trim_start_matches("orion_") == same.trim_start_matches("orion_"));
    ours.map_or_else(|| VALUES.to_owned(), |name| format!("use orion_float and {name}"))
}

/// Why a name is refused wherever it stands, if it is.
fn refused(name: &str) -> Option<&'static str> {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if matches!(name, "asm" | "__asm" | "__asm__") {
        return Some("inline assembly is no OpenCL C");
    }
    if name == "printf" {
        return Some("there is nobody to read what it prints");
    }
    let image = starts(&["image1d_", "image2d_", "image3d_", "read_image", "write_image", "get_image_"]);
    if image || matches!(name, "sampler_t" | "read_only" | "write_only" | "read_write") {
        return Some("images are not supported");
    }
    let version_2 = starts(&["work_group_", "get_enqueued_", "intel_", "amd_"]) || name.contains("sub_group");
    if version_2 || matches!(name, "get_global_linear_id" | "get_local_linear_id" | "pipe" | "enqueue_kernel") {
        return Some("it is not in OpenCL C 1.2");
    }
    if starts(&["orion_", "ORION_"]) && !has(&header::NAMES, name) {
        return Some("names that begin so are the platform's, and it offers none of this name (docs/exact-floats.md)");
    }
    let compilers = starts(&["__", "_cl_", "_pocl", "pocl_", "cl_"]) || is_underscore_capital(name);
    if compilers && !has(UNDERSCORED, name) && name != "cl_mem_fence_flags" {
        return Some("names that begin so are the compiler's, and differ between compilers");
    }
    None
}

fn is_underscore_capital(name: &str) -> bool {
    name.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}
