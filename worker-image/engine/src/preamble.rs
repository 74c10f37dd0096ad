//! What stands before a user's kernel, so that a unit enqueued alone sees the whole launch: `get_global_size`,
//! `get_global_offset`, `get_num_groups` and `get_group_id` answer for all items, in helper functions too. It adds no
//! argument, so one build serves all units; the user's own line numbers are kept. Before all that stand the exact floats that the kernel uses.

use std::fmt::Write as _;

use orion_protocol::task::KernelWorkload;

use crate::builtin::header;
use crate::text::Floats;

/// The program's text: floats and wrappers, the job's defines, the user's source from line 1 on.
pub(crate) fn program(kernel: &KernelWorkload, floats: &Floats) -> String {
    let items = kernel.global_size.last().copied().unwrap_or(1);
    let item_dimension = kernel.global_size.len().saturating_sub(1);
    // Macros without parameters, so that a function's name means the wrapper however it is called.
    let mut names = floats.names.clone();
    if !floats.constants.is_empty() {
        names.insert(header::FROM_BITS);
    }
    let mut text = header::text(&names);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "size_t orion_global_size(uint d) {{ return d == {item_dimension}u ? (size_t){items}ul : get_global_size(d); }}\n\
         size_t orion_global_offset(uint d) {{ (void)d; return 0; }}\n\
         size_t orion_num_groups(uint d) {{ return d == {item_dimension}u ? (size_t){items}ul / get_local_size(d) : get_num_groups(d); }}\n\
         size_t orion_group_id(uint d) {{ return get_group_id(d) + (d == {item_dimension}u ? get_global_offset(d) / get_local_size(d) : 0); }}\n\
         #define get_global_size orion_global_size\n\
         #define get_global_offset orion_global_offset\n\
         #define get_num_groups orion_num_groups\n\
         #define get_group_id orion_group_id\n"
    );
    for (name, value) in &kernel.defines {
        let _ = match floats.constants.get(name) {
            Some(bits) => writeln!(text, "#define {name} {}(0x{bits:08x}u)", header::FROM_BITS),
            None => writeln!(text, "#define {name} {value}"),
        };
    }
    text.push_str("#line 1 \"kernel.cl\"\n");
    text.push_str(&kernel.source);
    text.push('\n');
    text
}
