//! Kernels on the real runtime: what comes out is right, and the same however the work is cut.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Kernel, bytes, device, noise, words};
use orion_protocol::dtype::DType;
use orion_protocol::task::{Argument, Builtin};

const KNN: &str = "
__kernel void run(__global const uchar *points, __global const uchar *labels, const uint count, const uint width,
                  __global uchar *predictions)
{
    const uint item = (uint)get_global_id(0);
    uint distance[K], nearest[K];
    for (uint k = 0; k < K; k++) { distance[k] = UINT_MAX; nearest[k] = 0; }
    for (uint other = 0; other < count; other++) {
        uint sum = 0;
        for (uint p = 0; p < width; p++) {
            const int d = (int)points[item * width + p] - (int)points[other * width + p];
            sum += (uint)(d * d);
        }
        if (other == item || sum >= distance[K - 1]) continue;
        uint at = K - 1;
        for (; at > 0 && sum < distance[at - 1]; at--) { distance[at] = distance[at - 1]; nearest[at] = nearest[at - 1]; }
        distance[at] = sum;
        nearest[at] = other;
    }
    uint most = 0;
    for (uint label = 0; label < 10; label++) {
        uint votes = 0;
        for (uint k = 0; k < K; k++) votes += labels[nearest[k]] == label ? 1 : 0;
        if (votes > most) { most = votes; predictions[item] = (uchar)label; }
    }
}";

const POINTS: usize = 197;
const WIDTH: usize = 16;
const K: usize = 3;

/// The same in plain Rust: neighbours by (distance, index), the most frequent label, the smallest of equals.
fn knn(points: &[u8], labels: &[u8]) -> Vec<u8> {
    let point = |at: usize| &points[at * WIDTH..(at + 1) * WIDTH];
    let apart = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum::<u32>();
    let predict = |item: usize| {
        let mut others: Vec<(u32, usize)> =
            (0..POINTS).filter(|other| *other != item).map(|other| (apart(point(item), point(other)), other)).collect();
        others.sort_unstable();
        let votes = |label: u8| others[..K].iter().filter(|(_, at)| labels[*at] == label).count();
        (0..10_u8).rev().max_by_key(|label| votes(*label)).unwrap()
    };
    (0..POINTS).map(predict).collect()
}

fn knn_job(items_per_unit: u64) -> (Kernel, Vec<u8>) {
    let points: Vec<u8> = noise(7, POINTS * WIDTH).iter().map(|word| (word % 17) as u8).collect();
    let labels: Vec<u8> = noise(8, POINTS).iter().map(|word| (word % 10) as u8).collect();
    let (count, width) = (POINTS as u64, WIDTH as u64);
    let job = Kernel::new(KNN, count)
        .unit(items_per_unit)
        .define("K", "3")
        .input(DType::Uint8, &[count, width], &points)
        .input(DType::Uint8, &[count], &labels)
        .argument(Argument::Builtin(Builtin::Items))
        .argument(Argument::Scalar(DType::Uint32, width))
        .output(DType::Uint8, &[]);
    (job, knn(&points, &labels))
}

#[test]
fn nearest_neighbours_are_those_of_plain_rust_however_the_items_are_cut() {
    let device = device();
    for items_per_unit in [1, 16, 60, POINTS as u64] {
        let (kernel, want) = knn_job(items_per_unit);
        let mut job = kernel.job(&device).unwrap();
        let mut told = Vec::new();
        let rows = job.run(0, kernel.load.units.units(), |units| told.push(units)).unwrap();
        assert_eq!(rows, vec![want], "{items_per_unit} items a unit");
        assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
        assert_eq!(told.last(), Some(&kernel.load.units.units()));
    }
}

#[test]
fn a_unit_alone_gives_the_rows_it_gives_among_others() {
    let device = device();
    let (kernel, want) = knn_job(16);
    let mut job = kernel.job(&device).unwrap();
    assert!(job.preflight().unwrap() > 0);
    // Backwards, so that no unit finds its rows left by the whole.
    for unit in (0..kernel.load.units.units()).rev() {
        let (first, items) = kernel.load.units.items_of(unit, 1);
        let rows = job.run(unit, 1, |_| {}).unwrap();
        let range = usize::try_from(first).unwrap()..usize::try_from(first + items).unwrap();
        assert_eq!(rows[0], want[range], "unit {unit}");
    }
    let some = job.run(3, 5, |_| {}).unwrap();
    assert_eq!(some[0], want[48..128]);
}

