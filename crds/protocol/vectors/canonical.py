"""One CBOR profile (RFC 8949 4.2.1): unsigned integers, byte strings, text, arrays, maps with ascending unsigned keys,
booleans. The decoder refuses everything that the encoder would not write."""

import hashlib


class Refused(Exception):
    """Bytes that are not the one encoding of anything."""


def sha3(data: bytes) -> bytes:
    return hashlib.sha3_256(data).digest()


def frame(domain: str, *parts) -> bytes:
    """The array [domain, parts...]: what is hashed or signed."""
    return encode([domain, *parts])


def framed(domain: str, *parts) -> bytes:
    """The SHA3-256 of a frame."""
    return sha3(frame(domain, *parts))


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | info]) + number.to_bytes(size, "big")
    raise ValueError(f"{number} does not fit in 64 bits")


def encode(value) -> bytes:
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        assert value >= 0
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return head(3, len(text)) + text
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(encode(key) + encode(value[key]) for key in sorted(value))
    raise TypeError(f"no encoding for {value!r}")


def decode(data: bytes):
    value, end = item(data, 0)
    if end != len(data):
        raise Refused("bytes after the end")
    return value


def item(data: bytes, at: int):
    """The value that starts at `at`, and where it ends."""
    if at >= len(data):
        raise Refused("it ends too early")
    if data[at] in (0xF4, 0xF5):
        return data[at] == 0xF5, at + 1
    major, (number, at) = data[at] >> 5, length(data, at)
    if major == 0:
        return number, at
    if major in (2, 3):
        chunk = data[at : at + number]
        if len(chunk) != number:
            raise Refused("it ends too early")
        return (chunk if major == 2 else text(chunk)), at + number
    if major == 4:
        values = []
        for _ in range(number):
            value, at = item(data, at)
            values.append(value)
        return values, at
    if major == 5:
        return pairs(data, at, number)
    raise Refused("a negative number, a tag, a float or another simple value")


def length(data: bytes, at: int) -> tuple[int, int]:
    info, at = data[at] & 31, at + 1
    if info < 24:
        return info, at
    if info > 27:
        raise Refused("an indefinite or reserved length")
    size = 1 << info - 24
    number = int.from_bytes(data[at : at + size], "big")
    if at + size > len(data):
        raise Refused("it ends too early")
    if number < (24 if size == 1 else 1 << 4 * size):
        raise Refused("a number longer than it must be")
    return number, at + size


def text(chunk: bytes) -> str:
    try:
        return chunk.decode()
    except UnicodeDecodeError as error:
        raise Refused("text that is not UTF-8") from error


def pairs(data: bytes, at: int, count: int):
    values, last = {}, -1
    for _ in range(count):
        key, at = item(data, at)
        if type(key) is not int or key <= last:
            raise Refused("a key that is no number, unordered or twice")
        last = key
        values[key], at = item(data, at)
    return values, at
