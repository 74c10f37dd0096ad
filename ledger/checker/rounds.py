"""CloseRound and RecordVerdict: what was signed becomes an entry of a round, and the verdict on it a contribution that is paid."""

from types import SimpleNamespace

from books import No, require
from canonical import Refused
from draws import verdict
from formulas import round_id, seed
from money import MAX_ATTEMPTS, running
from shapes import COMMITMENT, INGESTED, LEASE
from strict import statement

WORK, AUDITS = 1, {2, 5}
MAX_ROUND, MAX_ELIGIBLE = 32, 64


def close_round(state, tx, _):
    job = running(state, tx.job)
    require(1 <= len(tx.entries) <= MAX_ROUND, "OutOfBounds")
    require(len(tx.eligible) <= MAX_ELIGIBLE and tx.eligible == sorted(set(tx.eligible)), "OutOfBounds")
    require(tx.sequence == len(job.rounds), "WrongSequence")
    for key in tx.eligible:
        validates = state.providers.get(key, (None, False))[1]
        require(validates and key not in state.keys.platforms and key not in state.keys.revoked, "BadValidator")
    entries, shards = [], set()
    for one in tx.entries:
        entry = read_entry(state, job, one)
        require(entry.lease.shard not in shards, "SlotTaken")
        shards.add(entry.lease.shard)
        entries.append(entry)
    for shard in shards:
        job.slots.setdefault(shard, [False, False, 0, 0])[0] = True
    name = round_id(tx.job, [entry.commitment_digest for entry in entries])
    job.rounds.append(SimpleNamespace(id=name, eligible=tx.eligible, entries=entries, seed=None))
    state.unsealed.append(job.rounds[-1])


def read_entry(state, job, one):
    lease, lease_digest = signed_lease(state, one.lease)
    check_lease(state, job, lease)
    require(lease.provider not in state.keys.revoked, "Revoked")
    require(lease.provider in state.providers, "BadCommitment")
    commitment, digest = said(state, COMMITMENT, one.commitment, lease.provider, "BadCommitment")
    short = len(commitment.outputs) <= 8 and len(commitment.driver.encode()) <= 128
    answers = (commitment.lease, commitment.units) == (lease_digest, lease.units)
    require(short and answers and len(commitment.outputs) == len(job.task.outputs), "BadCommitment")
    ingested, _ = said(state, INGESTED, one.ingested, state.keys.platform(), "BadIngest")
    require(ingested.commitment == digest and ingested.refused is None, "BadIngest")
    return SimpleNamespace(
        lease=lease, lease_digest=lease_digest, commitment=commitment, commitment_digest=digest, judged=False
    )


def signed_lease(state, signed):
    """The lease and its digest, signed by the operator of its epoch, whose key is not lost."""
    lease, digest = said(state, LEASE, signed, signed.key, "BadLease")
    require((lease.audit is not None) == (lease.kind in AUDITS), "BadLease")
    require(lease.audit is None or len(lease.audit.units) <= 32, "BadLease")
    require(state.keys.operator_at(lease.token.epoch) == signed.key, "BadLease")
    require(not state.keys.is_lost(signed.key), "Revoked")
    return lease, digest


def said(state, shape, signed, key: bytes, code: str):
    try:
        return statement(shape, state.chain, signed, key)
    except Refused:
        raise No(code) from None


def check_lease(state, job, lease) -> None:
    """For this job's work, cut as the task says, and newer than every judged attempt."""
    of_job = lease.kind == WORK and lease.task == job.digest
    cut = job.cut.shard(lease.shard) == (lease.first_unit, lease.units)
    token = lease.token
    require(of_job and cut and token.epoch <= state.epoch and token.attempt > 0 and token.copy == 0, "BadLease")
    is_open, accepted, judged, fence = job.slots.get(lease.shard, [False, False, 0, 0])
    require(not accepted and not is_open, "SlotTaken")
    require(judged == 0 or token.attempt > fence, "BadLease")
    require(judged < MAX_ATTEMPTS, "OutOfBounds")


def record_verdict(state, tx, _):
    job = running(state, tx.job)
    require(1 <= len(tx.shards) <= MAX_ROUND, "OutOfBounds")
    require(tx.sequence == job.verdicts, "WrongSequence")
    found = [one for one in job.rounds if one.id == tx.round]
    require(found and found[0].seed is not None, "NoSuchRound")
    round_, judged = found[0], []
    for evidence in tx.shards:
        entries = [one for one in round_.entries if one.lease_digest == evidence.lease and not one.judged]
        require(entries, "NoSuchRound")
        outcome = verdict(case_of(state, job, round_, entries[0]), evidence)
        require(all(entry is not entries[0] for entry, _ in judged), "NoSuchRound")
        judged.append((entries[0], outcome))
    job.verdicts += 1
    for entry, outcome in judged:
        write(job, entry, outcome)


def case_of(state, job, round_, entry):
    owner = lambda key: state.providers[key][0]
    return SimpleNamespace(
        chain=state.chain, seed=round_.seed, round=round_.id, entry=entry, audits=job.task.audits_per_shard,
        platform=state.keys.platform(), platforms=state.keys.platforms, is_lost=state.keys.is_lost, owners={key: owner(key) for key in round_.eligible},
        worker_owner=owner(entry.lease.provider),
    )


def write(job, entry, outcome) -> None:
    lease = entry.lease
    slot = job.slots[lease.shard]
    job.slots[lease.shard] = [False, outcome.accepted, slot[2] + 1, lease.token.attempt]
    entry.judged = True
    if outcome.accepted:
        job.workers[entry.commitment_digest] = (lease.provider, job.cut.work(lease.first_unit, lease.units))
    for digest, key, units in outcome.upheld:
        job.validators[digest] = (key, sum(job.cut.work(unit, 1) for unit in units))


def sealed(state, size: int, root: bytes) -> None:
    """Seeds the draws of the rounds that were closed in the block that ends here."""
    for round_ in state.unsealed:
        round_.seed = seed(state.chain, size, root, round_.id)
    state.unsealed = []
