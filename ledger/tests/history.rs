//! Histories over HTTP: every transfer is in those of its two sides, whatever the pages, and a store that has none gets them.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use orion_ledger::http::{Limits, Shared, router};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::{Ended, Past};
use orion_ledger::serve::{self, serve};
use orion_protocol::ids::Account;
use orion_protocol::ledger::api::{AccountView, History, HistoryRow};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Transfer};
use orion_protocol::ledger::tx::{Consumer, Deposit, Purse, Reserve, Settle, Transaction, Withdraw};
use orion_protocol::task::TaskSpec;
use orion_protocol::{AccountId, Digest, JobId, cbor};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use support::Client;
use support::local::{open_at, stored};
use support::world::{START_MS, World, key, spec};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const MAX: usize = 1 << 20;

/// A ledger over a directory, and a client of it.
struct Served {
    client: Client,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    gone: tokio::task::JoinHandle<()>,
    ended: Ended,
}

impl Served {
    fn new(directory: &Path) -> Served {
        let runtime = Runtime::new().unwrap();
        // Before any deadline of the world's jobs.
        let clock = Arc::new(|| START_MS + 1_000);
        let (node, ended) = open_at(&runtime, directory, Past::Begun, clock).unwrap();
        let shared = Shared::new(Arc::new(Metrics::default()), Limits::default());
        shared.ready(node);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let client = Client { address: listener.local_addr().unwrap() };
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let gone = runtime.spawn(serve(listener, router(shared), serve::Limits::default(), stopped));
        Served { client, runtime, stop, gone, ended }
    }

    /// Ends it; its store may be opened again then.
    fn end(self) {
        let Served { client: _, runtime, stop, gone, ended } = self;
        stop.send(()).unwrap();
        runtime.block_on(gone).unwrap();
        runtime.block_on(ended).unwrap().unwrap();
    }

    fn page(&self, path: &str) -> History {
        let answer = self.client.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        cbor::from_slice("history", &answer.body, MAX).unwrap()
    }

    /// A whole history, in pages of so many rows.
    fn all(&self, path: &str, limit: usize) -> Vec<HistoryRow> {
        let (mut rows, mut from) = (Vec::new(), 0);
        loop {
            let page = self.page(&format!("{path}?from={from}&limit={limit}"));
            assert!(page.rows.len() == limit || page.next.is_none(), "{} rows of {limit}", page.rows.len());
            rows.extend(page.rows);
            match page.next {
                Some(next) => from = next,
                None => return rows,
            }
        }
    }

    fn account(&self, account: AccountId) -> Vec<HistoryRow> {
        self.all(&format!("/v1/history/account/{account}"), 1000)
    }

    fn job(&self, job: JobId) -> Vec<HistoryRow> {
        self.all(&format!("/v1/history/job/{job}"), 1000)
    }
}

/// A job that was paid and one whose page was asked for too early, a provider's reserve, and a withdrawal from it.
fn world() -> (World, [TaskSpec; 2]) {
    let mut world = World::new();
    let tasks = [spec(1, 4, 4, 2), spec(2, 4, 4, 2)];
    world.pay(&tasks[0]);
    assert_eq!(world.open_escrow(&tasks[1]), Code::Ok);
    assert_eq!(world.send(&Transaction::Settle(Settle { job: tasks[1].job, page: 1 })), Code::WrongSequence);
    let (provider, id) = (key(11), world.id());
    let reserve = Reserve { amount: 2, expires_ms: world.time_ms + 60_000 };
    let reserve = Transaction::Reserve(reserve).sign(&world.signers.chain, &provider, 0, id);
    assert_eq!(world.block(vec![reserve])[0].code, Code::Ok);
    let from = Purse::Available(provider.public());
    let withdraw = Withdraw { from, amount: 1, to: Digest::of(b"bank"), reserve: None };
    let by = [world.signers.keys.issuer.clone(), provider];
    assert_eq!(world.approved(&Transaction::Withdraw(withdraw), &by).code, Code::Ok);
    (world, tasks)
}

