//! The log over HTTP as any client of C2SP tlog-tiles reads it: crate `tlog_tiles` proves our leaves from what we serve. Nobody
//! gets a file that is not there or another file than the one that is named, and files that changed halt the start.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::path::PathBuf;

use orion_ledger_core::log::tile::{FULL, Resource, entries};
use orion_ledger_core::{Checkpoint, VerifierKey, verify};
use orion_protocol::JobId;
use orion_protocol::ids::TxId;
use orion_protocol::ledger::tx::*;
use support::world::{self, Keys};
use support::{Answer, Client, Home};
use tlog_tiles::tile::TileReader;

/// Deposits, each of which leaves a leaf, and at most another one.
fn deposit(client: Client, numbers: std::ops::Range<u64>) {
    let (keys, chain) = (Keys::new(), Keys::new().genesis().chain());
    let send = |number| {
        let consumer = Consumer { account: world::consumer(&chain) };
        let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
        client.submit(&Transaction::Deposit(Deposit { consumer, amount: 1 }).sign(&chain, &keys.issuer, 0, id));
    };
    std::thread::scope(|scope| {
        for first in numbers.start..numbers.start + 8 {
            let numbers = numbers.clone();
            scope.spawn(move || (first..numbers.end).step_by(8).for_each(send));
        }
    });
}

