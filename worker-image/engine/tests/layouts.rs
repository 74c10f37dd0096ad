//! Outputs that are not one row an item, on the real runtime: entries that items keep, and copies that units have.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Kernel, bytes, check_refused, device, noise, words};
use orion_engine::job::{Rows, keep};
use orion_protocol::dtype::DType;
use orion_protocol::rows::Span;
use orion_protocol::task::{Argument, Builtin};
use orion_protocol::{Reason, Refusal};

const ITEMS: usize = 50;
const ROOM: usize = 4;

/// Each item keeps the bits of its number that are set, or that many; what it does not keep is no zero. Each unit counts numbers by their last digit.
const BITS: &str = "
__kernel void run(__global const uint *in, __global uint *hits, __global uchar *counts, __global uint *histogram)
{
    const uint i = get_global_id(0);
    uint found = 0;
    for (uint bit = 0; bit < 32; bit++)
        if ((in[i] >> bit & 1u) != 0) {
            if (found < ROOM) hits[i * ROOM + found] = bit;
            found++;
        }
    counts[i] = (uchar)found;
    for (uint tail = found; tail < ROOM; tail++) hits[i * ROOM + tail] = 0xdeadu + i;
    atomic_inc(histogram + in[i] % 10u);
}";

/// Numbers with at most `ROOM` bits.
fn numbers() -> Vec<u32> {
    let few = |word: u32| (0..ROOM).fold(0_u32, |bits, at| bits | 1 << (word >> (5 * at) & 31));
    noise(11, ITEMS).into_iter().map(|word| if word % 5 == 0 { 0 } else { few(word) }).collect()
}

fn bits(numbers: &[u32], unit: u64) -> Kernel {
    let items = numbers.len() as u64;
    let kernel = Kernel::new(BITS, items).unit(unit).define("ROOM", &ROOM.to_string());
    let kernel = kernel.input(DType::Uint32, &[items], &bytes(numbers));
    kernel.kept(DType::Uint32, &[ROOM as u64], 1).output(DType::Uint8, &[]).copies(DType::Uint32, &[10])
}

/// What units of so many of these numbers keep.
fn expected(numbers: &[u32], unit: usize) -> Rows {
    let set = |number: &u32| (0..32).filter(|bit| number >> bit & 1 == 1).collect::<Vec<u32>>();
    let hits: Vec<u32> = numbers.iter().flat_map(set).collect();
    let counts = numbers.iter().map(|number| u8::try_from(number.count_ones()).unwrap()).collect();
    let count = |digit: u32, unit: &[u32]| u32::try_from(unit.iter().filter(|number| **number % 10 == digit).count());
    let histogram: Vec<u32> =
        numbers.chunks(unit).flat_map(|unit| (0..10).map(move |digit| count(digit, unit).unwrap())).collect();
    vec![bytes(&hits), counts, bytes(&histogram)]
}

/// What is kept of these units.
fn run(kernel: &Kernel, first: u64, count: u64) -> Result<Rows, Refusal> {
    let device = device();
    let mut rows = kernel.job(&device).unwrap().run(first, count, |_| {})?;
    keep(&Span::new(&kernel.load.outputs, &kernel.load.units, first, count), &mut rows)?;
    Ok(rows)
}

#[test]
fn kept_entries_and_copies_are_those_of_plain_rust_however_the_items_are_cut() {
    let numbers = numbers();
    assert!(numbers.contains(&0) && numbers.iter().any(|number| number.count_ones() == 4), "the test tests something");
    for unit in [1, 8, 30, ITEMS] {
        let kernel = bits(&numbers, unit as u64);
        let units = kernel.load.units.units();
        assert_eq!(run(&kernel, 0, units).unwrap(), expected(&numbers, unit), "{unit} items a unit");
        let device = device();
        assert!(kernel.job(&device).unwrap().preflight().unwrap() > 0);
    }
}

#[test]
fn a_unit_alone_keeps_what_it_keeps_among_others_and_finds_its_copy_zeroed() {
    let (numbers, device) = (numbers(), device());
    let kernel = bits(&numbers, 8);
    let mut job = kernel.job(&device).unwrap();
    // Backwards and twice: a copy that is not zeroed would count on.
    for unit in (0..7).rev().chain(0..7) {
        let (first, items) = kernel.load.units.items_of(unit, 1);
        let range = usize::try_from(first).unwrap()..usize::try_from(first + items).unwrap();
        let mut rows = job.run(unit, 1, |_| {}).unwrap();
        assert_eq!((rows[0].len(), rows[2].len()), (range.len() * 4 * ROOM, 40), "a device gives the tails, too");
        keep(&Span::new(&kernel.load.outputs, &kernel.load.units, unit, 1), &mut rows).unwrap();
        assert_eq!(rows, expected(&numbers[range], 8), "unit {unit}");
    }
}

