"""Merkle trees as RFC 6962 section 2.1 writes them down, over any hash of bytes."""


def split(count: int) -> int:
    """The largest power of two below `count`."""
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def root(hashed, leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashed(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashed(b"\x01" + root(hashed, leaves[:k]) + root(hashed, leaves[k:]))


def path(hashed, at: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if at < k:
        return path(hashed, at, leaves[:k]) + [root(hashed, leaves[k:])]
    return path(hashed, at - k, leaves[k:]) + [root(hashed, leaves[:k])]


def root_of_path(hashed, leaf: bytes, at: int, size: int, siblings: list[bytes]) -> bytes:
    """The root that a path leads to, from the top down, so unlike a verifier that walks up."""
    if size == 1:
        assert not siblings
        return leaf
    k, (*lower, top) = split(size), siblings
    if at < k:
        return hashed(b"\x01" + root_of_path(hashed, leaf, at, k, lower) + top)
    return hashed(b"\x01" + top + root_of_path(hashed, leaf, at - k, size - k, lower))
