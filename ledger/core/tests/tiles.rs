//! Tiles, bundles and the proofs made from them, beside two other implementations: crate `tlog_tiles` reads our files and
//! checks them against the root before it makes the same proofs; `ct-merkle` makes them from all leaves.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use orion_ledger_core::log::prove::{Edge, Hashes, Levels, TileError, consistency, inclusion, prefix};
use orion_ledger_core::log::tile::{
    EntriesError, FULL, PathError, Resource, Tile, entries, full_tiles, parse_hashes, partial_tiles, write_entry,
};
use orion_ledger_core::proof::{consistent, included, prefix_roots};
use orion_protocol::merkle::{Sha256, Tree};
use support::Random;

type Hash = [u8; 32];

/// Sizes at which something begins or ends.
const BORDERS: [u64; 6] = [255, 256, 257, 65_535, 65_536, 65_537];

fn leaf(at: u64) -> Vec<u8> {
    format!("leaf {at}").into_bytes()
}

/// A log as files, written as a log writes them.
#[derive(Default)]
struct Files {
    written: BTreeMap<String, Vec<u8>>,
    edge: Edge,
    tree: Tree<Sha256>,
    roots: Vec<Hash>,
    asked: RefCell<BTreeSet<Tile>>,
}

impl Files {
    /// Grows to `size` leaves and writes what a checkpoint of that size promises.
    fn grow(&mut self, size: u64) {
        let before = self.edge.size();
        let mut full = Vec::new();
        for at in before..size {
            let hash = Sha256::leaf(&leaf(at));
            self.tree.push(hash);
            self.roots.push(self.tree.root());
            for (tile, hashes) in self.edge.push(hash) {
                full.push(tile);
                self.write(tile, &hashes);
            }
        }
        full.sort_unstable();
        assert_eq!(
            full,
            full_tiles(before, size).collect::<Vec<_>>(),
            "tiles that became full from {before} to {size}"
        );
        for tile in partial_tiles(size) {
            let hashes = self.edge.partial(tile.level).to_vec();
            assert_eq!(hashes.len(), usize::from(tile.width), "{tile:?} at {size}");
            self.write(tile, &hashes);
        }
        assert_eq!(self.edge.root(), self.root(size));
    }

    fn write(&mut self, tile: Tile, hashes: &[Hash]) {
        let before = self.written.insert(Resource::Hashes(tile).path(), hashes.concat());
        assert!(before.is_none_or(|before| before == hashes.concat()), "{tile:?} was written with other bytes");
    }

    fn root(&self, size: u64) -> Hash {
        self.roots[usize::try_from(size).unwrap() - 1]
    }
}

impl Hashes for Files {
    type Error = String;

    fn hashes(&self, tile: Tile) -> Result<Vec<Hash>, String> {
        assert!(self.asked.borrow_mut().insert(tile), "{tile:?} was read twice for one proof");
        let path = Resource::Hashes(tile).path();
        let bytes = self.written.get(&path).ok_or_else(|| format!("no file {path}"))?;
        parse_hashes(bytes, tile.width).ok_or_else(|| format!("{path} is cut off"))
    }
}

impl tlog_tiles::tile::TileReader for Files {
    fn height(&self) -> u8 {
        8
    }

