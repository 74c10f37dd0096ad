//! Reward policies: the rules of money that a job pins by the policy's id. The id is the digest of the policy's canonical bytes,
//! so whoever knows the id knows every number, and nobody can change one for a job that exists.
//!
//! What is here is the one kind there is: a set of parameters. An id of another kind will be framed under
//! `orion/policy/v2` with the kind and the version of what evaluates it, so that no upgrade can price an old job anew; ids of
//! parameters stay what they are.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::digest::Digest;
use crate::ledger::leaf::Code;

/// All of something, in parts per million.
pub const MILLION: u32 = 1_000_000;

/// The rules of money that a job pins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Policy {
    /// Price in micro-credits per million work.
    #[n(0)]
    pub price: u64,
    /// The platform's fee in parts per million of what workers and validators get; 0 where the pool is split.
    #[n(1)]
    pub fee_ppm: u32,
    /// How long earnings vest, in milliseconds; 0 matures them in the same block.
    #[n(2)]
    pub vesting_ms: u64,
    /// How long an escrow lasts, in milliseconds of block time.
    #[n(3)]
    pub escrow_ms: u64,
    /// What audited work is paid, in parts per million of the price of work; absent: the whole price, or the pool's split.
    #[n(4)]
    pub validator_ppm: Option<u32>,
    /// What is paid: by the work, which is what it is where this is left out, or a pool that is split.
    #[cbor(n(5), skip_if = "Mode::is_per_work")]
    pub mode: Mode,
}

/// What a job pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum Mode {
    /// Accepted and audited work, each at its price; the rest of the escrow goes back.
    #[n(0)]
    #[default]
    PerWork,
    /// The whole escrow: what the job's work costs at the price, and what was added since. All of it is split among those
    /// whose work was accepted, however little that was; where none was, it goes back.
    #[n(1)]
    Pool(#[n(0)] Split),
}

impl Mode {
    fn is_per_work(&self) -> bool {
        *self == Mode::PerWork
    }
}

/// Whose a pool is, in parts per million, a million together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Split {
    /// Of those whose work was accepted, and what rounding leaves of the others' parts.
    #[n(0)]
    pub workers: u32,
    /// Of those whose votes were upheld.
    #[n(1)]
    pub validators: u32,
    /// The platform's.
    #[n(2)]
    pub treasury: u32,
}

/// A field that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// Which, as people write it.
    pub field: &'static str,
    /// With what a policy is refused for it.
    pub code: Code,
    /// What is wrong, and what is allowed.
    pub words: String,
}

impl Policy {
    /// The longest encoding of a published policy, in bytes.
    pub const MAX_BYTES: usize = 1024;
    /// The highest published price, in micro-credits per million work.
    pub const MAX_PRICE: u64 = 1_000_000_000_000;
    /// The longest that earnings vest, in milliseconds: 365 days.
    pub const MAX_VESTING_MS: u64 = 365 * 86_400_000;
    /// The longest that an escrow of a published policy lasts, in milliseconds: 365 days.
    pub const MAX_ESCROW_MS: u64 = 365 * 86_400_000;

    /// Pays by the work, whoever does it.
    pub const fn per_work(price: u64, fee_ppm: u32, vesting_ms: u64, escrow_ms: u64) -> Policy {
        Policy { price, fee_ppm, vesting_ms, escrow_ms, validator_ppm: None, mode: Mode::PerWork }
    }

    /// Digest of the policy's canonical bytes, by which a TaskSpec names it.
    pub fn digest(&self) -> Digest {
        cbor::frame_digest("orion/policy/v1", &[cbor::Part::Bytes(&cbor::to_vec(self))])
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes; says nothing about their numbers.
    pub fn from_bytes(bytes: &[u8]) -> Result<Policy, CborError> {
        cbor::from_slice("policy", bytes, Self::MAX_BYTES)
    }

    /// Every field that keeps it from being published, in the order of the fields.
    pub fn out_of_bounds(&self) -> Vec<OutOfBounds> {
        let Policy { price, fee_ppm, vesting_ms, escrow_ms, validator_ppm, mode } = self;
        let mut found = Vec::new();
        let mut expect = |good: bool, field, code, words: String| {
            if !good {
                found.push(OutOfBounds { field, code, words });
            }
        };
        let over = |have: u64, most: u64| format!("{have} is over {most}");
        let share = |ppm: u32| over(ppm.into(), MILLION.into());
        let (price_good, price_words) = (*price <= Self::MAX_PRICE, over(*price, Self::MAX_PRICE));
        expect(price_good, "price", Code::PolicyPrice, price_words);
        expect(*fee_ppm <= MILLION, "feePpm", Code::PolicyShares, share(*fee_ppm));
        let vesting_words = over(*vesting_ms, Self::MAX_VESTING_MS);
        expect(*vesting_ms <= Self::MAX_VESTING_MS, "vestingMs", Code::PolicyTimes, vesting_words);
        let escrow_words = format!("{escrow_ms} is not between 1 and {}", Self::MAX_ESCROW_MS);
        expect((1..=Self::MAX_ESCROW_MS).contains(escrow_ms), "escrowMs", Code::PolicyTimes, escrow_words);
        let audits = validator_ppm.unwrap_or(0);
        expect(audits <= MILLION, "validatorPpm", Code::PolicyShares, share(audits));
        if let Mode::Pool(Split { workers, validators, treasury }) = mode {
            let sum: u64 = [workers, validators, treasury].into_iter().map(|part| u64::from(*part)).sum();
            let words = format!("the parts add up to {sum}, not to {MILLION}");
            expect(sum == u64::from(MILLION), "splitPpm", Code::PolicyShares, words);
            let words = "must be 0 where a pool is split: splitPpm has the platform's part".to_owned();
            expect(*fee_ppm == 0, "feePpm", Code::PolicyShares, words);
            let words = "must be left out where a pool is split: splitPpm has the validators' part".to_owned();
            expect(validator_ppm.is_none(), "validatorPpm", Code::PolicyShares, words);
        }
        found
    }
}

/// Publishes a policy, for jobs to name. The words of the issuers: only within [`super::tx::Approved`]. Publishing what is
/// published changes nothing. A policy of another kind will say so, and by which version it is evaluated, in fields of its own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PublishPolicy {
    /// Canonical bytes of a [`Policy`].
    #[n(0)]
    pub policy: ByteVec,
}

impl PublishPolicy {
    /// At most so many policies are ever published on a chain.
    pub const MAX_POLICIES: usize = 4096;
}

/// What holds for new jobs from now on. The words of the issuers: only within [`super::tx::Approved`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Params {
    /// The policy of jobs that name none.
    #[n(0)]
    pub policy: Digest,
}