#[test]
fn large_copies_are_read_back_one_unit_at_a_time() {
    // 5 MiB a unit: two of them do not fit where copies are put aside.
    const WORDS: u64 = 5 << 18;
    let source = "__kernel void run(__global uint *all, const ulong first) { const size_t i = get_global_id(0);
        for (size_t w = i - first; w < WORDS; w += 2) all[w] = (uint)(i / 2 * 31 + w); }";
    let kernel = Kernel::new(source, 6).unit(2).define("WORDS", &WORDS.to_string()).copies(DType::Uint32, &[WORDS]);
    let kernel = kernel.argument(Argument::Builtin(Builtin::UnitFirst));
    let have = words(&run(&kernel, 0, 3).unwrap()[0]);
    assert_eq!(have.len() as u64, 3 * WORDS);
    let copies = have.chunks_exact(have.len() / 3);
    assert!((0..).zip(copies).all(|(i, copy): (u32, _)| copy.iter().zip(0..).all(|(have, w)| *have == i * 31 + w)));
}

#[test]
fn an_item_with_more_entries_than_room_is_the_kernels_fault() {
    let check = |refusal: Refusal, item: usize| {
        assert_eq!(refusal.reason, Reason::OutputOverflow, "{refusal}");
        let words = format!("output out0: item {item} has 5 entries, there is room for 4");
        assert_eq!(refusal.message, words);
    };
    let device = device();
    for item in [3, 20, ITEMS - 1] {
        let mut numbers = numbers();
        numbers[item] = 0x1f;
        let kernel = bits(&numbers, 8);
        let tried = kernel.job(&device).unwrap().preflight();
        if item == 20 {
            // In none of the units that are tried: whoever runs it finds it.
            assert!(tried.is_ok(), "{tried:?}");
        } else {
            check(tried.unwrap_err(), item);
        }
        check(run(&kernel, 0, 7).unwrap_err(), item);
    }
}

#[test]
fn units_may_differ_in_tails_and_in_nothing_else() {
    let source = "__kernel void run(__global uint *hits, __global uchar *counts, __global uint *copy)
        { const uint i = get_global_id(0); hits[2 * i] = i; counts[i] = 1; copy[0] = 7; TEXT }";
    let kernel = |text: &str| {
        let kernel = Kernel::new(source, 32).unit(8).define("TEXT", text);
        kernel.kept(DType::Uint32, &[2], 1).output(DType::Uint8, &[]).copies(DType::Uint32, &[3])
    };
    let (device, preflight) = (device(), |kernel: &Kernel, device| kernel.job(device).unwrap().preflight());
    // Whatever another unit has left there.
    assert!(preflight(&kernel("hits[2*i+1]=hits[(2*i+17)%64];"), &device).is_ok());
    for (text, words) in [
        ("hits[2*i]=hits[(2*i+16)%64]+1;", "output out0, element"),
        ("if(i==31)counts[i]=counts[0]+1;", "output out1, item 31"),
        ("copy[i%3]=hits[(2*i+16)%64];", "output out2, element"),
    ] {
        let refusal = preflight(&kernel(text), &device).unwrap_err();
        assert_eq!(refusal.reason, Reason::KernelNotUnitPure, "{refusal}");
        assert!(refusal.message.contains(words), "{words:?} is not in: {refusal}");
    }
}

#[test]
fn bad_layouts_and_too_many_copies_are_refused() {
    let device = device();
    let kernel = bits(&numbers(), 8);
    let mut wrong = kernel.clone();
    wrong.load.outputs[1].dtype = DType::Int8;
    check_refused(&device, &wrong, Reason::InvalidSpec, "outputs[out0].lengths: out1 must be one number an item");
    // A shard's copies are held at once.
    let source = "__kernel void run(__global uchar *copy) { copy[0] = 1; }";
    let mut many = Kernel::new(source, 2000).unit(1).copies(DType::Uint8, &[1 << 20]);
    many.load.units.units_per_shard = 2000;
    check_refused(&device, &many, Reason::TooLarge, "bytes of memory");
    many.load.units.units_per_shard = 1;
    assert!(many.job(&device).is_ok());
}
