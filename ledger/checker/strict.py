"""Ed25519 as the ledger has it (`verify_strict`): canonical s, no point of small order, and the signature's R compared byte for
byte with the one that is computed. Tables and a memory of what was verified make thousands of signatures bearable."""

import functools

import canonical
import ed25519
from canonical import Refused, sha3
from ed25519 import BASE, NEUTRAL, ORDER, P, add


def decompress(key: bytes):
    """The point of a key, or None. A y beyond the field is taken for what it is modulo the field, as the ledger does."""
    y = int.from_bytes(key, "little")
    sign, y = y >> 255, (y & (1 << 255) - 1) % P
    try:
        x = ed25519.recover_x(y, sign)
    except AssertionError:
        return None
    return (x, y, 1, x * y % P)


def table(point):
    """The multiples d * 16^i of a point, for each digit d of each place i: a product is then a sum of 64."""
    rows = []
    for _ in range(64):
        row = [NEUTRAL]
        for _ in range(15):
            row.append(add(row[-1], point))
        rows.append(row)
        point = add(row[-1], point)
    return rows


def product(scalar: int, rows, start=NEUTRAL):
    for row in rows:
        if scalar & 15:
            start = add(start, row[scalar & 15])
        scalar >>= 4
    return start


BASE_ROWS = table(BASE)
KNOWN, MAX_KNOWN = {}, 1_000_000


def is_small(point) -> bool:
    x, y, z, _ = ed25519.times(8, point)
    return x % P == 0 and (y - z) % P == 0


def small_points() -> frozenset:
    """The encodings of the eight points of small order."""
    found, y = set(), 0
    while len(found) < 8:
        point = decompress(y.to_bytes(32, "little"))
        if point is not None:
            # The order of the prime subgroup takes everything but the small part away.
            small = ed25519.times(ORDER, point)
            found.add(ed25519.compress(small))
        y += 1
    return frozenset(found)


SMALL = small_points()


@functools.lru_cache(maxsize=256)
def key_rows(key: bytes):
    """The table of minus the key's point; None for keys that are no point, or one of small order."""
    point = decompress(key)
    if point is None or is_small(point):
        return None
    x, y, z, t = point
    return table((-x % P, y, z, -t % P))


def verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    """Remembers, by a hash: messages may be long."""
    name = sha3(key + signature + message)
    if name not in KNOWN:
        if len(KNOWN) >= MAX_KNOWN:
            KNOWN.clear()
        KNOWN[name] = computed(key, message, signature)
    return KNOWN[name]


def computed(key: bytes, message: bytes, signature: bytes) -> bool:
    rows, scalar = key_rows(key), int.from_bytes(signature[32:], "little")
    if rows is None or scalar >= ORDER or signature[:32] in SMALL:
        return False
    challenge = ed25519.hash_to_scalar(signature[:32], key, message) % ORDER
    return ed25519.compress(product(challenge, rows, product(scalar, BASE_ROWS))) == signature[:32]


@functools.lru_cache(maxsize=256)
def public_key(seed: bytes) -> bytes:
    return ed25519.compress(product(ed25519.expand(seed)[0], BASE_ROWS))


def sign(seed: bytes, message: bytes) -> bytes:
    """As `ed25519.sign`, with the table."""
    scalar, prefix = ed25519.expand(seed)
    nonce = ed25519.hash_to_scalar(prefix, message) % ORDER
    point = ed25519.compress(product(nonce, BASE_ROWS))
    challenge = ed25519.hash_to_scalar(point, public_key(seed), message) % ORDER
    return point + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def statement(shape, chain: str, signed, want: bytes):
    """The content of a signed statement and its digest, if `want` signed it and it is in its one form."""
    if signed.key != want:
        raise Refused("signed by another key")
    message = shape.statement(chain, signed.payload)
    if not verifies(signed.key, message, signed.signature):
        raise Refused("the signature does not verify")
    return opened(shape, signed.payload), sha3(message)


def opened(shape, payload: bytes):
    return shape.fields[0][1].open(payload, shape.most)
