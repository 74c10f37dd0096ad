//! The preflight: units whose bits depend on anything but themselves are found, and honest kernels pass.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Kernel, bytes, device, noise};
use orion_protocol::Reason;
use orion_protocol::dtype::DType;
use orion_protocol::task::{Argument, Builtin};

/// The preflight refuses the kernel, with these words.
fn check_impure(kernel: &Kernel, words: &str) {
    let device = device();
    let refusal = kernel.job(&device).unwrap().preflight().unwrap_err();
    assert_eq!(refusal.reason, Reason::KernelNotUnitPure, "{refusal}");
    assert!(refusal.message.contains(words), "{words:?} is not in: {refusal}");
}

fn check_pure(kernel: &Kernel) {
    let device = device();
    let nanos = kernel.job(&device).unwrap().preflight().unwrap();
    assert!(nanos > 0);
}

fn kernel(body: &str) -> Kernel {
    Kernel::new(&format!("__kernel void run(__global uint *out) {{ const uint i = get_global_id(0); {body} }}"), 32)
        .unit(8)
        .output(DType::Uint32, &[])
}

#[test]
fn reading_rows_of_another_unit_is_found() {
    check_impure(&kernel("out[i] = i < 8 ? 1 : out[i - 8] + 1;"), "unit 3 gives other bits");
    // Two units: the last reads what the first has left.
    check_impure(&kernel("out[i] = out[i ^ 16] + i;").unit(16), "gives other bits");
    check_impure(&kernel("out[(i + 8) % 32] = 5; out[i] += out[31 - i];"), "output out0, item");
}

#[test]
fn writing_to_an_input_is_found() {
    let source = "__kernel void run(__global const uint *in, __global uint *out)
        { const uint i = get_global_id(0); out[i] = 7; ((__global uint *)in)[31 - i] = 0; }";
    let kernel =
        Kernel::new(source, 32).unit(8).input(DType::Uint32, &[32], &bytes(&noise(5, 32))).output(DType::Uint32, &[]);
    check_impure(&kernel, "writes to input 0");
}

#[test]
fn units_beyond_the_preflights_that_write_to_an_input_give_no_rows() {
    let source = "__kernel void run(__global const uint *in, __global uint *out)
        { const uint i = get_global_id(0); out[i] = in[0];
          if (i == 12) ((volatile __global uint *)in)[0] = 5; }";
    let kernel = Kernel::new(source, 32).unit(8).input(DType::Uint32, &[2], &bytes(&[3, 4])).output(DType::Uint32, &[]);
    check_pure(&kernel);
    let device = device();
    let mut job = kernel.job(&device).unwrap();
    let rows = bytes(&[3; 8]);
    assert_eq!(job.run(0, 1, |_| {}).unwrap(), std::slice::from_ref(&rows));
    for (first, count) in [(1, 1), (0, 4)] {
        let refusal = job.run(first, count, |_| {}).unwrap_err();
        assert_eq!(refusal.reason, Reason::KernelFault, "{refusal}");
        assert!(refusal.message.contains("wrote to input 0"), "{refusal}");
        // What comes after finds the inputs as they were.
        assert_eq!(job.run(2, 1, |_| {}).unwrap(), std::slice::from_ref(&rows));
    }
}

#[test]
fn counting_across_launches_is_found() {
    let source = "__kernel void run(__global const uint *in, __global uint *out)
        { const uint i = get_global_id(0); out[i] = ((volatile __global uint *)in)[0]++; }";
    let kernel = Kernel::new(source, 8).unit(8).input(DType::Uint32, &[1], &[0; 4]).output(DType::Uint32, &[]);
    check_impure(&kernel, "unit 0 gives other bits");
}

#[test]
fn honest_kernels_pass() {
    check_pure(&kernel("out[i] = i * get_global_size(0) + get_global_offset(0);"));
    check_pure(&kernel("out[i] = i;").unit(32));
    check_pure(&kernel("out[i] = i;").unit(7));
    check_pure(&kernel("out[i] += 3; out[(i + 8) % 32] = 9; out[i] = 3;"));
    let source = "__kernel void run(__global uint *out, ulong first, uint items)
        { const uint i = get_global_id(0); out[i] = (uint)first * 3 + items; }";
    let unit = |builtin| Argument::Builtin(builtin);
    let kernel = Kernel::new(source, 32).unit(5).output(DType::Uint32, &[]);
    check_pure(&kernel.argument(unit(Builtin::UnitFirst)).argument(unit(Builtin::UnitItems)));
}
