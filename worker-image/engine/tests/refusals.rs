//! Every refusal of the kernel rules, with its reason and its words. Those about text need no device, but go through the same
//! door as a job does.

mod common;

use common::{Kernel, check_refused, device, npy};
use orion_engine::session::Library;
use orion_engine::{Job, text};
use orion_protocol::Reason;
use orion_protocol::dtype::DType;
use orion_protocol::task::{Argument, Builtin, Workload};

const PLAIN: &str = "__kernel void run(__global uint *out) { out[get_global_id(0)] = 1; }";

/// What the text check says to a kernel with this body.
fn text_refusal(source: &str, local: bool, defines: &[(&str, &str)]) -> Option<(Reason, String)> {
    let kernel = Kernel::new(source, 16);
    let kernel = if local { kernel.local(&[4]) } else { kernel };
    let kernel = defines.iter().fold(kernel, |kernel, (name, value)| kernel.define(name, value));
    let Workload::Kernel(kernel) = &kernel.load.workload else { panic!("it is a kernel") };
    text::check(kernel).err().map(|refusal| (refusal.reason, refusal.message))
}

fn check(source: &str, reason: Reason, words: &[&str]) {
    let (have, message) = text_refusal(source, true, &[]).unwrap_or_else(|| panic!("accepted: {source}"));
    assert_eq!(have, reason, "{source}: {message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}, for {source}");
    }
}

fn check_accepted(source: &str) {
    assert_eq!(text_refusal(source, true, &[]), None, "{source}");
}

#[test]
fn floating_point_is_not_exact_wherever_it_hides() {
    let not_exact = |source: &str, words: &[&str]| check(source, Reason::NotExact, words);
    not_exact("void f() {\n  float x = 1;\n}", &["line 2", "`float`", "use orion_float and the orion_* functions"]);
    not_exact("void f(double4 x) {}", &["`double4`"]);
    not_exact("void f() { int x = (int)(3 * 0.5); }", &["`0.5`", "literal", "defines", "orion_from_bits"]);
    not_exact("void f() { int x = 1e3; }", &["`1e3`"]);
    not_exact("void f() { int x = 0x1p3; }", &["`0x1p3`"]);
    not_exact("void f(uint x) { uint y = as_uint(as_float(x) * as_float(x)); }", &["`as_float`"]);
    not_exact("void f(uint x) { uint y = (uint)convert_float4_rtz((uint4)x).x; }", &["`convert_float4_rtz`"]);
    not_exact("void f() { int x = (int)M_PI_F; }", &["`M_PI_F`", "constant"]);
    not_exact("void f() { int x = FLT_MAX > 1; }", &["`FLT_MAX`"]);
    not_exact("void f() { int x = (int)sqrt(2); }", &["`sqrt`", "function", "orion_sqrt"]);
    not_exact("void f() { int x = (int)sqrt /* now */ (2); }", &["`sqrt`"]);
    not_exact("void f() { uint x = as_uint((nan)(7u)); }", &["`nan`"]);
    not_exact("void f() { int x = (int)native_recip(2); }", &["`native_recip`"]);
    not_exact("void f() { fl\\\noat x; }", &["line 1", "`float`"]);
    not_exact("#define T float\nvoid f() { T x; }", &["line 1", "`float`"]);
    not_exact("#define ROOT sqrt\nvoid f() { int x = ROOT(2); }", &["`sqrt`", "line 1"]);
    not_exact("#define CALL(f, x) f(x)\nvoid g() { int x = CALL(sqrt, 2); }", &["`sqrt`", "line 2"]);
    not_exact("#define NONE\nvoid g() { int x = sqrt NONE (2); }", &["`sqrt`", "line 2"]);
    not_exact("#define LEFT (\nvoid g() { int x = sqrt LEFT 2); }", &["`sqrt`"]);
    not_exact("#define NONE\nvoid g() { int x = (sqrt) NONE (2); }", &["`sqrt`"]);
    not_exact("#if 0\nfloat\n#endif", &["line 2", "`float`"]);
    not_exact("void f() { int x = sqrt\n#define NONE\n(2); }", &["`sqrt`"]);
    not_exact("typedef int (*p)(int); void f(atomic_float *x);", &["`atomic_float`"]);
}

