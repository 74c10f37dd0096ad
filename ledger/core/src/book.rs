//! Double entry: balances by account, sums by kind, and all-or-nothing sets of moves. Only the issuance may be overdrawn.
//!
//! A balance is filed under id *and* kind. Ids are hashes over the kind, so this changes nothing for honest ids; an issuer
//! that deposits to a made-up consumer id that is really a job's escrow still cannot mix the two.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::cbor::{Part, frame_digest};
use orion_protocol::ids::Account;
use orion_protocol::ledger::leaf::{Code, Totals, Transfer};
use orion_protocol::{AccountId, ChainId, Digest, JobId, PublicKey};

/// No more micro-credits than this are ever issued: every sum of balances fits 63 bits.
pub(crate) const MAX_SUPPLY: u64 = (1 << 63) - 1;

/// What an account is for. The numbers are part of the state hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Issuance = 0,
    Consumer = 1,
    Escrow = 2,
    Vesting = 3,
    Available = 4,
    Treasury = 5,
    Stake = 6,
    Unbonding = 7,
    SlashPool = 8,
}

impl Kind {
    /// Those with a balance of their own: all but the issuance.
    const HELD: [Kind; 8] = [
        Kind::Consumer,
        Kind::Escrow,
        Kind::Vesting,
        Kind::Available,
        Kind::Treasury,
        Kind::Stake,
        Kind::Unbonding,
        Kind::SlashPool,
    ];
}

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) id: AccountId,
    pub(crate) kind: Kind,
}

impl Place {
    pub(crate) fn issuance(chain: &ChainId) -> Place {
        Place { id: Account::Issuance.id(chain), kind: Kind::Issuance }
    }

    pub(crate) fn consumer(id: AccountId) -> Place {
        Place { id, kind: Kind::Consumer }
    }

    pub(crate) fn escrow(chain: &ChainId, job: JobId) -> Place {
        Place { id: Account::Escrow(job).id(chain), kind: Kind::Escrow }
    }

    pub(crate) fn vesting(chain: &ChainId, key: PublicKey, job: JobId) -> Place {
        Place { id: Account::Vesting(key, job).id(chain), kind: Kind::Vesting }
    }

    pub(crate) fn available(chain: &ChainId, key: PublicKey) -> Place {
        Place { id: Account::Available(key).id(chain), kind: Kind::Available }
    }

    pub(crate) fn treasury(chain: &ChainId) -> Place {
        Place { id: Account::Treasury.id(chain), kind: Kind::Treasury }
    }

    pub(crate) fn stake(chain: &ChainId, key: PublicKey) -> Place {
        Place { id: Account::Stake(key).id(chain), kind: Kind::Stake }
    }

    pub(crate) fn unbonding(chain: &ChainId, key: PublicKey) -> Place {
        Place { id: Account::Unbonding(key).id(chain), kind: Kind::Unbonding }
    }

    pub(crate) fn slash_pool(chain: &ChainId) -> Place {
        Place { id: Account::SlashPool.id(chain), kind: Kind::SlashPool }
    }
}

/// Money that is to move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) amount: u64,
}

/// All balances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    /// Accounts with a balance above 0; the issuance is only in the totals.
    balances: BTreeMap<Place, u64>,
    /// What of them is held back; nothing that is 0.
    pending: BTreeMap<Place, u64>,
    totals: Totals,
    /// Whose balance was written since the last [`Book::seal`].
    changed: BTreeSet<Place>,
}

impl Book {
    pub(crate) fn balance(&self, place: &Place) -> u64 {
        self.balances.get(place).copied().unwrap_or(0)
    }

