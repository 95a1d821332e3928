"""Elements of documents renamed or left out, in the bytes: what is not touched stays as it is, whatever it holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from transforms.bson.documents import elements_of, make_document
from transforms.bson.elements import element_length
from transforms.bson.nested import ARRAY, DOCUMENT


@dataclass(frozen=True)
class Edit:
    """What becomes of a field.

    Attributes:
        name: What it is called; None if it is left out.
        inside: What becomes of the fields of the document that it holds, or of the documents of its array.
        repeated: Whether it is an array of documents.
        key: Where it is a map, the field that its entries' names go to: then it becomes an array of documents.
        value: Where the map's values are no documents, the field that they go to.
    """

    name: bytes | None
    inside: "Mapping[bytes, Edit]" = field(default_factory=dict)
    repeated: bool = False
    key: bytes | None = None
    value: bytes | None = None


def edited(raw: bytes, edits: Mapping[bytes, Edit]) -> bytes:
    """Return a document with some of its fields renamed or left out.

    Args:
        raw: Its BSON.
        edits: By the field's name; all others stay.
    """
    parts: list[bytes] = []
    for start, value, end in _elements(raw):
        edit = edits.get(raw[start + 1 : value - 1])
        if edit is None:
            parts.append(raw[start:end])
        elif edit.name is not None:
            is_map = edit.key is not None and raw[start] == DOCUMENT
            kind = bytes([ARRAY]) if is_map else raw[start : start + 1]
            inside = (
                make_document(*_entries(raw[value:end], edit)) if is_map else _inside(raw[start], raw[value:end], edit)
            )
            parts += (kind, edit.name, b"\0", inside)
    return make_document(*parts)


def with_id_first(raw: bytes) -> bytes:
    """Return a document with its ``_id`` in front, where MongoDB keeps it, but for what views and time series give."""
    if raw[5:9] == b"_id\0":
        return raw
    elements = [raw[start:end] for start, _, end in _elements(raw)]
    return make_document(*sorted(elements, key=lambda one: one[1:5] != b"_id\0"))


def _inside(kind: int, value: bytes, edit: Edit) -> bytes:
    if edit.inside and kind == DOCUMENT and not edit.repeated:
        return edited(value, edit.inside)
    if edit.inside and kind == ARRAY and edit.repeated:
        return make_document(*_items(value, edit.inside))
    return value


def _items(array: bytes, edits: Mapping[bytes, Edit]) -> Iterator[bytes]:
    for start, value, end in _elements(array):
        is_document = array[start] == DOCUMENT
        yield array[start:value] + edited(array[value:end], edits) if is_document else array[start:end]


def _entries(map_: bytes, edit: Edit) -> Iterator[bytes]:
    """Yield the entries of a map as the items of an array."""
    seen: set[bytes] = set()
    for number, (start, value, end) in enumerate(_elements(map_)):
        name, inside = map_[start + 1 : value], map_[value:end]
        if name in seen:
            raise ValueError("a map has two entries of one name")
        seen.add(name)
        parts = [b"\x02", edit.key or b"", b"\0", len(name).to_bytes(4, "little"), name]
        if edit.value is not None:
            parts += (map_[start : start + 1], edit.value, b"\0", inside)
        elif map_[start] == DOCUMENT:
            parts.append(elements_of(edited(inside, edit.inside)))
        yield bytes([DOCUMENT]) + b"%d\0" % number + make_document(*parts)


def _elements(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each element begins, where its value does, and where it ends."""
    start, last = 4, len(raw) - 1
    while start < last:
        value = raw.index(b"\0", start + 1) + 1
        end = value + element_length(raw, start, value)
        yield start, value, end
        start = end