const WHERE: &str = "
size_t helper_size(uint d) { return get_global_size(d); }
size_t helper_group(uint d) { return get_group_id(d); }
__kernel void run(__global uint *out, const uint first, const uint items)
{
    const size_t i = get_global_id(0);
    __global uint *mine = out + i * 9;
    mine[0] = (uint)i;
    mine[1] = (uint)get_global_size(0) + 1000u * (uint)helper_size(0);
    mine[2] = (uint)get_global_offset(0) + 1u;
    mine[3] = (uint)get_num_groups(0);
    mine[4] = (uint)get_group_id(0) + 1000u * (uint)helper_group(0);
    mine[5] = (uint)get_local_id(0) + 100u * (uint)get_local_size(0);
    mine[6] = (uint)get_global_size(1) + 10u * (uint)get_group_id(1) + 100u * get_work_dim();
    mine[7] = first;
    mine[8] = items;
}";

#[test]
fn work_item_functions_answer_for_the_whole_launch_also_in_helpers() {
    let kernel = Kernel::new(WHERE, 24)
        .unit(8)
        .local(&[4])
        .output(DType::Uint32, &[9])
        .argument(Argument::Builtin(Builtin::UnitFirst))
        .argument(Argument::Builtin(Builtin::UnitItems));
    let have = kernel.run(&device());
    for (i, row) in (0..24_u32).zip(have.chunks_exact(9)) {
        let group = i / 4;
        let want = [i, 24 + 24_000, 1, 6, group + 1000 * group, i % 4 + 400, 101, i / 8 * 8, 8];
        assert_eq!(row, want, "item {i}");
    }
}

const GROUP_SUM: &str = "
__attribute__((reqd_work_group_size(8, 1, 1)))
__kernel void run(__global const uint *in, __local uint *shared, __global uint *out)
{
    const size_t lane = get_local_id(0);
    shared[lane] = in[get_global_id(0)];
    for (size_t half_way = 4; half_way > 0; half_way /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < half_way) shared[lane] += shared[lane + half_way];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    out[get_global_id(0)] = shared[0] + (uint)get_group_id(0);
}";

#[test]
fn groups_with_barriers_and_local_memory_work_across_units() {
    let input = noise(3, 64);
    let want: Vec<u32> = (0..64)
        .map(|i: usize| {
            let group = &input[i / 8 * 8..i / 8 * 8 + 8];
            group.iter().fold(0_u32, |sum, x| sum.wrapping_add(*x)).wrapping_add(u32::try_from(i / 8).unwrap())
        })
        .collect();
    let device = device();
    for unit in [8, 16, 64] {
        let kernel = Kernel::new(GROUP_SUM, 64)
            .unit(unit)
            .local(&[8])
            .input(DType::Uint32, &[64], &bytes(&input))
            .argument(Argument::Local(32))
            .output(DType::Uint32, &[]);
        assert!(kernel.job(&device).unwrap().preflight().is_ok());
        assert_eq!(kernel.run(&device), want, "{unit} items a unit");
    }
}

const PLANE: &str = "
__kernel void run(__global uint *out)
{
    const uint x = get_global_id(0), y = get_global_id(1);
    out[y * 5 + x] = x + 100u * y + 10000u * (uint)get_global_size(0) + 100000u * (uint)get_global_size(1);
}";

#[test]
fn items_are_the_last_of_several_dimensions() {
    let device = device();
    let want: Vec<u32> = (0..35).map(|i| i % 5 + 100 * (i / 5) + 50_000 + 700_000).collect();
    for unit in [1, 2, 7] {
        let kernel = Kernel::new(PLANE, 7).unit(unit).global(&[5, 7]).output(DType::Uint32, &[5]);
        assert_eq!(kernel.run(&device), want, "{unit} rows a unit");
        assert!(kernel.job(&device).unwrap().preflight().is_ok());
    }
}

const VOLUME: &str = "
__kernel void run(__global ulong *out)
{
    const size_t at = (get_global_id(2) * get_global_size(1) + get_global_id(1)) * get_global_size(0) + get_global_id(0);
    out[at] = at + 1 + get_num_groups(2) * 1000 + get_group_id(2) * 10000;
}";

#[test]
fn three_dimensions_with_a_group_size() {
    let kernel = Kernel::new(VOLUME, 6).unit(2).global(&[4, 2, 6]).local(&[2, 1, 2]).output(DType::Uint64, &[2, 4]);
    let device = device();
    let rows = kernel.job(&device).unwrap().run(0, 3, |_| {}).unwrap();
    let have: Vec<u64> = rows[0].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    let want: Vec<u64> = (0..48).map(|at| at + 1 + 3000 + at / 16 * 10_000).collect();
    assert_eq!(have, want);
}

