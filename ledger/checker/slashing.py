"""Slash: what two votes show, that their key gave two digests for one unit of a model's job; and what it loses for it."""

import books
from books import MAX, require
from canonical import Refused, sha3
from draws import check_vote
from money import price_of
from rounds import signed_lease
from shapes import MODEL, TASK, VOTE
from state import Cut, task_fits
from strict import statement

WORK = 1
MAX_WORKLOAD = 96 * 1024


def slash(state, tx, sent):
    require(sent.signer in (state.keys.custodian(state.epoch), *state.issuers[1]), "NotAllowed")
    job_id, key, owed = guilt(state, tx)
    digest, consumer, slashed = state.liable[job_id]
    place = state.books.place
    places = [place(books.VESTING, key, job_id), place(books.STAKE, key), place(books.UNBONDING, key)]
    have = [state.books.balance(one) for one in places]
    left, lost, moves = sum(have) * state.bonds[1] // 10**6, [], []
    require(left <= MAX, "Overflow")
    for source, amount in zip(places, have):
        taken = min(amount, left)
        back = min(taken, owed)
        left, owed = left - taken, owed - back
        lost.append(taken)
        moves += [(source, (consumer, books.CONSUMER), back), (source, place(books.SLASH_POOL), taken - back)]
    require(any(lost), "NotSlashable")
    transfers = state.books.move(moves)
    shrink(state, job_id, key, lost[0], lost[2])
    slashed.add(key)
    return transfers


def shrink(state, job_id: bytes, key: bytes, vesting: int, unbonding: int) -> None:
    """So much less matures, page by page, and is freed, by id. An emptied page keeps its time: others can still be slashed."""
    for name in sorted(name for name in state.vests if name[0] == job_id):
        amounts = state.vests[name][1]
        taken = min(amounts.get(key, 0), vesting)
        vesting -= taken
        if key in amounts:
            amounts[key] -= taken
            if not amounts[key]:
                del amounts[key]
    for name in sorted(name for name, one in state.unbondings.items() if one[0] == key):
        taken = min(state.unbondings[name][1], unbonding)
        unbonding -= taken
        state.unbondings[name][1] -= taken
        if not state.unbondings[name][1]:
            del state.unbondings[name]


def guilt(state, tx):
    """The job, whose key it is, and the price of what it told twice."""
    key = tx.first.key
    try:
        task = TASK.open(tx.task, 16 * 1024)
        fits = task_fits(task)
    except Refused:
        fits = False
    require(fits, "OutOfBounds")
    digest, _, slashed = state.liable.get(task.job, (None, None, ()))
    require(digest == sha3(tx.task) and key in state.providers and key not in slashed, "NotSlashable")
    require(sha3(tx.workload) == task.workload and is_model(tx.workload), "NotSlashable")
    require(not state.keys.is_lost(key), "Revoked")
    job = state.jobs[task.job]
    require(job.phase in ("closed", "expired") or settled(job), "NotSettled")
    lease, lease_digest = signed_lease(state, tx.lease)
    votes = [vote(state, one, key, lease_digest, digest) for one in (tx.first, tx.second)]
    require(all(votes), "NotSlashable")
    cut = Cut(task.units)
    of_job = (lease.kind, lease.task) == (WORK, digest) and cut.shard(lease.shard) == (lease.first_unit, lease.units)
    require(of_job and votes[0].round == votes[1].round, "NotSlashable")
    said = {one.unit: one.digest for one in votes[0].units}
    twice = [
        one.unit
        for one in votes[1].units
        if said.get(one.unit, one.digest) != one.digest and 0 <= one.unit - lease.first_unit < lease.units
    ]
    owed = price_of(sum(cut.work(unit, 1) for unit in twice), task.price)
    require(bool(twice), "NotSlashable")
    return task.job, key, owed


def settled(job) -> bool:
    return job.shares is not None and job.pages_done >= job.pages()


def is_model(workload: bytes) -> bool:
    try:
        MODEL.open(workload, MAX_WORKLOAD)
    except Refused:
        return False
    return True


def vote(state, signed, key: bytes, lease: bytes, task: bytes):
    """Only one that says by which task its units were computed: the same lease can be named under two tasks."""
    try:
        said, _ = statement(VOTE, state.chain, signed, key)
    except Refused:
        return None
    return said if check_vote(said) and (said.lease, said.task) == (lease, task) else None
