//! Texts of kernels put together: of all definitions that we have, those that an entry point uses, and nothing else, for compiling takes longer
//! than anything else that happens at a model's start. It knows as much of C as our own texts need: definitions stand apart by blank lines.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::math;

pub mod header;

/// No contraction; functions of vectors are never called, for that goes through memory, and nothing is said about how it would.
const PRAGMA: &str = "#pragma OPENCL FP_CONTRACT OFF\n#pragma clang diagnostic ignored \"-Wpsabi\"\n\
                      #define INLINE __attribute__((always_inline))\n";
const ELEMENTS: &str = include_str!("elements.cl");
/// Whether any of sixteen integers is not 0; the language's own `any` is a call.
const ANY: &str = "INLINE int orion_any16(int16 x)
{
    const int8 a = x.lo | x.hi;
    const int4 b = a.lo | a.hi;
    return b.x | b.y | b.z | b.w;
}
";

/// Definitions, and the names by which others use them.
struct Block {
    names: Vec<String>,
    text: String,
}

/// What every kernel may use: our own functions of one float and of sixteen, and what integers mean.
static SHARED: LazyLock<Vec<Block>> = LazyLock::new(|| {
    let constants = math::constants().into_iter().map(|(name, value)| {
        let text = format!("#define {name} {value}");
        Block { names: vec![name], text }
    });
    let mut blocks: Vec<Block> = constants.collect();
    blocks.extend(split(ANY));
    for (width, any) in [("", ""), ("16", "orion_any16")] {
        let words = [
            ("F", format!("float{width}")),
            ("I", format!("int{width}")),
            ("K", format!("K{width}")),
            ("KI", format!("KI{width}")),
            ("AS_F", format!("as_float{width}")),
            ("AS_I", format!("as_int{width}")),
            ("ANY", any.to_owned()),
        ];
        blocks.extend(split(&instance(math::BOTH, &words, width)));
    }
    blocks.extend(split(math::SINGLE));
    for (name, unsigned) in [("int", "uint"), ("long", "ulong")] {
        let words = [("T", name.to_owned()), ("U", unsigned.to_owned())];
        blocks.extend(split(&instance(ELEMENTS, &words, &format!("_{name}"))));
    }
    blocks
});

/// `text` with what it uses of our own functions before it.
pub fn complete(text: &str) -> String {
    let mut whole = PRAGMA.to_owned();
    for block in needed(&SHARED, text) {
        whole.push_str(&block.text);
        whole.push('\n');
    }
    whole.push_str(text);
    whole
}

/// One kernel of a file of several, with what it uses and with `defines` before everything.
pub fn alone(file: &str, entry: &str, defines: &str) -> String {
    let blocks = split(file);
    let mut text = String::new();
    for block in needed(&blocks, entry) {
        text.push_str(&block.text);
        text.push('\n');
    }
    complete(&format!("{defines}{text}"))
}

/// The blocks that a text uses, and those that they use, in their order.
fn needed<'b>(blocks: &'b [Block], text: &'b str) -> Vec<&'b Block> {
    let mut used: BTreeSet<&str> = words(text).collect();
    let mut chosen = vec![false; blocks.len()];
    let is_used = |block: &Block, used: &BTreeSet<&str>| block.names.iter().any(|name| used.contains(name.as_str()));
    while let Some(at) = (0..blocks.len()).find(|at| !chosen[*at] && is_used(&blocks[*at], &used)) {
        chosen[at] = true;
        used.extend(words(&blocks[at].text));
    }
    blocks.iter().zip(chosen).filter_map(|(block, chosen)| chosen.then_some(block)).collect()
}

/// A file's definitions. What defines no name, as a comment on the whole file, is left out.
fn split(file: &str) -> Vec<Block> {
    let blocks = file.split("\n\n").map(|text| Block { names: names(text), text: text.to_owned() });
    blocks.filter(|block| !block.names.is_empty()).collect()
}

/// What a block defines: macros, functions, tables. Only its lines that begin at the margin say.
fn names(block: &str) -> Vec<String> {
    let name = |line: &str| {
        if let Some(rest) = line.strip_prefix("#define ") {
            return words(rest).next().map(str::to_owned);
        }
        let before = line.split(['(', '[']).next().filter(|before| before.len() < line.len())?;
        let begins = line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        begins.then(|| words(before).last()).flatten().map(str::to_owned)
    };
    block.lines().filter_map(name).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// A text that stands for several: some words replaced, `N(name)` become `orion_name` with a suffix.
fn instance(text: &str, words: &[(&str, String)], suffix: &str) -> String {
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, (name, after))) =
        rest.split_once("N(").and_then(|(before, rest)| Some((before, rest.split_once(')')?)))
    {
        named.extend([before, "orion_", name, suffix]);
        rest = after;
    }
    named.push_str(rest);
    replaced(&named, |word| words.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to.as_str()).to_owned())
}

/// A text with other words.
fn replaced(text: &str, other: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(length.max(first.len_utf8()));
        out.push_str(&other(word));
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gets_what_it_uses_and_nothing_else() {
        let text = complete("float f(float x) { return orion_rsqrt(x); }");
        for present in ["orion_rsqrt(float x)", "orion_sqrt(float x)", "orion_div(float x", "#define K("] {
            assert!(text.contains(present), "{present} is missing in\n{text}");
        }
        for absent in ["orion_exp", "float16", "ORION_EXP", "orion_quotient_int", "N("] {
            assert!(!text.contains(absent), "{absent} is in\n{text}");
        }
    }

    #[test]
    fn one_kernel_of_several_stands_alone() {
        let file =
            "#define A 1\n\nfloat g(void) { return A; }\n\nITEM one(int x)\n{\n    g();\n}\n\nITEM two(int x)\n{\n}\n";
        let text = alone(file, "one", "#define D 2\n");
        assert!(text.contains("#define A") && text.contains("#define D") && text.contains("g();"), "{text}");
        assert!(!text.contains("two"), "{text}");
    }
}
