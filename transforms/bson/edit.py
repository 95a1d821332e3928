"""Elements of documents renamed or left out, in the bytes: what is not touched stays as it is, whatever it holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from transforms.bson.documents import make_document
from transforms.bson.identity import element_length
from transforms.bson.nested import ARRAY, DOCUMENT


@dataclass(frozen=True)
class Edit:
    """What becomes of a field.

    Attributes:
        name: What it is called; None if it is left out.
        inside: What becomes of the fields of the document that it holds, or of the documents of its array.
        repeated: Whether it is an array of documents.
    """

    name: bytes | None
    inside: "Mapping[bytes, Edit]" = field(default_factory=dict)
    repeated: bool = False


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
            parts += (raw[start : start + 1], edit.name, b"\0", _inside(raw[start], raw[value:end], edit))
    return make_document(*parts)


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


def _elements(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each element begins, where its value does, and where it ends."""
    start, last = 4, len(raw) - 1
    while start < last:
        value = raw.index(b"\0", start + 1) + 1
        end = value + element_length(raw, start, value)
        yield start, value, end
        start = end