    /// Their paths name the height, as Go's checksum database has it; C2SP's do not.
    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let path = |tile: &tlog_tiles::Tile| tile.path().replacen("tile/8/", "tile/", 1);
        Ok(tiles
            .iter()
            .map(|tile| self.written.get(&path(tile)).unwrap_or_else(|| panic!("{}", path(tile))).clone())
            .collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// Proofs of one leaf, and from one size, in a log of `size`: ours, theirs, verified both ways.
fn check(files: &Files, size: u64, at: u64) {
    let root = files.root(size);
    let theirs = tlog_tiles::TileHashReader::new(size, tlog_tiles::Hash(root), files);
    let proven = |ours: Result<Vec<Hash>, TileError<String>>| {
        files.asked.borrow_mut().clear();
        ours.unwrap_or_else(|error| panic!("size {size}, at {at}: {error:?}"))
    };

    let path = proven(inclusion(size, at, files));
    let (hash, as_theirs) = (Sha256::leaf(&leaf(at)), |hashes: &[Hash]| -> Vec<tlog_tiles::Hash> {
        hashes.iter().map(|hash| tlog_tiles::Hash(*hash)).collect()
    });
    assert!(tlog_tiles::prove_record(size, at, &theirs).unwrap() == as_theirs(&path), "leaf {at} of {size}");
    assert!(included(hash, at, size, &path, &root));
    tlog_tiles::check_record(&as_theirs(&path), size, tlog_tiles::Hash(root), at, tlog_tiles::Hash(hash)).unwrap();

    let old = at + 1;
    let nodes = proven(consistency(old, size, files));
    assert!(tlog_tiles::prove_tree(size, old, &theirs).unwrap() == as_theirs(&nodes), "{old} to {size}");
    assert!(consistent(old, &files.root(old), size, &root, &nodes));
    let old_root = tlog_tiles::Hash(files.root(old));
    tlog_tiles::check_tree(&as_theirs(&nodes), size, tlog_tiles::Hash(root), old, old_root).unwrap();

    if old < size {
        let nodes = proven(prefix(old, size, files));
        assert_eq!(prefix_roots(old, size, &nodes), Some((files.root(old), root)), "{old} to {size}");
    }
}

#[test]
fn proofs_made_from_tiles_are_those_of_tlog_tiles_at_every_size_to_600() {
    let mut files = Files::default();
    let mut random = Random(7);
    for size in 1..=600 {
        files.grow(size);
        let places = [0, size / 2, size - 1, random.below(size), random.below(size)];
        for at in places.into_iter().collect::<BTreeSet<_>>() {
            check(&files, size, at);
        }
    }
}

#[test]
fn proofs_made_from_tiles_are_those_of_tlog_tiles_where_levels_begin() {
    let mut files = Files::default();
    for size in BORDERS {
        files.grow(size);
        let mut places: BTreeSet<u64> = BORDERS.iter().flat_map(|border| [border - 1, *border]).collect();
        places.extend([0, 1, 127, 128, 511, 512, 32_767, 32_768, size / 2, size / 3, size - 1]);
        for at in places.into_iter().filter(|at| *at < size) {
            check(&files, size, at);
        }
        // What a restarted log goes on from.
        assert_eq!(Edge::read(size, &Once(&files)).unwrap(), files.edge);
    }
}

/// Reads without counting.
struct Once<'f>(&'f Files);

impl Hashes for Once<'_> {
    type Error = String;

    fn hashes(&self, tile: Tile) -> Result<Vec<Hash>, String> {
        self.0.asked.borrow_mut().clear();
        self.0.hashes(tile)
    }
}

#[test]
fn proofs_made_from_tiles_are_ct_merkles_for_every_leaf_at_many_sizes_to_300() {
    let mut files = Files::default();
    let mut theirs = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    for size in 1..=300_u64 {
        files.grow(size);
        theirs.push(leaf(size - 1));
        if size > 40 && size % 43 != 0 && !(254..259).contains(&size) {
            continue;
        }
        assert_eq!(files.root(size), <Hash>::from(*theirs.root().as_bytes()));
        for at in 0..size {
            let index = usize::try_from(at).unwrap();
            let path = inclusion(size, at, &Once(&files)).unwrap();
            assert_eq!(theirs.prove_inclusion(index).as_bytes(), path.concat(), "leaf {at} of {size}");
            let added = usize::try_from(size - at - 1).unwrap();
            if added > 0 {
                let nodes = consistency(at + 1, size, &Once(&files)).unwrap();
                assert_eq!(theirs.prove_consistency(added).as_bytes(), nodes.concat(), "{} to {size}", at + 1);
            }
        }
    }
}

#[test]
fn a_wrong_tile_gives_a_proof_that_no_root_accepts() {
    let mut files = Files::default();
    files.grow(700);
    let (size, at, root) = (700, 300, files.root(700));
    files.asked.borrow_mut().clear();
    let good = inclusion(size, at, &files).unwrap();
    assert!(included(Sha256::leaf(&leaf(at)), at, size, &good, &root));
    let read: Vec<Tile> = files.asked.borrow().iter().copied().collect();
    assert_eq!(read.len(), 3, "{read:?}");
    let mut changed = 0;
    for tile in read {
        let path = Resource::Hashes(tile).path();
        for hash in 0..usize::from(tile.width) {
            files.written.get_mut(&path).unwrap()[hash * 32 + hash % 32] ^= 1;
            let proof = inclusion(size, at, &Once(&files)).unwrap();
            if proof != good {
                changed += 1;
                assert!(!included(Sha256::leaf(&leaf(at)), at, size, &proof, &root), "{path} hash {hash}");
            }
            files.written.get_mut(&path).unwrap()[hash * 32 + hash % 32] ^= 1;
        }
    }
    // All that stands beside the leaf; the leaf's own subtree comes from elsewhere.
    assert_eq!(changed, 255 + 1 + 188, "hashes that matter");
}