#[test]
fn exact_floats_are_used_by_their_public_names_alone() {
    check_accepted(
        "orion_float f(orion_float x) { orion_float y[2] = {x, x}; return orion_lt(x, y[0]) ? x : orion_neg(y[1]); }",
    );
    check_accepted(
        "#define ADD orion_add\n#define TWICE(f, x) f(x, x)\norion_float f(orion_float x) { return TWICE(ADD, x); }",
    );
    check_accepted("uint f(orion_float x) { return *(uint *)&x; }");
    let unsupported = |source: &str, words: &[&str]| check(source, Reason::UnsupportedKernel, words);
    unsupported("uint f(orion_float x) {\nreturn x.orion_word; }", &["line 2", "`orion_word`", "platform's"]);
    unsupported("void f() { orion_float x = {.orion_word = 1}; }", &["`orion_word`"]);
    unsupported("orion_float f(orion_float x) { return orion_raw_exp(x); }", &["`orion_raw_exp`", "none of this name"]);
    unsupported("void f(orion_float x) { orion_made(x); }", &["`orion_made`"]);
    unsupported("void f() { orion_floor(1); }", &["`orion_floor`", "docs/exact-floats.md"]);
    unsupported("void f() { ORION_K(1); }", &["`ORION_K`"]);
    unsupported("#define orion_add(x, y) x", &["orion_add", "meaning"]);
    unsupported("#undef orion_float", &["orion_float", "meaning"]);
    unsupported("#pragma OPENCL FP_CONTRACT ON\nvoid f(orion_float x) {}", &["FP_CONTRACT ON", "harmless"]);
    unsupported("\nvoid f(ori\\\non_float x) {}", &["line 2", "broken over two lines"]);
    unsupported("uint f(uint x) { return amd_unpack0(x); }", &["`amd_unpack0`"]);
    let not_exact = |source: &str, words: &[&str]| check(source, Reason::NotExact, words);
    not_exact("void f(orion_float x) { float y = *(float *)&x; }", &["`float`", "orion_float"]);
    not_exact("void f(orion_float x) { orion_add(x, as_float(1)); }", &["`as_float`"]);
    not_exact("void f(orion_float x) { union { orion_float a; float b; } u; }", &["`float`"]);
    not_exact("void f(orion_float x) { typeof(sqrt(1)) y; }", &["`sqrt`", "use orion_float and orion_sqrt"]);
    not_exact("orion_float f(__global half *x) { return orion_from_int(vload_half(0, x)); }", &["`half`"]);
    not_exact("void f(orion_float x) { orion_mul(x, 0.5f); }", &["`0.5f`", "one of the job's defines"]);
    not_exact("#define HALF 0.5\nvoid f(orion_float x) {}", &["line 1", "`0.5`"]);
    not_exact("orion_float f(int x) { return orion_from_int(ldexp(x, 1)); }", &["`ldexp`"]);
}

#[test]
fn literals_in_defines_are_for_kernels_with_exact_floats() {
    let refused = |source, name, value| text_refusal(source, true, &[(name, value)]);
    let source = "void f(orion_float x) {}";
    for value in ["0.5", "-0x1.8p3", "1e-3f", "/* half */ .5"] {
        assert_eq!(refused(source, "X", value), None, "{value}");
        assert_eq!(refused("void f(int x) {}", "X", value).unwrap().0, Reason::NotExact, "{value}");
    }
    for (name, value, reason) in [
        ("X", "0.5 + 0.5", Reason::NotExact),
        ("X", "(0.5)", Reason::NotExact),
        ("X", "- -0.5", Reason::NotExact),
        ("X", "1e39", Reason::InvalidSpec),
        ("X", "0x1.0000001p0", Reason::InvalidSpec),
        ("orion_add", "0.5", Reason::UnsupportedKernel),
        ("get_global_size", "0.5", Reason::UnsupportedKernel),
        ("__kernel2", "0.5", Reason::UnsupportedKernel),
    ] {
        let (have, message) = refused(source, name, value).unwrap_or_else(|| panic!("accepted: {name}={value}"));
        assert_eq!(have, reason, "{name}={value}: {message}");
        assert!(message.contains(&format!("defines[{name}]")), "{message}");
    }
}