const STRAY: &str = "
__kernel void run(__global uint *out, const uint items)
{
    const uint i = get_global_id(0);
    out[i] += 1u;
    out[(i + 5u) % items] += 100u * (i / 4u != (i + 5u) % items / 4u ? 1u : 0u);
}";

#[test]
fn rows_start_zeroed_and_stores_elsewhere_are_lost() {
    let device = device();
    let kernel = Kernel::new(STRAY, 16).unit(4).output(DType::Uint32, &[]).argument(Argument::Builtin(Builtin::Items));
    let mut job = kernel.job(&device).unwrap();
    for _ in 0..2 {
        // All four units in a row, then each for itself: no unit sees what another left in its rows.
        assert_eq!(words(&job.run(0, 4, |_| {}).unwrap()[0]), vec![1; 16]);
        for unit in [3, 0, 2, 1] {
            assert_eq!(words(&job.run(unit, 1, |_| {}).unwrap()[0]), vec![1; 4]);
        }
    }
}

const ALL_TYPES: &str = "
__kernel void run(__global const char *a, __global const short *b, __global const long *c, const char d, const ushort e,
                  const long f, const ulong g, const unsigned int h, __global long *sum, __global short *small)
{
    const size_t i = get_global_id(0);
    sum[i] = (long)a[i] + b[i] + c[i] + d + e + f + (long)g + h;
    small[i * 2] = a[i];
    small[i * 2 + 1] = b[i];
}";

#[test]
fn every_integer_type_arrives_as_it_was_written() {
    let c: Vec<u8> = [1_i64 << 40, -1, 7].iter().flat_map(|x| x.to_le_bytes()).collect();
    let b: Vec<u8> = [-300_i16, 5, 300].iter().flat_map(|x| x.to_le_bytes()).collect();
    let kernel = Kernel::new(ALL_TYPES, 3)
        .unit(2)
        .input(DType::Int8, &[3], &[0xff, 2, 0x80])
        .input(DType::Int16, &[3], &b)
        .input(DType::Int64, &[3], &c)
        .argument(Argument::Scalar(DType::Int8, 0xfe))
        .argument(Argument::Scalar(DType::Uint16, 0xffff))
        .argument(Argument::Scalar(DType::Int64, (-10_i64).cast_unsigned()))
        .argument(Argument::Builtin(Builtin::Items))
        .argument(Argument::Scalar(DType::Uint32, 1_000_000))
        .output(DType::Int64, &[])
        .output(DType::Int16, &[2]);
    let device = device();
    let rows = kernel.job(&device).unwrap().run(0, 2, |_| {}).unwrap();
    let sums: Vec<i64> = rows[0].chunks_exact(8).map(|x| i64::from_le_bytes(x.try_into().unwrap())).collect();
    let rest = -2 + 65_535 - 10 + 3 + 1_000_000;
    assert_eq!(sums, [(1 << 40) - 301 + rest, 6 + rest, 179 + rest]);
    let small: Vec<i16> = rows[1].chunks_exact(2).map(|x| i16::from_le_bytes(x.try_into().unwrap())).collect();
    assert_eq!(small, [-1, -300, 2, 5, -128, 300]);
}

#[test]
fn large_rows_are_read_back_one_unit_at_a_time() {
    // 5 MiB a unit: two of them do not fit where rows are put aside.
    const WORDS: u64 = 5 << 18;
    let source = "__kernel void run(__global uint *out) { const size_t i = get_global_id(0);
        for (size_t w = 0; w < WORDS; w++) out[i * WORDS + w] = (uint)(i * 31 + w); }";
    let kernel = Kernel::new(source, 3).unit(1).define("WORDS", &WORDS.to_string()).output(DType::Uint32, &[WORDS]);
    let have = kernel.run(&device());
    assert_eq!(have.len() as u64, 3 * WORDS);
    let rows = have.chunks_exact(have.len() / 3);
    assert!((0..).zip(rows).all(|(i, row): (u32, _)| row.iter().zip(0..).all(|(have, w)| *have == i * 31 + w)));
}

#[test]
fn the_class_is_the_same_every_time_and_the_driver_has_a_name() {
    use orion_engine::{Device as _, selftest};
    let (one, two) = (device(), device());
    let (class, fault) = selftest::run(&one).unwrap();
    assert_eq!((class, None), selftest::run(&two).unwrap());
    assert_eq!(fault, None);
    assert!(!one.driver().is_empty() && one.driver().len() <= 128, "{}", one.driver());
    println!("{}: class {class}", one.driver());
}