/// What the log itself says: leaf, receipt's code, transfers.
fn log(world: &World) -> Vec<(u64, Code, Vec<Transfer>)> {
    let told = |(at, leaf): (u64, &Vec<u8>)| match Leaf::from_bytes(leaf).unwrap().body {
        LeafBody::Transaction(_, receipt)
        | LeafBody::Expire(_, receipt)
        | LeafBody::Mature(_, receipt)
        | LeafBody::Lapse(_, receipt) => Some((at, receipt.code, receipt.transfers)),
        LeafBody::Genesis(_) | LeafBody::Seal(_) => None,
    };
    (0..).zip(&world.log).filter_map(told).collect()
}

fn accounts(world: &World) -> BTreeSet<AccountId> {
    let transfers = log(world).into_iter().flat_map(|(_, _, transfers)| transfers);
    transfers.flat_map(|transfer| [transfer.from, transfer.to]).collect()
}

#[test]
fn every_transfer_is_in_the_histories_of_both_sides_and_they_add_up_to_the_balance() {
    let (world, _) = world();
    let directory = stored(&world);
    let served = Served::new(directory.path());
    let issuance = Account::Issuance.id(&world.signers.chain);
    let accounts = accounts(&world);
    assert!(accounts.len() >= 7, "issuance, consumer, two escrows, vesting, available, treasury");
    for account in accounts {
        let rows = served.account(account);
        let moved: Vec<(u64, Transfer)> = rows.iter().map(|row| (row.leaf, row.transfer.unwrap())).collect();
        let touches = |one: &Transfer| one.from == account || one.to == account;
        let want = log(&world).into_iter().flat_map(|(at, _, moved)| moved.into_iter().map(move |one| (at, one)));
        assert_eq!(moved, want.filter(|(_, one)| touches(one)).collect::<Vec<_>>());
        let sum = |is: &dyn Fn(&Transfer) -> bool| -> u64 {
            moved.iter().filter(|(_, one)| is(one)).map(|(_, one)| one.amount).sum()
        };
        let (into, out) = (sum(&|one| one.to == account), sum(&|one| one.from == account));
        let view = served.client.get(&format!("/v1/accounts/{account}")).body;
        let balance = cbor::from_slice::<AccountView>("account", &view, MAX).unwrap().balance;
        if account == issuance {
            assert_eq!(out - into, world.chain.totals().deposited - world.chain.totals().withdrawn);
        } else {
            assert_eq!(into - out, balance, "{account}");
        }
    }
    let nobody = served.page(&format!("/v1/history/account/{}", AccountId([9; 32])));
    assert_eq!(nobody, History { rows: Vec::new(), next: None });
}

#[test]
fn a_job_tells_all_that_was_ordered_about_it_with_its_time() {
    let (world, tasks) = world();
    let directory = stored(&world);
    let served = Served::new(directory.path());
    let told = |job| -> Vec<(String, Code, bool)> {
        let rows = served.job(job).into_iter();
        let mut told: Vec<_> = rows.map(|row| (row.kind, row.code, row.transfer.is_some())).collect();
        told.dedup();
        told
    };
    let moved = |kind: &str| (kind.to_owned(), Code::Ok, true);
    let still = |kind: &str| (kind.to_owned(), Code::Ok, false);
    let life = [moved("OpenEscrow"), still("CloseRound"), still("RecordVerdict"), moved("Settle"), moved("Close")];
    assert_eq!(told(tasks[0].job), life);
    assert_eq!(told(tasks[1].job), [moved("OpenEscrow"), ("Settle".to_owned(), Code::WrongSequence, false)]);
    assert_eq!(told(JobId([9; 32])), []);
    for row in served.job(tasks[0].job) {
        let seal = world.seals.iter().find(|seal| seal.height == row.height).unwrap();
        assert_eq!((row.time_ms, row.job), (seal.time_ms, Some(tasks[0].job)));
        assert!(row.leaf < seal.size);
    }
    // What is approved is what it says.
    let available = Account::Available(key(11).public()).id(&world.signers.chain);
    assert_eq!(served.account(available).last().unwrap().kind, "Withdraw");
}