#[test]
fn integer_kernels_may_use_the_names_of_float_functions_for_variables() {
    check_accepted("void f() { uint distance[3], length = 2, step = 1; distance[length] = step + 0x1e5; }");
    check_accepted("void f(uint dot) { if (dot) dot++; }");
    check_accepted("// float 1.5\n/* double\n sqrt(2) */ void f() {}");
    check_accepted("void f() { int c = 'f' + '.'; uint m = max(1u, mul24(2u, 3u)) << popcount(7u); }");
    check_accepted("#pragma unroll 4\n#pragma OPENCL FP_CONTRACT OFF\n#ifdef N\n#error no sqrt(2.0) here\n#endif");
    check_accepted("#define AT(x, y) ((x) * 8 + (y))\n#define TWICE(x) do { x; x; } while (0)\nvoid f() {}");
    check_accepted("__attribute__((always_inline, unused)) void f(__attribute__((aligned(16))) int x) {}");
    check_accepted(
        "struct pair { int a, b; };\nenum { A = 1 };\nvoid f(__constant int *x, int y) { __constant int t[2] = {1, 2}; }",
    );
    check_accepted("void f(volatile __global uint *x) { atomic_add(x, 1u); mem_fence(CLK_GLOBAL_MEM_FENCE); }");
}

#[test]
fn what_a_text_check_cannot_see_through_is_refused() {
    let unsupported = |source: &str, words: &[&str]| check(source, Reason::UnsupportedKernel, words);
    unsupported("\n#include \"/etc/passwd\"", &["line 2", "#include"]);
    unsupported("#include <x.h>", &["#include"]);
    unsupported("#pragma OPENCL EXTENSION cl_khr_fp64 : enable", &["#pragma", "harmless"]);
    unsupported("#pragma clang fp reassociate(on)", &["#pragma"]);
    unsupported("_Pragma(\"unroll\")", &["`_Pragma`"]);
    unsupported("#define P(a, b) a ## b\nP(flo, at) x;", &["line 1", "##"]);
    unsupported("#define S(a) #a", &["#", "macro"]);
    unsupported("# 7 \"x.cl\"", &["#7"]);
    unsupported("void f() { asm(\"nop\"); }", &["`asm`", "assembly"]);
    unsupported("void f() { __asm__ volatile (\"nop\"); }", &["`__asm__`"]);
    unsupported("typedef int f32 __attribute__((mode(SF)));", &["mode", "allowed are"]);
    unsupported("#define packed mode(SF)\ntypedef int f32 __attribute__((packed));", &["packed"]);
    unsupported("typedef int f32 __attribute__((aligned(4), vector_size(16)));", &["vector_size"]);
    unsupported("#define A ((mode(SF)))\ntypedef int f32 __attribute__ A;", &["__attribute__"]);
    unsupported("void f() { __auto_type x = __builtin_sqrt(2); }", &["`__auto_type`", "compiler's"]);
    unsupported("void f() { int x = (int)_cl_sqrt(2); }", &["`_cl_sqrt`"]);
    unsupported("#ifdef cl_khr_fp64\n#endif", &["`cl_khr_fp64`"]);
    unsupported("??=define A", &["trigraph"]);
    unsupported("%:define A", &["digraph"]);
    unsupported("void f() { \\u0066loat x; }", &["backslash"]);
    unsupported("// a \\ \nfloat", &["line 1", "blanks"]);
    unsupported("void f() { ｆloat x; }", &["ASCII"]);
    unsupported("void f() {} /* no end", &["comment"]);
    unsupported("#define get_global_size(x) 1", &["get_global_size", "meaning"]);
    unsupported("#undef get_group_id", &["get_group_id"]);
    unsupported("void f() { orion_group_id(0); }", &["`orion_group_id`", "platform's"]);
}

#[test]
fn what_the_platform_does_not_offer_is_refused() {
    let unsupported = |source: &str, words: &[&str]| check(source, Reason::UnsupportedKernel, words);
    unsupported("void f() {\n\n printf(\"x\"); }", &["line 3", "`printf`"]);
    unsupported("void f(read_only image2d_t x) {}", &["images"]);
    unsupported("void f(__global sampler_t *x) {}", &["`sampler_t`", "images"]);
    unsupported("__constant int table[2] = {1, 2};", &["program-scope"]);
    unsupported("constant int x;", &["program-scope"]);
    unsupported("int x\n= 3;", &["line 2", "program-scope"]);
    unsupported("#define TABLE __constant int t[1]\nTABLE;", &["line 1", "program-scope"]);
    unsupported("void f() { sub_group_barrier(0); }", &["OpenCL C 1.2"]);
    unsupported("void f() { int x = get_max_sub_group_size(); }", &["OpenCL C 1.2"]);
    unsupported("void f() { int x = get_global_linear_id(); }", &["`get_global_linear_id`"]);
    unsupported("void f() { char *x = \"text\"; }", &["quotes"]);
}