fn vkey() -> VerifierKey {
    let genesis = Keys::new().genesis();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

/// The checkpoint over all that was answered: an export waits for it.
fn checkpoint(client: Client) -> Checkpoint {
    assert_eq!(client.get("/v1/export").status, 200);
    let answer = client.get("/checkpoint");
    assert!(answer.head.contains("content-type: text/plain; charset=utf-8"), "{}", answer.head);
    assert!(answer.head.contains("cache-control: no-cache"), "{}", answer.head);
    Checkpoint::open(&answer.body, &vkey()).unwrap()
}

fn file(client: Client, path: &str) -> Answer {
    let answer = client.get(&format!("/{path}"));
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    assert!(answer.head.contains("content-type: application/octet-stream"), "{}", answer.head);
    assert!(answer.head.contains("immutable"), "{}", answer.head);
    answer
}

/// The stock client's way to our files.
struct Stock(Client);

impl TileReader for Stock {
    fn height(&self) -> u8 {
        8
    }

    /// Their paths name the height, as Go's checksum database has it; C2SP's do not.
    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let path = |tile: &tlog_tiles::Tile| tile.path().replacen("tile/8/", "tile/", 1);
        Ok(tiles.iter().map(|tile| file(self.0, &path(tile)).body).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_stock_client_proves_every_leaf_and_every_growth_from_plain_files() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let mut seen = vec![checkpoint(client)];
    for numbers in [0..20, 20..200, 200..330] {
        deposit(client, numbers);
        seen.push(checkpoint(client));
    }
    let Checkpoint { origin: _, size, root } = seen.last().unwrap().clone();
    assert!(size > u64::from(FULL) && client.head().seal.size == size, "{size} leaves");
    let stock = Stock(client);
    let theirs = tlog_tiles::TileHashReader::new(size, tlog_tiles::Hash(root.0), &stock);

    let mut at = 0;
    while at < size {
        let width = u16::try_from(size - at).map_or(FULL, |left| left.min(FULL));
        let path = Resource::Entries { index: at / u64::from(FULL), width }.path();
        let bundle = file(client, &path).body;
        for leaf in entries(&bundle, width).unwrap() {
            let hash = tlog_tiles::record_hash(leaf);
            // Every proof reads several files.
            if at % 37 == 0 || at + 1 == size {
                let proof = tlog_tiles::prove_record(size, at, &theirs).unwrap();
                tlog_tiles::check_record(&proof, size, tlog_tiles::Hash(root.0), at, hash).unwrap();
            }
            at += 1;
        }
    }
    for old in &seen {
        let proof = tlog_tiles::prove_tree(size, old.size, &theirs).unwrap();
        let old_root = tlog_tiles::Hash(old.root.0);
        tlog_tiles::check_tree(&proof, size, tlog_tiles::Hash(root.0), old.size, old_root).unwrap();
        // The partial tiles of an earlier checkpoint are still served.
        let earlier = Stock(client);
        let earlier = tlog_tiles::TileHashReader::new(old.size, tlog_tiles::Hash(old.root.0), &earlier);
        assert_eq!(tlog_tiles::tree_hash(old.size, &earlier).unwrap(), old_root);
    }
}

#[test]
fn paths_that_name_no_file_are_refused_and_what_no_checkpoint_covers_is_not_there() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    deposit(client, 0..1);
    let size = checkpoint(client).size;
    let last = u16::try_from(size).unwrap();
    file(client, &format!("tile/0/000.p/{last}"));
    file(client, &format!("tile/entries/000.p/{last}"));
    let absent = ["tile/0/000", "tile/entries/000", "tile/1/000", "tile/0/001.p/1", "tile/63/000", "tile/63/x999/999"];
    let beyond = [format!("tile/0/000.p/{}", last + 1), format!("tile/entries/000.p/{}", last + 1)];
    for path in absent.into_iter().chain(beyond.iter().map(String::as_str)) {
        assert_eq!(client.get(&format!("/{path}")).status, 404, "{path}");
    }
    let hostile = [
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/64/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x0000/000",
        "tile/0/000/",
        "tile/0/000.p",
        "tile/0/%300",
        "tile/0/000%2ep/1",
        "tile/entries/000%00",
        "tile/../checkpoint",
        "tile/..%2f..%2fgenesis",
        "tile/0/../../ledger.redb",
        "tile/.unfinished",
        "tile//0/000",
        "tile/0/xxx/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/18446744073709551616/000",
    ];
    for path in hostile {
        let answer = client.get(&format!("/{path}"));
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(answer.body.len() < 200, "{path}: {} bytes", answer.body.len());
    }
    let long = format!("/tile/0/{}000", "x123/".repeat(10_000));
    assert!(matches!(client.get(&long).status, 400 | 404 | 414 | 431));
    assert_eq!(client.post("/checkpoint", b"").status, 405);
    assert_eq!(client.post("/tile/0/000", b"").status, 405);
}

/// The files of a stopped ledger with more than 256 leaves.
fn filled(home: &Home) -> [PathBuf; 2] {
    let ledger = home.start();
    deposit(ledger.client(), 0..260);
    checkpoint(ledger.client());
    assert_eq!(ledger.stop(), Some(0));
    ["tile/0/000", "tile/entries/000"].map(|path| home.data().join(path))
}

#[test]
fn tiles_that_are_missing_are_made_again_as_they_were() {
    let home = Home::new();
    let [tile, bundle] = filled(&home);
    let want = (fs::read(&tile).unwrap(), fs::read(&bundle).unwrap());
    for missing in [vec![&tile], vec![&bundle], vec![&tile, &bundle]] {
        for path in missing {
            fs::remove_file(path).unwrap();
        }
        let ledger = home.start();
        assert_eq!((&fs::read(&tile).unwrap(), &fs::read(&bundle).unwrap()), (&want.0, &want.1));
        assert_eq!(file(ledger.client(), "tile/entries/000").body, want.1);
        let export = ledger.client().get("/v1/export").body;
        verify::log(export.as_slice(), &vkey()).unwrap();
    }
    // A store of an earlier version has none at all.
    fs::remove_dir_all(home.data().join("tile")).unwrap();
    let ledger = home.start();
    assert_eq!(file(ledger.client(), "tile/0/000").body, want.0);
}

#[test]
fn a_tile_that_was_changed_halts_the_start_and_says_how_to_go_on() {
    let home = Home::new();
    let [tile, bundle] = filled(&home);
    let intact = fs::read(&tile).unwrap();
    let mut flipped = intact.clone();
    flipped[100] ^= 1;
    let mut longer = intact.clone();
    longer.push(0);
    for damaged in [flipped, longer, intact[..intact.len() - 32].to_vec(), Vec::new()] {
        fs::write(&tile, damaged).unwrap();
        let said = home.start_refused();
        assert!(said.contains("tile/0/000 is not what the log says"), "{said}");
        assert!(said.contains("Delete") && said.contains("made anew from the store"), "{said}");
    }
    // A bundle is compared when another file is missing.
    fs::remove_file(&tile).unwrap();
    fs::write(&bundle, b"").unwrap();
    let said = home.start_refused();
    assert!(said.contains("tile/entries/000 is not what the log says"), "{said}");
    fs::remove_dir_all(home.data().join("tile")).unwrap();
    let ledger = home.start();
    assert_eq!(file(ledger.client(), "tile/0/000").body, intact, "it went on as it was told");
}
