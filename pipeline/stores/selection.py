"""Which documents of a collection MongoDB is asked for: a range of ``_id``, or some ``_id``s."""

from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from contracts.schema.entity import ID
from transforms.bson.documents import make_document

_ALIKE = {ObjectId, str}  # types of which nothing of another type stands between two values
_SUBDOCUMENT, _ARRAY = b"\x03", b"\x04"  # types of BSON
_NAME_END = 1 + len(ID)  # where the name of an _id's element ends


@dataclass(frozen=True)
class Range:
    """A range of ``_id`` in BSON's order over all types: from ``lower``, included, to ``upper``, excluded.

    ``None`` leaves that side open. A bound is a document ``{"_id": value}``, so that any BSON value can be one.
    """

    lower: dict[str, Any] | None = None
    upper: dict[str, Any] | None = None

    @property
    def match(self) -> dict[str, Any]:
        """The range as a filter, served by the index on ``_id``."""
        if self.lower and self.upper and type(self.lower[ID]) is type(self.upper[ID]) in _ALIKE:
            return {ID: {"$gte": self.lower[ID], "$lt": self.upper[ID]}}  # which is counted twice as fast
        # Inside $expr comparisons follow BSON's order over all types, where a plain $lt keeps to one type; min() and
        # max() cross types too, but miss a document whose _id is MaxKey. $literal keeps bounds from being read as code.
        sides = [("$gte", self.lower), ("$lt", self.upper)]
        tests = [{op: ["$_id", {"$literal": bound[ID]}]} for op, bound in sides if bound is not None]
        return {"$expr": {"$and": tests}} if tests else {}

    def find(self, condition: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a find for what meets a condition within the range."""
        if self.lower is None and self.upper is None:  # a plain scan takes a quarter less than one along the index
            return {"filter": condition}
        return {"filter": {"$and": [self.match, condition]}, "hint": [(ID, 1)]}


@dataclass(frozen=True)
class Ids:
    """Some ``_id``s, of any types.

    Attributes:
        elements: Each as the BSON element that a stored document begins with: its type, its name and its value.
        absent: Further ones of which no document is there, in the same form; MongoDB is not asked for them.
    """

    elements: tuple[bytes, ...]
    absent: tuple[bytes, ...] = ()

    @property
    def all(self) -> tuple[bytes, ...]:
        """All of them, whether a document is there or not."""
        return (*self.elements, *self.absent)

    @property
    def match(self) -> RawBSONDocument:
        """The ids as a filter: the very bytes, whether or not they can be decoded."""
        # The items of an array are elements that are named by their places.
        items = (one[:1] + b"%d" % place + one[_NAME_END:] for place, one in enumerate(self.elements))
        among = _element(_ARRAY, b"$in", make_document(*items))
        return RawBSONDocument(make_document(_element(_SUBDOCUMENT, ID.encode(), make_document(among))))

    def find(self, condition: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a find for what meets a condition among them."""
        return {"filter": {"$and": [self.match, condition]}, "hint": [(ID, 1)]}


def _element(kind: bytes, name: bytes, value: bytes) -> bytes:
    return kind + name + b"\0" + value
