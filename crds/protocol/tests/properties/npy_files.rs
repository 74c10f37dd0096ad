//! npy files: what is written is read again, whatever is disturbed never panics, and what NumPy may write is understood.

use orion_protocol::dtype::DType;
use orion_protocol::npy::{self, Header, NpyError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::runner::check;

fn headers() -> impl Strategy<Value = Header> {
    let dtype = select(vec![DType::Uint8, DType::Int16, DType::Uint32, DType::Float32, DType::Int64, DType::Float64]);
    (dtype, vec(0..6_u64, 0..=5)).prop_map(|(dtype, shape)| Header { dtype, shape })
}

fn file(header: &Header) -> Vec<u8> {
    let mut file = header.to_bytes();
    let length = usize::try_from(header.data_bytes().unwrap()).unwrap();
    file.extend((0..length).map(|at| at.to_le_bytes()[0]));
    file
}

#[test]
fn what_is_written_is_read_again_and_data_is_aligned() {
    check(1000, &headers(), |header| {
        let file = file(&header);
        let (read, data) = npy::parse(&file).unwrap();
        prop_assert_eq!(&read, &header);
        prop_assert_eq!(data.len() as u64, header.data_bytes().unwrap());
        prop_assert_eq!((file.len() - data.len()) % 64, 0);
        Ok(())
    });
}

#[test]
fn a_file_that_is_cut_or_longer_is_refused() {
    check(1000, &(headers(), any::<Index>()), |(header, at)| {
        let mut file = file(&header);
        prop_assert!(npy::parse(&file[..at.index(file.len())]).is_err());
        file.push(0);
        let longer = matches!(npy::parse(&file), Err(NpyError::Length { .. }));
        prop_assert!(longer);
        Ok(())
    });
}

#[test]
fn disturbed_files_never_panic() {
    let edits =
        vec((any::<Index>(), select(b"\x00\x01\x02\xFF{}()',: 0123456789FTdefhru<>|=\n".to_vec()), 0..3_u8), 1..8);
    check(20_000, &(headers(), edits), |(header, edits)| {
        let mut file = file(&header);
        for (at, byte, edit) in edits {
            let at = at.index(file.len().min(130));
            match edit {
                0 => file[at] = byte,
                1 => file.insert(at, byte),
                _ => drop(file.remove(at)),
            }
        }
        if let Ok((header, data)) = npy::parse(&file) {
            prop_assert_eq!(header.data_bytes(), Some(data.len() as u64));
        }
        Ok(())
    });
}

#[test]
fn random_bytes_after_the_magic_never_panic() {
    check(5000, &vec(any::<u8>(), 0..200), |bytes| {
        prop_assert!(npy::parse(&bytes).is_err());
        prop_assert!(npy::parse(&[b"\x93NUMPY".as_slice(), &bytes].concat()).is_err());
        Ok(())
    });
}

/// A file of version 1 with this text for a header.
fn with_text(text: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), text.as_bytes(), data].concat()
}

#[test]
fn headers_as_others_write_them() {
    let good = [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }\n", vec![3]),
        ("{'shape': (3,), 'fortran_order': False, 'descr': '|u1'}", vec![3]),
        ("{'descr':'|u1','fortran_order':False,'shape':(3,1)}     \n", vec![3, 1]),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, 1,), }", vec![1, 3, 1]),
    ];
    for (text, shape) in good {
        let file = with_text(text, &[1, 2, 3]);
        assert_eq!(npy::parse(&file), Ok((Header { dtype: DType::Uint8, shape }, &[1, 2, 3][..])), "{text}");
    }
    let empty = with_text("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", &[0; 8]);
    assert_eq!(npy::parse(&empty).unwrap().0, Header { dtype: DType::Float64, shape: vec![] });
}

#[test]
fn headers_that_mean_something_else_are_refused() {
    let refused = [
        "",
        "{}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (3,), }",
        "{'descr': '>u2', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '|u1', 'shape': (3,), }",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), 'more': '1'}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3L,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), } and more",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)",
        "{'descr': '|u1, 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (3,), }",
    ];
    for text in refused {
        assert!(npy::parse(&with_text(text, &[1, 2, 3])).is_err(), "{text}");
    }
}
