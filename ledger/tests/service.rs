//! The ledger as a process: what is acknowledged survives SIGKILL, many may submit at once, and a store that does not
//! replay is refused.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;

use orion_ledger_core::{VerifierKey, verify};
use orion_protocol::cbor;
use orion_protocol::ids::{Account, TxId};
use orion_protocol::ledger::api::{AccountView, JobPhase, JobView, OpenJobs};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::*;
use orion_protocol::{JobId, Signed, bytes::hex};
use support::world::{self, Ballot, Keys, World, spec};
use support::{Client, Home};

const MAX: usize = 1 << 20;

fn deposit(id: u64, amount: u64) -> Signed<Envelope> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, id, 0);
    Transaction::Deposit(Deposit { consumer, amount }).sign(&chain, &keys.issuer, 0, id)
}

fn vkey() -> VerifierKey {
    let genesis = Keys::new().genesis();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

fn balance(client: Client) -> u64 {
    let account = world::consumer(&Keys::new().genesis().chain());
    let answer = client.get(&format!("/v1/accounts/{account}"));
    cbor::from_slice::<AccountView>("account", &answer.body, MAX).unwrap().balance
}

#[test]
fn a_whole_job_over_http_and_an_export_that_verifies() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    // The world makes the same chain in memory; what it orders is sent, and every answer must be the same.
    let mut world = World::bare();
    let mut done = 0;
    let mut follow = |world: &World| {
        for leaf in &world.log[done..] {
            if let LeafBody::Transaction(tx, receipt) = Leaf::from_bytes(leaf).unwrap().body {
                assert_eq!(client.submit(&tx).receipt.code, receipt.code);
            }
        }
        done = world.log.len();
    };
    for (number, owner) in [(11, "alice"), (12, "bob")] {
        world.register(number, owner);
    }
    world.deposit(1000);
    let task = spec(1, 4, 4, 2);
    world.open_escrow(&task);
    follow(&world);
    let jobs: OpenJobs = cbor::from_slice("jobs", &client.get("/v1/jobs?open").body, MAX).unwrap();
    assert_eq!(jobs.jobs, [task.job]);

    // From here on the seals differ, and with them the draw: the round's seed comes from the ledger's answer.
    let work = world.signers.work(&task, 0, 1, world::key(11).public(), &[]);
    let close = Transaction::CloseRound(world.close_tx(&task, &[&work]));
    let order = |world: &mut World, tx: &Transaction| {
        let id = world.id();
        let tx = world.sign(tx, id);
        client.submit(&tx)
    };
    let closed = order(&mut world, &close);
    assert_eq!(closed.receipt.code, Code::Ok);
    let view: JobView = cbor::from_slice("job", &client.get(&format!("/v1/jobs/{}", task.job)).body, MAX).unwrap();
    let round = &view.rounds[0];
    assert_eq!(round.seal, closed.seal);
    let chain = world.signers.chain.clone();
    let seed = orion_protocol::draw::seed(&chain, closed.seal.size, &closed.seal.root.0, &round.round);
    let eligible = round.closed.eligible.clone();
    let closed = world::Closed { round: round.round, seed, eligible };
    let evidence = world.signers.evidence(&work, &task, &closed, &Ballot::default());
    let verdict = world.verdict_tx(&task, &closed, vec![evidence]);
    for tx in [
        Transaction::RecordVerdict(verdict),
        Transaction::Settle(Settle { job: task.job, page: 0 }),
        Transaction::Close(Close { job: task.job }),
    ] {
        assert_eq!(order(&mut world, &tx).receipt.code, Code::Ok, "{}", tx.kind());
    }

    let view: JobView = cbor::from_slice("job", &client.get(&format!("/v1/jobs/{}", task.job)).body, MAX).unwrap();
    assert_eq!((view.phase, view.rounds.len()), (JobPhase::Closed, 1), "all of it can still be asked for");

    let export = client.get("/v1/export");
    let report = verify::log(export.body.as_slice(), &vkey()).unwrap();
    assert_eq!(report.seal, client.head().seal);
    assert!(report.sums.add_up() && report.sums.workers == 40 && report.sums.validators == 20);
    let note = client.get("/checkpoint").body;
    let checkpoint = orion_ledger_core::Checkpoint::open(&note, &vkey()).unwrap();
    assert_eq!(checkpoint, report.checkpoint);
    let metrics = String::from_utf8(client.get("/metrics").body).unwrap();
    assert!(metrics.contains(r#"orion_ledger_transactions_total{kind="Close",code="Ok"} 1"#), "{metrics}");
    assert_eq!(ledger.stop(), Some(0));
}

#[test]
fn what_was_acknowledged_is_there_after_sigkill() {
    let home = Home::new();
    let mut sum = 0;
    for round in 0..5 {
        let ledger = home.start();
        let client = ledger.client();
        assert_eq!(balance(client), sum, "after kill {round}");
        for one in 0..3 {
            let tx = deposit(round * 3 + one, 10);
            let submitted = client.submit(&tx);
            assert_eq!(submitted.receipt.code, Code::Ok);
            sum += 10;
            if one == 2 {
                // Right after the answer, with nothing in between.
                ledger.kill();
                let ledger = home.start();
                assert_eq!(ledger.client().submit(&tx), submitted, "the same fate as before");
                break;
            }
        }
    }
    let ledger = home.start();
    let export = ledger.client().get("/v1/export");
    let report = verify::log(export.body.as_slice(), &vkey()).unwrap();
    assert_eq!(report.totals.consumers, 150);
}

#[test]
fn a_full_disk_ends_the_ledger_and_takes_nothing_back() {
    let home = Home::new();
    home.start().kill();
    let bytes = std::fs::metadata(home.data().join("ledger.redb")).unwrap().len();
    let ledger = home.start_on_a_small_disk(bytes);
    let client = ledger.client();
    let mut sum = 0;
    let refused = loop {
        let answer = client.post("/v1/transactions", &cbor::to_vec(&deposit(sum, 1)));
        if answer.status != 200 {
            break answer;
        }
        sum += 1;
        assert!(sum < 100_000, "the disk is never full");
    };
    assert_eq!(refused.status, 503);
    assert!(String::from_utf8_lossy(&refused.body).contains("halted"), "{refused:?}");
    assert_eq!(ledger.wait(), Some(1));
    let ledger = home.start();
    let balance = balance(ledger.client());
    assert!(balance == sum || balance == sum + 1, "{balance} of {sum}: only the one without an answer may be either");
    assert_eq!(ledger.client().submit(&deposit(sum, 1)).receipt.code, Code::Ok);
}

#[test]
fn a_lost_volume_is_refused_once_the_log_was_marked_as_begun() {
    let home = Home::new();
    let ledger = home.start();
    assert!(support::awaited(ledger.address, 30).0, "a ledger that is ready is waited for");
    std::fs::write(home.begun(), "").unwrap();
    let address = ledger.address;
    ledger.kill();
    let (ready, said) = support::awaited(address, 1);
    assert!(!ready && said.contains("not ready after 1s"), "{said}");
    home.start().kill();
    std::fs::remove_dir_all(home.data()).unwrap();
    let said = home.start_refused();
    assert!(said.contains("is empty, but this chain's log was begun before"), "{said}");
    std::fs::remove_file(home.begun()).unwrap();
    home.start().kill();
}

#[test]
fn sixty_four_submitters_at_once_share_blocks_and_lose_nothing() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let submitters = 0..64_u64;
    let leaves: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = submitters
            .map(|submitter| {
                scope.spawn(move || {
                    let send = |n: u64| client.submit(&deposit(submitter * 8 + n, 1));
                    // Everybody's first one is the same transaction.
                    let common = client.submit(&deposit(9999, 1));
                    let own = (0..8).map(|n| send(n).leaf);
                    std::iter::once(common.leaf).chain(own).collect()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let common: BTreeSet<u64> = leaves.iter().map(|leaves| leaves[0]).collect();
    let own: BTreeSet<u64> = leaves.iter().flat_map(|leaves| leaves[1..].iter().copied()).collect();
    assert_eq!((common.len(), own.len()), (1, 64 * 8));
    assert_eq!(balance(client), 64 * 8 + 1);
    let export = client.get("/v1/export");
    let report = verify::log(export.body.as_slice(), &vkey()).unwrap();
    assert!(report.seal.height < 64 * 8, "{} blocks: load is grouped", report.seal.height);
}

#[test]
fn requests_that_make_no_sense_are_refused_with_a_reason_and_do_no_harm() {
    let home = Home::new();
    let ledger = home.start();
    let client = ledger.client();
    let good = cbor::to_vec(&deposit(1, 1));
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let answer = client.post("/v1/transactions", &bytes);
        assert_eq!(answer.status, 400, "byte {at}");
        assert!(!answer.body.is_empty());
    }
    let cases: [(u16, &str); 8] = [
        (400, "/v1/accounts/xyz"),
        (400, "/v1/jobs/xyz"),
        (400, "/v1/jobs"),
        (400, "/v1/jobs?closed"),
        (404, "/v1/nothing"),
        (405, "/v1/transactions"),
        (200, "/livez"),
        (200, "/readyz"),
    ];
    for (status, path) in cases {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    let unknown = format!("/v1/jobs/{}", JobId([9; 32]));
    assert_eq!(client.get(&unknown).status, 404);
    assert_eq!(client.post("/v1/transactions", &vec![0; 1 << 20]).status, 413);
    assert_eq!(client.post("/v1/head", &vec![0; 1 << 20]).status, 405);
    assert_eq!(client.head().seal.height, 0, "nothing was ordered");
    assert_eq!(balance(client), 0);
}

#[test]
fn an_escrow_ends_by_itself_in_an_idle_ledger() {
    let home = Home::new();
    let mut keys_policy = Keys::new().genesis();
    keys_policy.policy.escrow_ms = 50;
    std::fs::write(home.genesis(), hex(&keys_policy.to_bytes())).unwrap();
    let ledger = home.start();
    let client = ledger.client();
    let (keys, chain) = (Keys::new(), keys_policy.chain());
    let account = world::consumer(&chain);
    let mut task = spec(1, 4, 4, 2);
    task.policy = keys_policy.policy.digest();
    let consumer = Consumer { account };
    let txs = [
        (Transaction::Deposit(Deposit { consumer: consumer.clone(), amount: 1000 }), 0),
        (Transaction::OpenEpoch(OpenEpoch { epoch: 1, nonce: vec![1; 16].into() }), 1),
        (Transaction::OpenEscrow(OpenEscrow { consumer, task: task.object().into(), budget: 1000 }), 1),
    ];
    for (tx, epoch) in txs {
        let key = if epoch == 0 { &keys.issuer } else { &keys.operator };
        let tx = tx.sign(&chain, key, epoch, TxId::derive(tx.kind(), &JobId::NONE, 0, 0));
        assert_eq!(client.submit(&tx).receipt.code, Code::Ok);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let view: JobView = cbor::from_slice("job", &client.get(&format!("/v1/jobs/{}", task.job)).body, MAX).unwrap();
        if view.phase == JobPhase::Expired {
            assert_eq!(view.paid.refunded, view.escrowed);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "still {:?}", view.phase);
        std::thread::yield_now();
    }
    let escrow = Account::Escrow(task.job).id(&chain);
    let answer = client.get(&format!("/v1/accounts/{escrow}"));
    assert_eq!(cbor::from_slice::<AccountView>("account", &answer.body, MAX).unwrap().balance, 0);
}

#[test]
fn another_genesis_another_key_or_a_second_process_is_refused() {
    let home = Home::new();
    let ledger = home.start();
    assert_eq!(ledger.client().submit(&deposit(1, 1)).receipt.code, Code::Ok);
    assert!(home.start_refused().contains("already open"), "the store is locked");
    ledger.kill();

    std::fs::write(home.key(), hex(&[5; 32])).unwrap();
    assert!(home.start_refused().contains("the genesis names checkpoint key"));
    std::fs::write(home.key(), hex(&[4; 32])).unwrap();

    let mut other = Keys::new().genesis();
    other.policy.price += 1;
    std::fs::write(home.genesis(), hex(&other.to_bytes())).unwrap();
    let said = home.start_refused();
    assert!(said.contains("the stored log does not replay") && said.contains("the genesis starts"), "{said}");

    // The canonical bytes themselves are read as well as their hex.
    std::fs::write(home.genesis(), Keys::new().genesis().to_bytes()).unwrap();
    assert_eq!(balance(home.start().client()), 1);
}