#[test]
fn group_functions_need_a_fixed_group_size() {
    for name in [
        "get_local_id(0)",
        "get_group_id(0)",
        "get_local_size(0)",
        "get_num_groups(0)",
        "barrier(0)",
        "__local int *x",
        "local int x",
    ] {
        let source = format!("void f() {{ {name}; }}");
        check_accepted(&source);
        let (reason, message) = text_refusal(&source, false, &[]).unwrap();
        assert_eq!(reason, Reason::UnsupportedKernel);
        assert!(message.contains("localSize") && message.contains("line 1"), "{message}");
    }
}

#[test]
fn defines_are_judged_like_the_text() {
    let refused = |name, value| text_refusal("void f() {}", true, &[(name, value)]);
    assert_eq!(refused("K", "3u + sizeof(uint)"), None);
    assert_eq!(refused("EMPTY", ""), None);
    for (name, value, reason) in [
        ("T", "float", Reason::NotExact),
        ("X", "1.5", Reason::NotExact),
        ("X", "sqrt", Reason::NotExact),
        ("X", "a ## b", Reason::UnsupportedKernel),
        ("X", "1 /* no end", Reason::UnsupportedKernel),
        ("X", "__constant int", Reason::UnsupportedKernel),
        ("get_global_size", "3", Reason::UnsupportedKernel),
        ("__kernel2", "3", Reason::UnsupportedKernel),
        ("orion_x", "3", Reason::UnsupportedKernel),
    ] {
        let (have, message) = refused(name, value).unwrap_or_else(|| panic!("accepted: {name}={value}"));
        assert_eq!(have, reason, "{message}");
        assert!(message.contains(&format!("defines[{name}]")), "{message}");
    }
    // A define is a macro like any other.
    let (reason, _) = text_refusal("void f() { int x = sqrt NONE (2); }", true, &[("NONE", "")]).unwrap();
    assert_eq!(reason, Reason::NotExact);
}

#[test]
fn a_kernel_that_does_not_compile_is_told_the_compilers_words() {
    let device = device();
    let source = "__kernel void run(__global uint *out)\n{\n    out[0] = nowhere;\n}";
    let kernel = Kernel::new(source, 4).output(DType::Uint32, &[]);
    check_refused(&device, &kernel, Reason::CompileFailed, "nowhere");
    check_refused(&device, &kernel, Reason::CompileFailed, "kernel.cl:3");
    let kernel = Kernel::new(PLAIN, 4).edit(|kernel| kernel.entry_point = "walk".into()).output(DType::Uint32, &[]);
    check_refused(&device, &kernel, Reason::InvalidSpec, "walk");
}

#[test]
fn arguments_must_fit_the_parameters() {
    let device = device();
    let check = |kernel: Kernel, words: &str| check_refused(&device, &kernel, Reason::ArgumentMismatch, words);
    let run = |parameters: &str| Kernel::new(&format!("__kernel void run({parameters}) {{}}"), 4);
    let out = |kernel: Kernel| kernel.output(DType::Uint32, &[]);
    let four = |kernel: Kernel| kernel.input(DType::Uint8, &[4], &[1, 2, 3, 4]);
    let scalar = |kernel: Kernel, dtype| kernel.argument(Argument::Scalar(dtype, 3));
    check(out(run("__global uint *out, uint x")), "has 2 parameters, the job gives 1");
    check(out(run("__global int *out")), "`__global int* out`, but arguments[0] is output out0 of uint32");
    check(out(run("__global const uint *out")), "which needs `__global uint* out`");
    check(out(run("__constant uint *out")), "`__constant uint* out`");
    check(out(run("uint out")), "`uint out`");
    check(out(four(run("__global uchar *in, __global uint *out"))), "which needs `__global const uchar* in`");
    check(out(four(run("__global const char *in, __global uint *out"))), "input 0 of uint8");
    check(out(four(run("__constant uchar *in, __global uint *out"))), "`__constant uchar* in`");
    check(out(scalar(run("ulong x, __global uint *out"), DType::Uint32)), "needs `uint x`");
    check(out(scalar(run("__global uint *x, __global uint *out"), DType::Uint32)), "a scalar of uint32");
    check(
        out(run("ushort n, __global uint *out").argument(Argument::Builtin(Builtin::Items))),
        "`uint n` or `ulong n`",
    );
    check(out(run("uint x, __global uint *out").local(&[2]).argument(Argument::Local(8))), "needs `__local T* x`");
    let kernel = "__attribute__((reqd_work_group_size(2, 1, 1))) __kernel void run(__global uint *out) {}";
    check(out(Kernel::new(kernel, 4)), "set localSize");
    check(out(Kernel::new(kernel, 4).local(&[4])), "demands [2, 1, 1]");
}

