"""How one field of a decoded leaf is changed, at any depth: the bytes around it are encoded again, and whoever signed them signs
again, by the keys of the test logs."""

import random

import strict
from canonical import Refused, decode, encode
from forms import Bool, Bytes, Choice, Each, Inside, Name, Record, Row, Signed, Text, Uint, Unless, Word

SEEDS = {strict.public_key(bytes([number]) * 32): bytes([number]) * 32 for number in range(1, 81)}
RANDOM = random.Random()


class Resign:
    """A step into the payload of something signed: whoever signed it signs the other payload too."""

    def __init__(self, shape: Signed, chain: str):
        self.shape, self.chain = shape, chain

    def apply(self, value, inner):
        payload = inner(value[0])
        seed = SEEDS.get(value[1])
        signature = strict.sign(seed, self.shape.statement(self.chain, payload)) if seed else value[2]
        return {**value, 0: payload, 2: signature}


class Open:
    """A step into bytes that hold an encoding."""

    def __init__(self, shape: Inside):
        self.shape = shape

    def apply(self, value, inner):
        return self.shape.wrap(encode(inner(decode(self.shape.unwrap(value)))))


class At:
    """A step into a map or list."""

    def __init__(self, key):
        self.key = key

    def apply(self, value, inner):
        copy = value.copy()
        copy[self.key] = inner(copy[self.key])
        return copy


def changed(value, steps, change):
    if not steps:
        return change(value)
    return steps[0].apply(value, lambda inner: changed(inner, steps[1:], change))


def fields(shape, value, chain: str, names=(), steps=()):
    """(names, steps, change) for each field below, whatever its depth."""
    below = lambda sub, inner, name, *more: fields(sub, inner, chain, names + name, steps + more)
    if isinstance(shape, Signed):
        # As it is signed, and by whom: nobody signs again.
        for key in (0, 1, 2):
            name = (*names, ("signed bytes", "key", "signature")[key])
            yield name, (*steps, At(key)), flip_bytes
        inside = shape.fields[0][1]
        yield from below(inside.shape, decode(value[0]), (), Resign(shape, chain), Open(inside))
    elif isinstance(shape, Inside):
        try:
            inner = decode(shape.unwrap(value))
            shape.shape.read(inner)
        except Refused:
            return
        yield from below(shape.shape, inner, (), Open(shape))
    elif isinstance(shape, Unless):
        yield from below(shape.shape, value, ())
    elif isinstance(shape, Row):
        for at, (sub, one) in enumerate(zip(shape.shapes, value)):
            yield from below(sub, one, (), At(at))
    elif isinstance(shape, Record):
        for key, (name, sub, _) in shape.fields.items():
            if key in value:
                # A payload is called what it holds.
                called = () if isinstance(sub, Inside) else (name,)
                yield from below(sub, value[key], called, At(key))
    elif isinstance(shape, Each):
        for at, one in enumerate(value):
            yield from below(shape.shape, one, (), At(at))
        if value:
            yield (*names, "(one less)"), steps, lambda values: values[:-1]
    elif isinstance(shape, Choice):
        name, variant = shape.variants[value[0]]
        yield (*names, "(number)"), (*steps, At(0)), lambda number: number ^ 1
        for key, (field, sub, _) in variant.fields.items():
            more = () if field == "tx" or isinstance(sub, Inside) else (field,)
            yield from below(sub, value[1][key], (name, *more), At(1), At(key))
    else:
        yield names, steps, FLIPS[type(shape)]


def flip_bytes(data: bytes) -> bytes:
    at = RANDOM.randrange(8 * len(data)) if data else 0
    return bytes(byte ^ (1 << at % 8 if place == at // 8 else 0) for place, byte in enumerate(data)) or b"\x01"


def flip_text(text: str) -> str:
    return chr(ord(text[0]) ^ 1) + text[1:] if text else "a"


FLIPS = {
    Uint: lambda number: number ^ 1,
    Word: lambda number: number ^ 1,
    Bool: lambda yes: not yes,
    Bytes: flip_bytes,
    Text: flip_text,
    Name: flip_text,
}
