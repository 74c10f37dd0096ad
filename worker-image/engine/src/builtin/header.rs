//! What a user's kernel may compute with on floats, and still be exact: a type that no operator of the language takes, and the functions that do.
//!
//! The compiler enforces it: the type is a struct, whose field has a name that [`crate::text`] refuses. So no float is ever seen outside of these
//! functions, whose bits are the kernel set's. Every other name that stands here begins with `orion_` or `ORION_`, which is refused as well.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::{Block, SHARED, needed, replaced, split};

/// What kernels may use, sorted: API, which a kernel set never takes back.
pub const NAMES: [&str; 30] = [
    "orion_abs",
    "orion_add",
    "orion_bits",
    "orion_cos",
    "orion_div",
    "orion_eq",
    "orion_erf",
    "orion_exp",
    TYPE,
    "orion_fma",
    FROM_BITS,
    "orion_from_int",
    "orion_from_uint",
    "orion_gelu",
    "orion_isnan",
    "orion_le",
    "orion_log",
    "orion_lt",
    "orion_max",
    "orion_min",
    "orion_mul",
    "orion_neg",
    "orion_pow",
    "orion_rsqrt",
    "orion_sigmoid",
    "orion_sin",
    "orion_sqrt",
    "orion_sub",
    "orion_tanh",
    "orion_to_int",
];
/// The type: 32 bits, aligned as such.
pub const TYPE: &str = "orion_float";
/// The function that makes a value of its bits.
pub(crate) const FROM_BITS: &str = "orion_from_bits";
const HEADER: &str = include_str!("header.cl");
const BEGIN: &str = "#pragma OPENCL FP_CONTRACT OFF\n#define ORION_INLINE __attribute__((always_inline))\n\
                     typedef struct orion_float { uint orion_word; } orion_float;\n";

/// The engine's own functions under names that kernels cannot use, then those that they can.
static BLOCKS: LazyLock<Vec<Block>> = LazyLock::new(|| {
    let own = SHARED.iter().map(|block| Block {
        names: block.names.iter().map(|name| hidden(name)).collect(),
        text: replaced(&block.text, hidden),
    });
    own.chain(split(HEADER)).collect()
});

/// The text that a kernel needs which uses these of [`NAMES`]; nothing where there is none.
pub(crate) fn text(used: &BTreeSet<&str>) -> String {
    if used.is_empty() {
        return String::new();
    }
    let mut text = BEGIN.to_owned();
    let words: Vec<&str> = used.iter().copied().collect();
    for block in needed(&BLOCKS, &words.join(" ")) {
        text.push_str(&block.text);
        text.push('\n');
    }
    text
}

/// What a name of ours is called where users' names are beside it.
fn hidden(word: &str) -> String {
    match word {
        "K" | "KI" | "K16" | "KI16" | "INLINE" => format!("ORION_{word}"),
        _ => word.strip_prefix("orion_").map_or_else(|| word.to_owned(), |name| format!("orion_raw_{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_defines_what_is_listed_and_nothing_that_a_kernel_may_name() {
        assert!(NAMES.is_sorted());
        let all: BTreeSet<&str> = NAMES.into_iter().collect();
        let defined: Vec<String> = split(HEADER).into_iter().flat_map(|block| block.names).collect();
        for name in NAMES {
            assert!(name == TYPE || defined.iter().any(|defined| defined == name), "{name} is listed, not defined");
        }
        for name in BLOCKS.iter().flat_map(|block| &block.names) {
            let ours = name.starts_with("orion_") || name.starts_with("ORION_");
            assert!(ours, "{name} would be seen by users' kernels");
            let helper = ["orion_raw", "orion_made"].iter().any(|begin| name.starts_with(begin));
            assert!(all.contains(name.as_str()) || helper || name.starts_with("ORION_"), "{name} is not listed");
        }
    }

    #[test]
    fn a_kernel_gets_what_it_uses_and_nothing_else() {
        assert_eq!(text(&BTreeSet::new()), "");
        let text = text(&BTreeSet::from(["orion_float", "orion_rsqrt"]));
        for present in ["orion_float orion_rsqrt(", "float orion_raw_rsqrt(", "float orion_raw_div(", "FP_CONTRACT OFF"]
        {
            assert!(text.contains(present), "{present} is missing in\n{text}");
        }
        for absent in ["orion_raw_exp", "orion_add", "float16", " K(", "N("] {
            assert!(!text.contains(absent), "{absent} is in\n{text}");
        }
    }
}