    /// The sum over all kinds that the id is used with: for honest ids, the one account.
    pub(crate) fn balance_of_id(&self, id: AccountId) -> u64 {
        let all = Place { id, kind: Kind::Issuance }..=Place { id, kind: Kind::SlashPool };
        self.balances.range(all).fold(0, |sum: u64, (_, balance)| sum.saturating_add(*balance))
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// What of a balance is held back.
    pub(crate) fn pending(&self, place: &Place) -> u64 {
        self.pending.get(place).copied().unwrap_or(0)
    }

    /// Everything that is held back, ascending by account.
    pub(crate) fn all_pending(&self) -> impl Iterator<Item = (Place, u64)> {
        self.pending.iter().map(|(place, held)| (*place, *held))
    }

    /// Holds back so much of a balance, which nothing can move until it is let go.
    pub(crate) fn hold(&mut self, place: Place, amount: u64) -> Result<(), Code> {
        let held = self.pending(&place).checked_add(amount).ok_or(Code::Overflow)?;
        if held > self.balance(&place) {
            return Err(Code::InsufficientCredits);
        }
        self.set_pending(place, held);
        Ok(())
    }

    /// Lets go of what was held back.
    pub(crate) fn let_go(&mut self, place: Place, amount: u64) {
        self.set_pending(place, self.pending(&place).saturating_sub(amount));
    }

    fn set_pending(&mut self, place: Place, held: u64) {
        self.changed.insert(place);
        if held == 0 {
            self.pending.remove(&place);
        } else {
            self.pending.insert(place, held);
        }
    }

    /// Does all the moves, in order, or none. Moves of nothing are left out of the transfers.
    pub(crate) fn apply(&mut self, moves: &[Move]) -> Result<Vec<Transfer>, Code> {
        let mut after: BTreeMap<Place, u64> = BTreeMap::new();
        let mut totals = self.totals;
        let mut transfers = Vec::new();
        for Move { from, to, amount } in moves.iter().filter(|one| one.amount > 0) {
            if from.kind != Kind::Issuance {
                let have = after.get(from).copied().unwrap_or_else(|| self.balance(from));
                let left = have.checked_sub(*amount).filter(|left| *left >= self.pending(from));
                after.insert(*from, left.ok_or(Code::InsufficientCredits)?);
            }
            take(&mut totals, from.kind, *amount)?;
            if to.kind != Kind::Issuance {
                let have = after.get(to).copied().unwrap_or_else(|| self.balance(to));
                after.insert(*to, have.checked_add(*amount).ok_or(Code::Overflow)?);
            }
            give(&mut totals, to.kind, *amount)?;
            transfers.push(Transfer { from: from.id, to: to.id, amount: *amount });
        }
        self.totals = totals;
        for (place, balance) in after {
            self.changed.insert(place);
            if balance == 0 {
                self.balances.remove(&place);
            } else {
                self.balances.insert(place, balance);
            }
        }
        Ok(transfers)
    }

    /// The state hash of the block that ends here: SHA3(frame("orion/ledger-state/v1", previous, [[account, kind, balance],
    /// ...])) over what changed, ascending; a row ends with what is held back, where something is. Starts the next block's
    /// changes.
    pub(crate) fn seal(&mut self, previous: &Digest) -> Digest {
        let changed = std::mem::take(&mut self.changed);
        let row = |place: &'_ Place| {
            let held = self.pending(place);
            let row = [place.kind as u64, self.balance(place)].map(Part::U64);
            row.into_iter().chain((held > 0).then_some(Part::U64(held))).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<Part<'_>>> =
            changed.iter().map(|place| std::iter::once(Part::Bytes(&place.id.0)).chain(row(place)).collect()).collect();
        let rows: Vec<Part<'_>> = rows.iter().map(|row| Part::List(row)).collect();
        frame_digest("orion/ledger-state/v1", &[Part::Bytes(&previous.0), Part::List(&rows)])
    }

    /// The accounts of one kind, ascending.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (Place, u64)> {
        let those = self.balances.iter().filter(move |(place, _)| place.kind == kind);
        those.map(|(place, balance)| (*place, *balance))
    }

    /// Forgets what was written since the last seal: for a book that is put together.
    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    /// Every balance above 0, ascending; for snapshots, at a seal.
    pub(crate) fn rows(&self) -> Vec<(AccountId, u64, u64)> {
        self.balances.iter().map(|(place, balance)| (place.id, place.kind as u64, *balance)).collect()
    }

    /// The book with these balances; `None` when they are not what [`Book::rows`] gives, or are not what `totals` says.
    pub(crate) fn of_rows(rows: &[(AccountId, u64, u64)], totals: Totals) -> Option<Book> {
        let mut book = Book { totals, ..Book::default() };
        for (id, kind, balance) in rows {
            let kind = Kind::HELD.into_iter().find(|one| *one as u64 == *kind)?;
            let place = Place { id: *id, kind };
            let ascending = book.balances.last_key_value().is_none_or(|(last, _)| *last < place);
            if !ascending || *balance == 0 {
                return None;
            }
            book.balances.insert(place, *balance);
        }
        (book.balances_out() && book.sums_hold()).then_some(book)
    }

    /// Whether deposited = the sum of everything else, what was withdrawn included.
    pub(crate) fn balances_out(&self) -> bool {
        let Totals {
            deposited,
            consumers,
            escrows,
            vesting,
            providers,
            treasury,
            stakes,
            unbonding,
            slash_pool,
            withdrawn,
        } = self.totals;
        let rest = [consumers, escrows, vesting, providers, treasury, stakes, unbonding, slash_pool, withdrawn];
        rest.iter().try_fold(0_u64, |sum, one| sum.checked_add(*one)) == Some(deposited)
    }

    /// Whether the sums by kind are those of the balances; slow, for audits.
    pub(crate) fn sums_hold(&self) -> bool {
        let Totals { deposited, withdrawn, .. } = self.totals;
        let mut sums = Totals { deposited, withdrawn, ..Totals::default() };
        let added = self.balances.iter().all(|(place, balance)| give(&mut sums, place.kind, *balance).is_ok());
        added && sums == self.totals
    }
}

fn take(totals: &mut Totals, kind: Kind, amount: u64) -> Result<(), Code> {
    if kind == Kind::Issuance {
        let deposited = totals.deposited.checked_add(amount).filter(|sum| *sum <= MAX_SUPPLY);
        totals.deposited = deposited.ok_or(Code::Overflow)?;
        return Ok(());
    }
    let sum = sum_of(totals, kind);
    *sum = sum.checked_sub(amount).ok_or(Code::InsufficientCredits)?;
    Ok(())
}

fn give(totals: &mut Totals, kind: Kind, amount: u64) -> Result<(), Code> {
    // What goes back to where deposits come from has left.
    let sum = if kind == Kind::Issuance { &mut totals.withdrawn } else { sum_of(totals, kind) };
    *sum = sum.checked_add(amount).ok_or(Code::Overflow)?;
    Ok(())
}

fn sum_of(totals: &mut Totals, kind: Kind) -> &mut u64 {
    match kind {
        Kind::Issuance => &mut totals.deposited,
        Kind::Consumer => &mut totals.consumers,
        Kind::Escrow => &mut totals.escrows,
        Kind::Vesting => &mut totals.vesting,
        Kind::Available => &mut totals.providers,
        Kind::Treasury => &mut totals.treasury,
        Kind::Stake => &mut totals.stakes,
        Kind::Unbonding => &mut totals.unbonding,
        Kind::SlashPool => &mut totals.slash_pool,
    }
}