#[test]
fn sizes_that_do_not_fit_together_are_told_by_name() {
    let device = device();
    let plain = || Kernel::new(PLAIN, 16).output(DType::Uint32, &[]);
    let check = |kernel: Kernel, words: &str| check_refused(&device, &kernel, Reason::InvalidSpec, words);
    check(plain().unit(6).local(&[4]), "does not divide itemsPerUnit");
    check(plain().unit(4).local(&[3]), "does not divide globalSize[0]");
    check(plain().local(&[4, 1]), "as many dimensions");
    check(plain().global(&[12]), "the last dimension must be the 16 items");
    check(plain().global(&[0, 16]), "globalSize");
    check(plain().argument(Argument::Input(0)), "there is no input 0");
    check(plain().argument(Argument::Output(1)), "there is no output 1");
    check(plain().argument(Argument::Output(0)), "bound 2 times");
    check(Kernel::new(PLAIN, 16), "outputs");
    check(plain().argument(Argument::Local(8)), "localSize");
    check(plain().argument(Argument::Scalar(DType::Uint8, 256)), "does not fit a uchar");
    check(plain().define("B", "1").define("A", "1"), "ascending");
    check(plain().define("A", "1\n#include <x>"), "defines[A]");
    let mut none = plain();
    none.load.units.items_per_unit = 0;
    check(none, "at least 1");
}

#[test]
fn inputs_must_be_arrays() {
    let device = device();
    let with = |file: Vec<u8>| {
        let mut kernel = Kernel::new(PLAIN, 4).output(DType::Uint32, &[]);
        kernel.load.inputs.push(file.into());
        kernel
    };
    let check = |file: Vec<u8>, words: &str| check_refused(&device, &with(file), Reason::InvalidInput, words);
    check(b"nothing".to_vec(), "input 0: not an npy file");
    check(npy(DType::Uint8, &[4], &[1, 2, 3]), "input 0: npy data is 3 bytes long");
    check(npy(DType::Uint8, &[4, 0], &[]), "no elements");
}

#[test]
fn what_is_too_large_is_refused_before_anything_is_allocated() {
    let device = device();
    let kernel = Kernel::new(PLAIN, 16).output(DType::Uint32, &[1 << 30]);
    check_refused(&device, &kernel, Reason::TooLarge, "at most 1073741824 are allowed");
    let memory = u64::MAX;
    let refusal = Job::load(&device, &kernel.load, memory, &mut Library::default()).err().unwrap();
    assert_eq!(refusal.reason, Reason::TooLarge);
    assert!(refusal.message.contains("output out0 has 68719476736 bytes"), "{refusal}");
    let source = "__kernel void run(__local uint *x, __global uint *out) { out[get_global_id(0)] = 1; }";
    let kernel = Kernel::new(source, 16).local(&[4]).argument(Argument::Local(1 << 40)).output(DType::Uint32, &[]);
    check_refused(&device, &kernel, Reason::TooLarge, "local memory");
    let kernel = Kernel::new(PLAIN, 1 << 20).local(&[1 << 20]).output(DType::Uint32, &[]);
    check_refused(&device, &kernel, Reason::TooLarge, "work-items in a group");
    // The bound is the job's: the same buffers fit into more memory.
    let kernel = Kernel::new(PLAIN, 16).output(DType::Uint32, &[1 << 10]);
    // 64 KiB on the device, four times as many in rows under way, and a unit's digest twice.
    let need = 5 * (1 << 16) + 64;
    assert!(Job::load(&device, &kernel.load, need - 1, &mut Library::default()).is_err());
    assert!(Job::load(&device, &kernel.load, need, &mut Library::default()).is_ok());
}

#[test]
fn units_beyond_the_last_are_refused() {
    let device = device();
    let kernel = Kernel::new(PLAIN, 16).unit(4).output(DType::Uint32, &[]);
    let mut job = kernel.job(&device).unwrap();
    for (first, count) in [(0, 5), (4, 1), (3, 2), (0, 0), (u64::MAX, 1), (1, u64::MAX)] {
        let refusal = job.run(first, count, |_| {}).unwrap_err();
        assert_eq!(refusal.reason, Reason::LeaseRefused, "{first} {count}");
    }
    assert!(job.run(3, 1, |_| {}).is_ok());
}
