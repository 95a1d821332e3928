"""Which part of a document's bytes Python values do not hold, for people who have to mend it."""

from collections.abc import Iterator

from transforms.bson.elements import element_length
from transforms.violations import Location, Violation, json_pointer

_UNKEPT = {0x06: "undefined", 0x0C: "dbPointer", 0x0E: "symbol"}
_NESTED, _TEXT = (0x03, 0x04), 0x02
TWICE, UNDECODABLE = "duplicate field names", "undecodable BSON"


def find_lost(raw: bytes) -> Violation | None:
    """Return the first part of a document that is lost when it is decoded, or that can't be decoded, if one is found.

    Args:
        raw: Its BSON; damaged bytes, whose lengths lead astray, tell nothing.
    """
    try:
        return next(_lost(raw, 0, len(raw), ""), None)
    except (KeyError, ValueError, IndexError, RecursionError):
        return None


def _lost(raw: bytes, start: int, end: int, place: Location) -> Iterator[Violation]:
    at, names = start + 4, set()
    while at < end - 1:
        kind, name_end = raw[at], raw.index(b"\0", at + 1)
        name = raw[at + 1 : name_end]
        value, inside = name_end + 1, (place, name.decode(errors="replace"))
        length = element_length(raw, at, value)
        if name in names:
            yield _violation(inside, TWICE)
        names.add(name)
        if kind in _UNKEPT:
            yield _violation(inside, f"the BSON type {_UNKEPT[kind]}, which can't be kept")
        elif kind in _NESTED:
            yield from _lost(raw, value, value + length, inside)
        elif kind == _TEXT and not _is_utf8(raw[value + 4 : value + length - 1]):
            yield _violation(inside, UNDECODABLE)
        at = value + length


def _violation(place: Location, rule: str) -> Violation:
    return Violation(json_pointer(place), rule, None)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
