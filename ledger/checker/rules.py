"""What each kind of transaction does and why it may be refused: a table by kind. A rule refuses with a code or gives the
transfers; it writes only once nothing can refuse any more."""

import books
import keys
from books import MAX, No, require
from canonical import Refused, decode, framed, sha3
from forms import Unknown
from keys import has_role
from money import close_job, escrow_of, settle, top_up
from rounds import close_round, record_verdict
from shapes import APPROVAL, KINDS, MAX_LEAF, TASK, TRANSACTION
from slashing import slash
from stakes import make_liable, stake, unstake
from state import Job, NONCE_BYTES, is_issuers, policy_id, policy_wrong, task_fits
from strict import statement

NO_JOB = bytes(32)
MAX_RESERVES, MAX_RESERVE_MS = 16, 30 * 86_400_000
MAX_APPROVALS = 17
MAX_POLICY, MAX_POLICIES = 1024, 4096


def register_provider(state, tx, _):
    require(tx.key not in state.keys.revoked, "Revoked")
    have = state.providers.get(tx.key)
    require(have is None or have[0] == tx.owner, "OwnerDiffers")
    state.providers[tx.key] = (tx.owner, tx.validates)


def open_epoch(state, tx, sent):
    require(len(tx.nonce) == NONCE_BYTES and sent.epoch == tx.epoch, "OutOfBounds")
    require(tx.epoch == state.epoch + 1, "EpochTaken")
    state.epoch = tx.epoch
    state.keys.epoch_opened()


def deposit(state, tx, _):
    require(tx.amount > 0, "OutOfBounds")
    return state.books.move([(state.books.place(books.ISSUANCE), (tx.consumer.account, books.CONSUMER), tx.amount)])


def open_escrow(state, tx, sent):
    try:
        task = TASK.open(tx.task, 16 * 1024)
    except Refused:
        raise No("OutOfBounds") from None
    require(task_fits(task) and task.job != NO_JOB, "OutOfBounds")
    policy = state.policies.get(task.policy)
    pinned = policy is not None and (task.price, task.fee_ppm) == (policy.price, policy.fee_ppm)
    require(pinned, "UnknownPolicy")
    require(task.job not in state.jobs, "JobExists")
    amount = escrow_of(task, policy)
    require(amount <= tx.budget, "BudgetTooSmall")
    deadline = sent.time_ms + policy.escrow_ms
    require(deadline <= MAX, "Overflow")
    escrow = state.books.place(books.ESCROW, task.job)
    transfers = state.books.move([((tx.consumer.account, books.CONSUMER), escrow, amount)])
    state.jobs[task.job] = Job(task, sha3(tx.task), tx.consumer.account, amount, deadline)
    state.deadlines.add((deadline, task.job))
    make_liable(state, task.job, state.jobs[task.job])
    return transfers


def reserve(state, tx, sent):
    require(sent.signer in state.providers, "NotAllowed")
    mine = [one for one in state.reserves.values() if one[0] == sent.signer]
    lasts = tx.expires_ms - sent.time_ms
    require(tx.amount > 0 and 1 <= lasts <= MAX_RESERVE_MS and len(mine) < MAX_RESERVES, "OutOfBounds")
    state.books.hold(state.books.place(books.AVAILABLE, sent.signer), tx.amount)
    name = framed("orion/reserve/v1", sent.signer, sent.id)
    state.reserves[name] = (sent.signer, tx.amount, tx.expires_ms)


def release(state, tx, sent):
    require(state.reserves.get(tx.reserve, (None,))[0] == sent.signer, "NoSuchReserve")
    state.end_reserve(tx.reserve)


def release_approved(state, tx, _):
    require(tx.reserve in state.reserves, "NoSuchReserve")
    state.end_reserve(tx.reserve)


def withdraw(state, tx, _):
    require(tx.amount > 0, "OutOfBounds")
    number, purse = getattr(tx, "from")
    if tx.reserve is not None:
        mine = state.reserves.get(tx.reserve)
        require(number == 0 and mine is not None and mine[0] == purse.key, "NoSuchReserve")
        require(tx.amount <= mine[1], "ReserveOver")
        state.end_reserve(tx.reserve)
    account = (
        lambda: state.books.place(books.AVAILABLE, purse.key),
        lambda: state.books.place(books.TREASURY),
        lambda: (purse.account, books.CONSUMER),
    )[number]()
    return state.books.move([(account, state.books.place(books.ISSUANCE), tx.amount)])


def issuers(state, tx, _):
    new = [key for key in tx.keys if key not in state.issuers[1]]
    other = any(has_role(state, key) for key in new) or any(key in state.providers for key in tx.keys)
    require(is_issuers(tx) and not other, "OutOfBounds")
    state.issuers = (tx.threshold, tuple(tx.keys))


