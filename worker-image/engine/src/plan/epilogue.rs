//! What is done to each result of a contraction before it is stored, as text for its kernel.

use std::fmt::Write as _;

use super::View;
use super::map::{self, Tree};
use crate::program::Slot;
use crate::tensor::Kind;

/// Macros for the kernel, and what they read.
pub(super) struct Epilogue {
    pub defines: String,
    pub operands: Vec<View>,
}

impl Default for Epilogue {
    /// Nothing.
    fn default() -> Epilogue {
        let defines = "#define OPERANDS 0\n#define PARAMETERS\n#define SETUP\n#define WIDE vstore16(x0, 0, at);\n\
                       #define NARROW at[lane] = x0;\n";
        Epilogue { defines: defines.to_owned(), operands: Vec::new() }
    }
}

impl Epilogue {
    /// `leaves` are the contraction's own result, then those of `operands`.
    pub fn new(tree: &Tree, leaves: &[Slot], operands: Vec<View>, column: usize) -> Epilogue {
        let (mut parameters, mut setup, mut wide, mut narrow) =
            (String::new(), String::new(), String::new(), String::new());
        for (at, view) in operands.iter().enumerate() {
            let name = at + 1;
            let next = view.strides[column] == 1 && view.shape[column] != 1;
            // Writing to a String cannot fail.
            let _ = write!(parameters, "__global const float *restrict p{name}, ");
            let column = if next { " + column" } else { "" };
            let _ = write!(setup, "__global const float *q{name} = p{name} + batch[{}]{column}; ", 3 + at);
            let row = format!("q{name} + PLACE(steps[{}], steps[{}])", 2 * at, 2 * at + 1);
            let (sixteen, one) = if next {
                (format!("vload16(0, {row} + j)"), format!("({row} + j)[lane]"))
            } else {
                (format!("(float16)(*({row}))"), format!("*({row})"))
            };
            let _ = write!(wide, "const float16 x{name} = {sixteen}; ");
            let _ = write!(narrow, "const float x{name} = {one}; ");
        }
        let kinds = vec![Kind::F32; leaves.len()];
        let (statements_wide, result_wide) = map::statements(tree, leaves, &kinds, true);
        let (statements_narrow, result_narrow) = map::statements(tree, leaves, &kinds, false);
        let one_line = |text: String| text.replace('\n', " ");
        let defines = format!(
            "#define OPERANDS {}\n#define PARAMETERS {parameters}\n#define SETUP {setup}\n\
             #define WIDE {wide}{} vstore16({result_wide}, 0, at);\n\
             #define NARROW {narrow}{} at[lane] = {result_narrow};\n",
            operands.len(),
            one_line(statements_wide),
            one_line(statements_narrow),
        );
        Epilogue { defines, operands }
    }
}
