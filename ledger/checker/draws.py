"""A round's verdict and whether it follows the draw, from what was signed alone (protocol, section 4)."""

from types import SimpleNamespace

import trees
from books import No, require
from canonical import Refused, sha3
from formulas import places, validators
from shapes import VOTE
from strict import statement


def check_vote(vote) -> bool:
    units = [one.unit for one in vote.units]
    return 1 <= len(units) <= 32 and units == sorted(set(units))


def read_vote(case, signed, key: bytes, units: list[int]):
    """The vote and its digest, if it is this key's, on exactly these units of the entry; and of its task, where it says one."""
    try:
        vote, digest = statement(VOTE, case.chain, signed, key)
    except Refused:
        return None
    fits = check_vote(vote) and (vote.round, vote.lease) == (case.round, case.entry.lease_digest)
    fits = fits and vote.task in (None, case.entry.lease.task)
    return (vote, digest) if fits and [one.unit for one in vote.units] == sorted(units) else None


def drawn_units(case, evidence) -> None:
    """The drawn units are the draw's, in its order, and lie under the root that was committed to."""
    lease, root = case.entry.lease, case.entry.commitment.root
    want = places(case.seed, lease.shard, lease.token.attempt, lease.units, case.audits)
    require(len(want) == len(evidence.drawn), "BadDraw")
    for place, one in zip(want, evidence.drawn):
        leaf = sha3(b"\x00" + one.salt + one.unit.to_bytes(8, "big") + one.digest)
        try:
            have = trees.root_of_path(sha3, leaf, place, lease.units, one.path)
        except (AssertionError, ValueError):
            raise No("BadDraw") from None
        require(one.unit == lease.first_unit + place and have == root, "BadDraw")


def asked(case, evidence) -> dict[bytes, list[int]]:
    """Whose word each drawn unit needs: the first in its order who is not absent, else the platform's."""
    lease, absent = case.entry.lease, evidence.absent
    order, owners = validators(case.seed, lease.shard, lease.token.attempt, case.owners, case.worker_owner)
    require(absent == sorted(set(absent)), "BadVote")
    passed, want = set(), {}
    for j, one in enumerate(evidence.drawn):
        turn = [order[(j % owners + at) % len(order)] for at in range(len(order))]
        there = [key for key in turn if key not in absent]
        voter = there[0] if there else case.platform
        passed.update(turn[: turn.index(voter)] if there else turn)
        want.setdefault(voter, []).append(one.unit)
    require(len(passed) == len(absent), "BadVote")
    return want


def votes_of(case, evidence):
    """Exactly one vote from each who was asked: (vote, digest) by key."""
    want, votes = asked(case, evidence), {}
    for signed in evidence.votes:
        require(not case.is_lost(signed.key), "Revoked")
        require(signed.key in want and signed.key not in votes, "BadVote")
        vote = read_vote(case, signed, signed.key, want[signed.key])
        require(vote is not None, "BadVote")
        votes[signed.key] = vote
    require(len(votes) == len(want), "BadVote")
    return dict(sorted(votes.items()))


def verdict(case, evidence) -> SimpleNamespace:
    """Whether the shard is accepted, and whose votes are upheld and paid: (vote digest, key, units)."""
    drawn_units(case, evidence)
    votes = votes_of(case, evidence)
    claimed = {one.unit: one.digest for one in evidence.drawn}
    truth, disputed = {}, set()
    for key, (vote, _) in votes.items():
        for one in vote.units:
            truth[one.unit] = one.digest
            if key != case.platform and claimed[one.unit] != one.digest:
                disputed.add(one.unit)
    referee = evidence.referee
    require((referee is not None) == bool(disputed), "BadReferee")
    if referee is not None:
        said = read_vote(case, referee, case.platform, sorted(disputed))
        require(said is not None, "BadReferee")
        truth.update((one.unit, one.digest) for one in said[0].units)
    upheld = [
        (digest, key, [one.unit for one in vote.units])
        for key, (vote, digest) in votes.items()
        if key not in case.platforms and all(truth[one.unit] == one.digest for one in vote.units)
    ]
    return SimpleNamespace(accepted=all(truth[unit] == digest for unit, digest in claimed.items()), upheld=upheld)
