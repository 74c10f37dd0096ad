"""What a job locks, how its pay is split, and when it is whose (protocol, section 5)."""

import books
from books import MAX, No, require
from formulas import split

MAX_ATTEMPTS = 4
PAGE = 200


def amount(x: int) -> int:
    require(x < 1 << 63, "Overflow")
    return x


def price_of(work: int, price: int) -> int:
    return amount(work * price // 10**6)


def audits_of(work: int, policy) -> int:
    """The price of audited work, or the policy's part of it, rounded down once."""
    if policy.validator_ppm is None:
        return price_of(work, policy.price)
    return amount(work * policy.price * policy.validator_ppm // 10**12)


def escrow_of(task, policy) -> int:
    """All work, the worst case of audits, and the fee on both; a pool is the price of the work."""
    table = task.units
    units = -(-table.items // table.items_per_unit)
    shards = -(-units // table.units_per_shard)
    largest = min(table.items, table.items_per_unit) * table.work_per_item
    drawn = min(table.units_per_shard, task.audits_per_shard)
    work = price_of(table.items * table.work_per_item, task.price)
    if policy.mode is not None:
        return work
    both = amount(work + audits_of(MAX_ATTEMPTS * shards * drawn * largest, policy))
    return amount(both + amount(both * task.fee_ppm // 10**6))


def running(state, job_id: bytes):
    """The job, while rounds may close and verdicts be recorded."""
    job = unended(state, job_id)
    require(job.phase == "open", "JobSettling")
    return job


def unended(state, job_id: bytes):
    require(job_id in state.jobs, "NoSuchJob")
    job = state.jobs[job_id]
    require(job.phase != "closed", "JobSettling")
    require(job.phase != "expired", "EscrowExpired")
    return job


def top_up(state, tx, _):
    job = running(state, tx.job)
    require(tx.amount > 0, "OutOfBounds")
    require(job.escrowed + tx.amount <= MAX, "Overflow")
    escrow = state.books.place(books.ESCROW, tx.job)
    transfers = state.books.move([((job.consumer, books.CONSUMER), escrow, tx.amount)])
    job.escrowed += tx.amount
    return transfers


def fix(state, job) -> tuple[list, int]:
    """What everybody gets by the job's policy, workers first, by contribution id; and the fee."""
    policy = state.policies[job.task.policy]
    workers, validators = (
        [contributions[name] for name in sorted(contributions)] for contributions in (job.workers, job.validators)
    )
    accepted, audited = (sum(work for _, work in rows) for rows in (workers, validators))
    if policy.mode is None:
        pools = price_of(accepted, policy.price), audits_of(audited, policy)
        require(sum(pools) <= MAX, "Overflow")
        fee = amount(sum(pools) * policy.fee_ppm // 10**6)
    else:
        parts, pool = policy.mode[1].split, job.escrowed if accepted else 0
        audits, fee = (amount(pool * part // 10**6) for part in (parts.validators, parts.treasury))
        pools = pool - audits - fee, audits
    require(sum(pools) + fee <= MAX, "Overflow")
    require(sum(pools) + fee <= job.escrowed, "PolicyTraps")
    shares = []
    for rows, pool, audit in ((workers, pools[0], False), (validators, pools[1], True)):
        amounts = split(pool, [work for _, work in rows])
        shares += [(provider, audit, share) for (provider, _), share in zip(rows, amounts)]
    return shares, fee


def settle(state, tx, sent):
    job = unended(state, tx.job)
    require(all(entry.judged for round_ in job.rounds for entry in round_.entries), "RoundOpen")
    shares, fee = fix(state, job) if job.shares is None else (job.shares, job.fee)
    require(tx.page == job.pages_done and (job.shares is None or job.pages_done < job.pages()), "WrongSequence")
    return pay(state, tx.job, shares, fee, sent.time_ms, refunding=False)


def pay(state, job_id: bytes, shares, fee: int, time_ms: int, refunding: bool):
    """The next page: each share from escrow to vesting, and on at once where nothing vests; the fee with the last page."""
    job, place = state.jobs[job_id], state.books.place
    escrow, window = place(books.ESCROW, job_id), state.policies[job.task.policy].vesting_ms
    done, pages = job.pages_done, len(shares) // PAGE + 1
    moves, later, paid, spent = [], {}, dict(job.paid), 0
    for provider, audit, share in shares[done * PAGE : done * PAGE + PAGE]:
        vesting = place(books.VESTING, provider, job_id)
        moves.append((escrow, vesting, share))
        if window == 0:
            moves.append((vesting, place(books.AVAILABLE, provider), share))
        elif share:
            later[provider] = later.get(provider, 0) + share
        paid["validators" if audit else "workers"] += share
        spent += share
    if done + 1 == pages:
        moves.append((escrow, place(books.TREASURY), fee))
        paid["fee"] += fee
        spent += fee
    if refunding:
        rest = state.books.balance(escrow) - spent
        require(rest >= 0, "InsufficientCredits")
        moves.append((escrow, (job.consumer, books.CONSUMER), rest))
        paid["refunded"] += rest
    transfers = state.books.move(moves)
    if later:
        state.vests[job_id, done] = (min(time_ms + window, MAX), later)
    job.shares, job.fee, job.paid, job.phase = shares, fee, paid, "settling"
    job.pages_done = min(done + 1, pages)
    return transfers


def close_job(state, tx, _):
    job = unended(state, tx.job)
    require(job.shares is not None and job.pages_done >= job.pages(), "NotSettled")
    escrow = state.books.place(books.ESCROW, tx.job)
    rest = state.books.balance(escrow)
    transfers = state.books.move([(escrow, (job.consumer, books.CONSUMER), rest)])
    job.paid["refunded"] += rest
    state.end(tx.job, "closed")
    return transfers


def expire(state, job_id: bytes, time_ms: int):
    """The receipts of an escrow's end: what is left of its pages, one each, and the refund with the last."""
    job, receipts = state.jobs[job_id], []
    while job.phase in ("open", "settling"):
        try:
            shares, fee = fix(state, job) if job.shares is None else (job.shares, job.fee)
        except No:
            # Of a policy that traps nothing is known but that the consumer's credits are not others'.
            shares, fee = [], 0
        last = job.pages_done + 1 >= len(shares) // PAGE + 1
        receipts.append(pay(state, job_id, shares, fee, time_ms, refunding=last))
        if last:
            state.end(job_id, "expired")
    return receipts


def mature(state, job_id: bytes, page: int):
    _, amounts = state.vests.pop((job_id, page))
    place = state.books.place
    transfers = state.books.move(
        [(place(books.VESTING, key, job_id), place(books.AVAILABLE, key), amounts[key]) for key in sorted(amounts)]
    )
    state.forgive(job_id)
    return transfers