def owner_of(state, number: int, tx):
    """Whose word it needs beside the issuers'; what a replaced key has is its heir's."""
    if number == 15:
        return keys.owner_of(state, tx)
    if number != 10:
        return None
    kind, purse = getattr(tx, "from")
    return state.keys.heir(purse.key) if kind == 0 else state.keys.custodian(state.epoch)


def publish_policy(state, tx, _):
    try:
        policy = KINDS[17][1].fields[0][1].open(tx.policy, MAX_POLICY)
    except Refused:
        raise No("PolicyBytes") from None
    code, name = policy_wrong(policy), policy_id(policy)
    require(code is None, code)
    require(name in state.policies or len(state.policies) < MAX_POLICIES, "PolicyBytes")
    state.policies[name] = policy


def params(state, tx, _):
    require(tx.policy in state.policies, "UnknownPolicy")


# What several words can approve.
APPROVABLE = {
    2: deposit, 10: withdraw, 12: release_approved, 15: keys.rotate, 16: issuers, 17: publish_policy, 18: params,
}


def approved(state, tx, sent):
    try:
        require(len(tx.inner) <= MAX_LEAF, "OutOfBounds")
        number, inner = TRANSACTION.read(decode(tx.inner))
    except Unknown:
        raise
    except Refused:
        raise No("OutOfBounds") from None
    require(number in APPROVABLE, "NotAllowed")
    owner, (threshold, issuing) = owner_of(state, number, inner.tx), state.issuers
    require(sent.signer in (*issuing, owner), "NotAllowed")
    words = [one.key for one in tx.approvals]
    require(len(words) <= MAX_APPROVALS and words == sorted(set(words)), "BadApproval")
    action = framed("orion/action/v1", sent.signer, sent.id, tx.inner)
    for one in tx.approvals:
        require(one.key == owner or one.key in issuing, "BadApproval")
        try:
            said, _ = statement(APPROVAL, state.chain, one, one.key)
        except Refused:
            raise No("BadApproval") from None
        require(said.action == action, "BadApproval")
    count = sum(key != owner for key in words)
    require(count >= threshold and (owner is None or owner in words), "NotEnoughApprovals")
    return APPROVABLE[number](state, inner.tx, sent)


def not_alone(state, tx, sent):
    raise No("NotEnoughApprovals")


OPERATOR, LEADER, ISSUER, ANYBODY = "operator in its epoch", "operator, any epoch", "issuer", "whoever the rule names"

# By number: who may send it, and what it does.
RULES = {
    0: (OPERATOR, register_provider),
    1: (LEADER, open_epoch),
    2: (ISSUER, deposit),
    3: (OPERATOR, open_escrow),
    4: (OPERATOR, close_round),
    5: (OPERATOR, record_verdict),
    6: (OPERATOR, settle),
    7: (OPERATOR, close_job),
    8: (OPERATOR, top_up),
    9: (ANYBODY, approved),
    10: (ANYBODY, not_alone),
    11: (ANYBODY, reserve),
    12: (ANYBODY, release),
    13: (ANYBODY, stake),
    14: (ANYBODY, unstake),
    15: (ANYBODY, not_alone),
    16: (ANYBODY, not_alone),
    17: (ANYBODY, not_alone),
    18: (ANYBODY, not_alone),
    19: (ANYBODY, slash),
}
# Kinds that a registered provider may have ordered, too.
PROVIDERS = {9, 11, 12, 13, 14}
assert RULES.keys() == KINDS.keys()


def may_send(state, who: str, sent) -> None:
    threshold, issuing = state.issuers
    require(sent.signer not in state.keys.revoked, "Revoked")
    if who in (ISSUER, ANYBODY):
        require(who == ANYBODY or sent.signer in issuing, "NotAllowed")
        require(sent.epoch == 0, "OutOfBounds")
        require(who == ANYBODY or threshold == 1, "NotEnoughApprovals")
        return
    operator = state.keys.next_operator() if who == LEADER else state.keys.operator_at(state.epoch)
    require(sent.signer == operator, "NotAllowed")
    require(who == LEADER or sent.epoch == state.epoch, "StaleEpoch")


def orderable(state, number: int, signer: bytes) -> bool:
    """Whether this signer's word could be in the block at all; by the state before it."""
    operators = (state.keys.operator_at(state.epoch), state.keys.next_operator())
    named = signer in operators or signer in state.issuers[1]
    own = number in PROVIDERS and signer in state.providers
    return signer not in state.keys.revoked and (named or own)


def apply(state, number: int, tx, sent):
    """The receipt: code and transfers. `sent` is the envelope with the block's time."""
    who, rule = RULES[number]
    try:
        may_send(state, who, sent)
        return "Ok", rule(state, tx, sent) or []
    except No as no:
        return no.code, []
