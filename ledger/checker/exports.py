"""An export as a file: its leaves, the checkpoint over them, and the key text that verifies that. Says nothing about what the
leaves say."""

import base64
import binascii
import hashlib

from canonical import Refused
from shapes import MAX_LEAF
from strict import verifies

MAGIC = b"orion-ledger-export 1\n"
MAX_NOTE = 128 * 1024
MAX_SIGNATURES = 64
DASH = "\N{EM DASH} "


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Refused("not the one base64 of its bytes")
    return data


class Key:
    """`name+hex8+base64(1 || key)`, as signed notes have it."""

    def __init__(self, text: str):
        name, tag, data = text.split("+", 2) if text.count("+") >= 2 else ("", "", "")
        data = unbase64(data)
        if len(data) != 33 or data[0] != 1:
            raise Refused("the key is not a log's: name+id+base64 of 1 and 32 bytes")
        self.name, self.key = name, data[1:]
        self.id = sha256(name.encode() + b"\n" + data)[:4]
        if not is_name(name) or self.id.hex() != tag:
            raise Refused("the key's id is not that of its name and bytes")
        prefix, self.chain = "orion.dev/", name.removeprefix("orion.dev/")
        digits = self.chain.removeprefix("orion-")
        if not name.startswith(prefix) or len(digits) != 32 or set(digits) - set("0123456789abcdef"):
            raise Refused("the key's name is not orion.dev/ and a chain id")


def is_name(name: str) -> bool:
    return name != "" and "+" not in name and not any(c.isspace() for c in name)


def checkpoint(note: bytes, key: Key) -> tuple[int, bytes]:
    """The size and root that the key signed."""
    try:
        text = note.decode()
    except UnicodeDecodeError as error:
        raise Refused("the checkpoint is not UTF-8") from error
    if len(note) > MAX_NOTE or any(c < " " and c != "\n" for c in text):
        raise Refused("the checkpoint is too long, or has control characters")
    body, empty, lines = text.rpartition("\n\n")
    if not empty or not lines.endswith("\n"):
        raise Refused("the checkpoint is not text, an empty line and signatures")
    body += "\n"
    signatures = [signature(line) for line in lines[:-1].split("\n")]
    mine = [data for name, tag, data in signatures if (name, tag) == (key.name, key.id)]
    if len(signatures) > MAX_SIGNATURES:
        raise Refused("the checkpoint has too many signatures")
    if not mine or not all(len(data) == 64 and verifies(key.key, body.encode(), data) for data in mine):
        raise Refused("the checkpoint's signature does not verify")
    return stated(body, key)


def signature(line: str) -> tuple[str, bytes, bytes]:
    name, space, data = line.removeprefix(DASH).partition(" ")
    data = unbase64(data)
    if not line.startswith(DASH) or not space or not is_name(name) or len(data) < 5:
        raise Refused("a line of the checkpoint is no signature")
    return name, data[:4], data[4:]


def stated(body: str, key: Key) -> tuple[int, bytes]:
    lines = body.split("\n")
    if len(lines) != 4 or lines[3] != "" or lines[0] != key.name:
        raise Refused("the checkpoint is not origin, size and root of the key's log")
    digits, root = lines[1], unbase64(lines[2])
    if not digits.isascii() or not digits.isdigit() or str(int(digits)) != digits or int(digits) >= 1 << 64:
        raise Refused("the checkpoint's size is no number")
    if len(root) != 32:
        raise Refused("the checkpoint's root is not 32 bytes")
    return int(digits), root


def read(data: bytes) -> tuple[bytes, list[bytes]]:
    """The checkpoint's bytes and the leaves."""
    if not data.startswith(MAGIC):
        raise Refused("this is not an export of the ledger, version 1")
    pieces, at = [], len(MAGIC)
    while at < len(data):
        most, what = (MAX_LEAF, "a leaf") if pieces else (MAX_NOTE, "the checkpoint")
        length = int.from_bytes(data[at : at + 4], "big")
        piece = data[at + 4 : at + 4 + length]
        if at + 4 > len(data) or len(piece) != length:
            raise Refused(f"the export ends within {what}")
        if not 0 < length <= most:
            raise Refused(f"{what} of {length} bytes")
        pieces.append(piece)
        at += 4 + length
    if not pieces:
        raise Refused("the export has no checkpoint")
    return pieces[0], pieces[1:]


def write(note: bytes, leaves: list[bytes]) -> bytes:
    pieces = [note, *leaves]
    return MAGIC + b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf)


class Tree:
    """RFC 6962's tree that grows leaf by leaf: the roots of its full subtrees, largest first."""

    def __init__(self):
        self.size, self.edge = 0, []

    def push(self, node: bytes) -> None:
        size = self.size
        while size & 1:
            node, size = sha256(b"\x01" + self.edge.pop() + node), size >> 1
        self.edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self.edge:
            return sha256(b"")
        *left, node = self.edge
        for other in reversed(left):
            node = sha256(b"\x01" + other + node)
        return node
