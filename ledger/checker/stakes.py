"""Stakes: made, taken back, and free again. How they are lost is in `slashing.py`."""

import books
from books import MAX, require
from canonical import framed

MAX_UNBONDINGS = 16


def stake(state, tx, sent):
    # The platform's or an operator's key goes out of force without being asked, and no word takes its stake back then.
    require(sent.signer in state.providers and not state.keys.knows(sent.signer), "NotAllowed")
    require(tx.amount > 0, "OutOfBounds")
    place = state.books.place
    return state.books.move([(place(books.AVAILABLE, sent.signer), place(books.STAKE, sent.signer), tx.amount)])


def unstake(state, _, sent):
    require(sent.signer in state.providers, "NotAllowed")
    require(state.books.balance(state.books.place(books.STAKE, sent.signer)) > 0, "InsufficientCredits")
    mine = [one for one in state.unbondings.values() if one[0] == sent.signer]
    require(len(mine) < MAX_UNBONDINGS, "OutOfBounds")
    return take_back(state, sent.signer, sent)


def take_back(state, provider: bytes, sent):
    """All that a provider has at stake, free after a while."""
    place = state.books.place
    source = place(books.STAKE, provider)
    amount = state.books.balance(source)
    transfers = state.books.move([(source, place(books.UNBONDING, provider), amount)])
    if amount:
        unbonding_ms, _ = state.bonds
        name = framed("orion/unbonding/v1", sent.signer, sent.id)
        state.unbondings[name] = [provider, amount, min(sent.time_ms + unbonding_ms, MAX)]
    return transfers


def free(state, name: bytes):
    """What was taken back is the provider's again."""
    provider, amount, _ = state.unbondings.pop(name)
    place = state.books.place
    return state.books.move([(place(books.UNBONDING, provider), place(books.AVAILABLE, provider), amount)])


def make_liable(state, job_id: bytes, job) -> None:
    """Only of jobs whose bits are by a kernel set; a user's own text may have a race."""
    if state.bonds[1] and job.task.kernel_set:
        state.liable[job_id] = (job.digest, job.consumer, set())
