"""What forms are made of. `read` turns a decoded value into one with names, or refuses it; `changes.py` walks the same forms to
change field by field."""

import re
from types import SimpleNamespace

import canonical
from canonical import Refused


class Uint:
    def __init__(self, bits: int):
        self.bits = bits

    def read(self, value):
        if type(value) is not int or value >= 1 << self.bits:
            raise Refused(f"expected a number of {self.bits} bits")
        return value


class Bytes:
    def __init__(self, size: int | None = None):
        self.size = size

    def read(self, value):
        if type(value) is not bytes or self.size not in (None, len(value)):
            raise Refused(f"expected {self.size or 'some'} bytes")
        return value


class Text:
    def read(self, value):
        if type(value) is not str:
            raise Refused("expected text")
        return value


class Name(Text):
    """One DNS label."""

    LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)

    def read(self, value):
        if not self.LABEL.fullmatch(super().read(value)):
            raise Refused("expected one DNS label")
        return value


class Bool:
    def read(self, value):
        if type(value) is not bool:
            raise Refused("expected yes or no")
        return value


class Word:
    """One of some numbers, each of which is a word."""

    def __init__(self, numbers):
        self.numbers = frozenset(numbers)

    def read(self, value):
        if type(value) is not int or value not in self.numbers:
            raise Refused("expected one of the numbers that mean something here")
        return value


class Each:
    def __init__(self, shape):
        self.shape = shape

    def read(self, value):
        if type(value) is not list:
            raise Refused("expected a list")
        return [self.shape.read(one) for one in value]


class Row:
    """A list with a place for each of its shapes."""

    def __init__(self, *shapes):
        self.shapes = shapes

    def read(self, value):
        if type(value) is not list or len(value) != len(self.shapes):
            raise Refused("expected a list of another length")
        return [shape.read(one) for shape, one in zip(self.shapes, value)]


class Unless:
    """Something that is left out when it is this."""

    def __init__(self, shape, usual):
        self.shape, self.usual = shape, usual

    def read(self, value):
        if value == self.usual:
            raise Refused("something is there that is left out when it is as usual")
        return self.shape.read(value)


class Record:
    """A map by number. A field's number is its place; a name that ends with _ may be absent."""

    def __init__(self, **fields):
        self.fields = {}
        for at, (name, shape) in enumerate(fields.items()):
            self.fields[at] = (name.rstrip("_"), shape, name.endswith("_"))

    def read(self, value):
        if type(value) is not dict or not value.keys() <= self.fields.keys():
            raise Refused("expected a map, with no fields but its own")
        read = SimpleNamespace()
        for key, (name, shape, optional) in self.fields.items():
            if key not in value and not optional:
                raise Refused(f"{name} is missing")
            setattr(read, name, shape.read(value[key]) if key in value else None)
        return read


class Choice:
    """[number, [fields]]; read as the number beside the fields."""

    def __init__(self, variants):
        self.variants = {number: (name, Record(**fields)) for number, (name, fields) in variants.items()}

    def read(self, value):
        whole = type(value) is list and len(value) == 2 and type(value[0]) is int and type(value[1]) is list
        if not whole:
            raise Refused("expected a number and fields")
        if value[0] not in self.variants:
            raise Unknown(value[0])
        fields = self.variants[value[0]][1]
        if len(value[1]) != len(fields.fields):
            raise Refused("expected other fields")
        return value[0], fields.read(dict(enumerate(value[1])))


class Unknown(Refused):
    """A choice that these shapes do not know: perhaps of a later release, so nothing is proven wrong."""

    def __init__(self, number: int):
        super().__init__(f"unknown number {number}")
        self.number = number


class Inside(Bytes):
    """Bytes that hold the canonical encoding of something, in a frame where a domain is given. `read` leaves them shut: what
    cannot be opened is for the rules to judge."""

    def __init__(self, shape, domain: str | None = None):
        super().__init__()
        self.shape, self.domain = shape, domain

    def unwrap(self, data: bytes) -> bytes:
        if self.domain is None:
            return data
        value = canonical.decode(data)
        if type(value) is not list or len(value) != 2 or value[0] != self.domain or type(value[1]) is not bytes:
            raise Refused(f"expected a frame of {self.domain}")
        return value[1]

    def wrap(self, data: bytes) -> bytes:
        return data if self.domain is None else canonical.frame(self.domain, data)

    def open(self, data: bytes, most: int):
        inner = self.unwrap(data)
        if len(inner) > most:
            raise Refused("too long")
        return self.shape.read(canonical.decode(inner))


class Signed(Record):
    """A payload with key and signature; see `strict.py`."""

    def __init__(self, domain: str, shape, most: int):
        super().__init__(payload=Inside(shape), key=Bytes(32), signature=Bytes(64))
        self.domain, self.most = domain, most

    def statement(self, chain: str, payload: bytes) -> bytes:
        """What is signed; its SHA3-256 is the statement's digest."""
        return canonical.frame(self.domain, chain, payload)