#[test]
fn tiles_that_are_missing_or_of_another_width_and_leaves_that_are_not_there_are_named() {
    struct Cut;
    impl Hashes for Cut {
        type Error = Infallible;
        fn hashes(&self, tile: Tile) -> Result<Vec<Hash>, Infallible> {
            Ok(vec![[0; 32]; usize::from(tile.width) - 1])
        }
    }
    let error = inclusion(44, 0, &Cut).unwrap_err();
    assert_eq!(error.to_string(), "tile/0/000.p/44 holds 43 hashes, expected 44");
    let files = Files::default();
    let error = inclusion(300, 0, &files).unwrap_err();
    assert_eq!(error.to_string(), "cannot read tile/0/001.p/44");
    assert!(matches!(error, TileError::Source { source, .. } if source == "no file tile/0/001.p/44"));
    for (at, size) in [(0, 0), (5, 5), (u64::MAX, 5)] {
        assert_eq!(inclusion(size, at, &Cut), Err(TileError::OutOfRange { at, size }));
    }
    assert_eq!(consistency(6, 5, &Cut), Err(TileError::OutOfRange { at: 6, size: 5 }));
    assert_eq!((consistency(0, 5, &Cut), consistency(5, 5, &Cut)), (Ok(vec![]), Ok(vec![])));
    for (old, new) in [(0, 5), (5, 5), (6, 5), (0, 0)] {
        assert_eq!(prefix(old, new, &Cut), Err(TileError::OutOfRange { at: old, size: new }));
    }
}

#[test]
fn a_log_in_memory_proves_what_its_root_accepts_across_all_borders() {
    let hashes: Vec<Hash> = (0..66_000).map(|at| Sha256::leaf(&leaf(at))).collect();
    for size in BORDERS.into_iter().chain([1, 2, 66_000]) {
        let leaves = &hashes[..usize::try_from(size).unwrap()];
        let (levels, root) = (Levels::of(leaves), orion_protocol::merkle::root::<Sha256>(leaves));
        for at in [0, 1, 254, 255, 256, size / 2, size - 1].into_iter().filter(|at| *at < size) {
            let path = inclusion(size, at, &levels).unwrap();
            assert!(included(leaves[usize::try_from(at).unwrap()], at, size, &path, &root), "{at} of {size}");
        }
        // A tile that is not there is refused by its width.
        assert!(matches!(inclusion(size + 256, size + 255, &levels), Err(TileError::Width { .. })));
    }
}

/// Any tile at all; notes how many were read.
struct Anything(RefCell<u32>);

impl Hashes for Anything {
    type Error = Infallible;
    fn hashes(&self, tile: Tile) -> Result<Vec<Hash>, Infallible> {
        *self.0.borrow_mut() += 1;
        assert!(tile.level < 8 && (1..=FULL).contains(&tile.width));
        Ok(vec![[7; 32]; usize::from(tile.width)])
    }
}

#[test]
fn the_largest_logs_take_few_tiles_and_no_sum_passes_its_bound() {
    for size in [u64::MAX, 1 << 63, (1 << 63) + 1, 1 << 56, (1 << 56) - 1] {
        for at in [0, size / 2, size / 3, size - 1] {
            let source = Anything(RefCell::new(0));
            let path = inclusion(size, at, &source).unwrap();
            assert!(path.len() <= 64 && *source.0.borrow() <= 16, "{size} {at}: {} tiles", source.0.borrow());
            let old = at.max(1);
            assert!(consistency(old, size, &Anything(RefCell::new(0))).unwrap().len() <= 65);
            if old < size {
                let nodes = prefix(old, size, &Anything(RefCell::new(0))).unwrap();
                assert!(prefix_roots(old, size, &nodes).is_some(), "{old} {size}");
            }
        }
        assert_eq!(partial_tiles(size).filter(|tile| tile.width >= FULL).count(), 0);
        assert_eq!(Tile::at(size, 0, u64::MAX), None);
    }
    assert_eq!(prefix_roots(3, 7, &[]), None);
    assert_eq!(prefix_roots(0, 7, &[[0; 32]]), None);
    assert_eq!(prefix_roots(7, 7, &[[0; 32]]), None);
}

#[test]
fn every_path_is_read_back_and_has_one_form() {
    let hashes = |level, index, width| Resource::Hashes(Tile { level, index, width });
    let known = [
        ("checkpoint", Resource::Checkpoint),
        ("tile/0/000", hashes(0, 0, 256)),
        ("tile/3/x001/x234/067", hashes(3, 1_234_067, 256)),
        ("tile/63/999.p/1", hashes(63, 999, 1)),
        ("tile/0/x001/000.p/255", hashes(0, 1000, 255)),
        ("tile/entries/x273/063", Resource::Entries { index: 273_063, width: 256 }),
        ("tile/entries/000.p/7", Resource::Entries { index: 0, width: 7 }),
        ("tile/0/x018/x446/x744/x073/x709/x551/615", hashes(0, u64::MAX, 256)),
    ];
    for (path, resource) in known {
        assert_eq!(Resource::parse(path), Ok(resource), "{path}");
        assert_eq!(resource.path(), path);
    }
    let mut random = Random(3);
    for _ in 0..2000 {
        let index = random.next() >> random.below(64);
        let width = 1 + u16::try_from(random.below(256)).unwrap();
        for resource in
            [hashes(u8::try_from(random.below(64)).unwrap(), index, width), Resource::Entries { index, width }]
        {
            let path = resource.path();
            assert_eq!(Resource::parse(&path), Ok(resource), "{path}");
            let theirs = path.replacen("tile/entries/", "tile/8/data/", 1);
            let theirs = if theirs == path { path.replacen("tile/", "tile/8/", 1) } else { theirs };
            // Theirs counts in i64.
            if index < 1 << 62 {
                assert_eq!(tlog_tiles::Tile::from_path(&theirs).unwrap().path(), theirs);
            }
        }
    }
}