#[test]
fn pages_of_any_size_make_the_same_history() {
    let (world, tasks) = world();
    let directory = stored(&world);
    let served = Served::new(directory.path());
    let escrow = Account::Escrow(tasks[0].job).id(&world.signers.chain);
    for path in [format!("/v1/history/account/{escrow}"), format!("/v1/history/job/{}", tasks[0].job)] {
        let whole = served.all(&path, 1000);
        let most_of_a_leaf = whole.chunk_by(|a, b| a.leaf == b.leaf).map(<[_]>::len).max();
        assert!(most_of_a_leaf > Some(2), "a page ends within a leaf");
        for limit in 1..=whole.len() {
            assert_eq!(served.all(&path, limit), whole, "{limit} rows a page");
        }
        for (query, why) in [
            ("limit=0", "1 to 1000 rows"),
            ("limit=1001", "1 to 1000 rows"),
            ("from=-1", "from: invalid digit"),
            ("from=18446744073709551616", "from: number too large"),
            ("to=3", "only from and limit"),
        ] {
            let answer = served.client.get(&format!("{path}?{query}"));
            assert_eq!(answer.status, 400, "{query}");
            let said = String::from_utf8(answer.body).unwrap();
            assert!(said.contains(why), "{query}: {said}");
        }
        let past = served.page(&format!("{path}?from={}", u64::MAX));
        assert_eq!(past, History { rows: Vec::new(), next: None });
    }
    for path in ["/v1/history/account/12", "/v1/history/job/x", "/v1/history/account/"] {
        assert!(matches!(served.client.get(path).status, 400 | 404), "{path}");
    }
}

type Rows = TableDefinition<'static, &'static [u8; 40], ()>;
const ACCOUNTS: Rows = TableDefinition::new("account_leaves");
const JOBS: Rows = TableDefinition::new("job_leaves");
const FILED: TableDefinition<'static, &'static str, u64> = TableDefinition::new("filed");

#[test]
fn a_store_of_an_earlier_version_gets_its_histories_at_its_start() {
    let (world, tasks) = world();
    let directory = stored(&world);
    let ids = accounts(&world);
    let all = |directory: &Path| {
        let served = Served::new(directory);
        let mut rows: Vec<_> = ids.iter().map(|account| served.account(*account)).collect();
        rows.extend(tasks.iter().map(|task| served.job(task.job)));
        served.end();
        rows
    };
    let want = all(directory.path());
    let database = || Database::open(directory.path().join("ledger.redb")).unwrap();
    let write = database().begin_write().unwrap();
    assert!(write.delete_table(ACCOUNTS).unwrap() && write.delete_table(JOBS).unwrap());
    assert!(write.delete_table(FILED).unwrap());
    write.commit().unwrap();
    assert_eq!(all(directory.path()), want);

    // A row that was lost comes back, too: this log has no snapshot, so all of it is replayed.
    let database = database();
    let table = database.begin_read().unwrap().open_table(ACCOUNTS).unwrap();
    let key = *table.first().unwrap().unwrap().0.value();
    drop(table);
    let write = database.begin_write().unwrap();
    write.open_table(ACCOUNTS).unwrap().remove(&key).unwrap();
    write.commit().unwrap();
    drop(database);
    assert_eq!(all(directory.path()), want);
}

#[test]
fn what_is_ordered_later_follows_in_the_history() {
    let (mut world, _) = world();
    let directory = stored(&world);
    let served = Served::new(directory.path());
    let account = world.account();
    let before = served.account(account).len();
    let id = world.id();
    let deposit = Transaction::Deposit(Deposit { consumer: Consumer { account }, amount: 7 });
    let submitted = served.client.submit(&world.sign(&deposit, id));
    let rows = served.account(account);
    let last = rows.last().unwrap();
    assert_eq!((rows.len(), last.leaf, last.kind.as_str()), (before + 1, submitted.leaf, "Deposit"));
    assert_eq!(last.transfer.unwrap().amount, 7);
}
