"""How long the elements of a BSON document are, each its type, its name and its value."""

from collections.abc import Callable

_SIZES = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}


def element_length(raw: bytes, start: int, value: int) -> int:
    """Return how many bytes the value of an element takes.

    Args:
        raw: A document's BSON.
        start: Where the element begins, with its type.
        value: Where its value begins.

    Raises:
        KeyError: There is no such type.
    """
    return LENGTHS[raw[start]](raw, value)


def _fixed(size: int) -> Callable[[bytes, int], int]:
    return lambda raw, at: size


def _int32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")


def _regex(raw: bytes, at: int) -> int:
    return raw.index(b"\0", raw.index(b"\0", at) + 1) + 1 - at


# The length of a value by its BSON type: fixed, or told by the value itself.
LENGTHS: dict[int, Callable[[bytes, int], int]] = {kind: _fixed(size) for kind, size in _SIZES.items()} | {
    0x02: lambda raw, at: 4 + _int32(raw, at),
    0x03: _int32,
    0x04: _int32,
    0x05: lambda raw, at: 5 + _int32(raw, at),
    0x0B: _regex,
    0x0C: lambda raw, at: 4 + _int32(raw, at) + 12,
    0x0D: lambda raw, at: 4 + _int32(raw, at),
    0x0E: lambda raw, at: 4 + _int32(raw, at),
    0x0F: _int32,
}
