"""What a round draws, and how pay is split, after the words of the protocol (sections 4 and 5): for the reader of the vectors, which
holds it against them, and for the reader of whole logs."""

import fractions

from canonical import framed


def round_id(job: bytes, commitments: list[bytes]) -> bytes:
    return framed("orion/round/v1", job, sorted(commitments))


def seed(chain: str, size: int, root: bytes, round_: bytes) -> bytes:
    return framed("orion/audit-seed/v1", chain, size, root, round_)


def numbers(domain: str, seed_: bytes, shard: int, attempt: int):
    """A function that gives the next number below n."""
    counter = 0

    def below(n: int) -> int:
        nonlocal counter
        while True:
            digest = framed(domain, seed_, shard, attempt, counter)
            counter += 1
            x = int.from_bytes(digest[:8], "big")
            if x < n * (2**64 // n):
                return x % n

    return below


def places(seed_: bytes, shard: int, attempt: int, units: int, audits: int) -> list[int]:
    """Which of a shard's units are audited, in the order drawn."""
    below, drawn = numbers("orion/draw/v1", seed_, shard, attempt), []
    while len(drawn) < min(units, audits):
        place = below(units)
        if place not in drawn:
            drawn.append(place)
    return drawn


def validators(seed_: bytes, shard: int, attempt: int, owners: dict, worker_owner: str) -> tuple[list, int]:
    """Which keys are asked, in turns of one an owner, and how many owners there are."""
    below = numbers("orion/draw-validators/v1", seed_, shard, attempt)
    keys = sorted(key for key, owner in owners.items() if owner != worker_owner)
    for last in range(len(keys) - 1, 0, -1):
        other = below(last + 1)
        keys[last], keys[other] = keys[other], keys[last]
    order, count = [], len({owners[key] for key in keys})
    while keys:
        turn, asked = [], set()
        for key in keys:
            if owners[key] not in asked:
                asked.add(owners[key])
                turn.append(key)
        order += turn
        keys = [key for key in keys if key not in turn]
    return order, count


def split(pool: int, weights: list[int]) -> list[int]:
    """Floors, then one more each to the largest remainders, ties to the earlier; all 0 when there is no weight."""
    if sum(weights) == 0:
        return [0] * len(weights)
    ideal = [fractions.Fraction(pool * weight, sum(weights)) for weight in weights]
    shares = [x.numerator // x.denominator for x in ideal]
    order = sorted(range(len(weights)), key=lambda at: (shares[at] - ideal[at], at))
    for at in order[: pool - sum(shares)]:
        shares[at] += 1
    assert sum(shares) == pool
    return shares