#[test]
fn what_is_no_path_is_refused_and_a_changed_byte_never_gives_the_same_file() {
    for (path, error) in [
        ("", PathError::Unknown),
        ("/checkpoint", PathError::Unknown),
        ("checkpoint/", PathError::Unknown),
        ("tile/0", PathError::Unknown),
        ("tile/00/000", PathError::Level),
        ("tile/64/000", PathError::Level),
        ("tile/-1/000", PathError::Level),
        ("tile/data/000", PathError::Level),
        ("tile/8/0/000", PathError::Index),
        ("tile/0/0", PathError::Index),
        ("tile/0/1000", PathError::Index),
        ("tile/0/x000/001", PathError::Index),
        ("tile/0/x001", PathError::Index),
        ("tile/0/001/002", PathError::Index),
        ("tile/0/x001/x002", PathError::Index),
        ("tile/0/+01", PathError::Index),
        ("tile/0/../000", PathError::Index),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", PathError::Index),
        ("tile/0/000/", PathError::Index),
        ("tile/0/000.p", PathError::Index),
        ("tile/0/000.p/", PathError::Width),
        ("tile/0/000.p/0", PathError::Width),
        ("tile/0/000.p/01", PathError::Width),
        ("tile/0/000.p/256", PathError::Width),
        ("tile/0/000.p/65537", PathError::Width),
        ("tile/0/000.p/1.p/1", PathError::Width),
        ("tile/0/000.p/\u{0661}", PathError::Width),
    ] {
        assert_eq!(Resource::parse(path), Err(error), "{path}");
    }
    assert_eq!(Resource::parse(&format!("tile/0/{}000", "x001/".repeat(20))), Err(PathError::TooLong));
    for path in ["checkpoint", "tile/3/x001/x234/067", "tile/entries/x273/063.p/25"] {
        let resource = Resource::parse(path).unwrap();
        for at in 0..path.len() {
            for byte in 0..128 {
                let mut changed = path.as_bytes().to_vec();
                changed[at] = byte;
                let changed = String::from_utf8(changed).unwrap();
                if let Ok(other) = Resource::parse(&changed) {
                    assert_eq!(other.path(), changed);
                    assert!(changed == path || other != resource);
                }
            }
        }
    }
}

#[test]
fn a_bundle_holds_its_entries_and_nothing_else() {
    let written: Vec<Vec<u8>> = vec![vec![], vec![1], vec![2; 65_535], b"four".to_vec()];
    let mut bundle = Vec::new();
    for entry in &written {
        write_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(bundle.len(), 4 * 2 + 1 + 65_535 + 4);
    assert_eq!(entries(&bundle, 4).unwrap(), written);
    assert_eq!(entries(&bundle, 3), Err(EntriesError::Trailing(3)));
    assert_eq!(entries(&bundle, 5), Err(EntriesError::Truncated(4)));
    assert_eq!(entries(&bundle[..bundle.len() - 1], 4), Err(EntriesError::Truncated(3)));
    assert_eq!(entries(&[bundle.as_slice(), &[0]].concat(), 4), Err(EntriesError::Trailing(4)));
    assert_eq!(entries(&[], 0), Ok(vec![]));
    assert_eq!(write_entry(&mut bundle, &vec![0; 65_536]), Err(EntriesError::TooLong(65_536)));
    // A changed length is another bundle, or none.
    for at in [0, 1, 2, 3, 5, 6, bundle.len() - 6, bundle.len() - 5] {
        let mut changed = bundle.clone();
        changed[at] ^= 1;
        assert!(entries(&changed, 4).map_or(true, |entries| entries != written), "byte {at}");
    }
    assert_eq!(parse_hashes(&[0; 64], 2), Some(vec![[0; 32]; 2]));
    assert_eq!((parse_hashes(&[0; 63], 2), parse_hashes(&[0; 64], 1), parse_hashes(&[0; 65], 2)), (None, None, None));
}
