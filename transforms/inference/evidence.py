"""What was seen at each place of a collection's documents: counts and extremes, no documents, so memory is bounded."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from math import copysign
from typing import Any

import bson
from bson import DatetimeMS
from bson.binary import UUID_SUBTYPE

from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT
from contracts.schema.kinds import DECIMAL_DIGITS, INT64_MAX, INT64_MIN, UUID, UUID_BYTES, binary_kind
from transforms.bson.documents import TOGETHER, decode_documents, split_documents
from transforms.inference.names import COLUMNS

# Beyond these nothing new is looked at; what is not looked at is not declared, so it does no harm.
PATHS, KEYS, LEVELS = 20_000, 1_000, 8
LONGEST_NAME = 1_000  # characters of a field's name
DISTINCT, CHARACTERS = 20, 64
FIRST_MS, LAST_MS = (int(one.timestamp() * 1000) for one in (FIRST_MOMENT, LAST_MOMENT))
_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "int",
    bson.Int64: "long",
    float: "double",
    str: "text",
    bytes: "binary",
    dict: "document",
    list: "array",
    bson.ObjectId: "ObjectId",
    DatetimeMS: "date",
    bson.Decimal128: "decimal",
    bson.Regex: "regular expression",
    bson.Code: "code",
    bson.Timestamp: "MongoDB's own timestamp",
    bson.MinKey: "MinKey",
    bson.MaxKey: "MaxKey",
}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-[01]\d-[0-3]\d([T ][0-2]\d:[0-5]\d(:[0-6]\d(\.\d+)?)?(Z|[-+]\d\d:?\d\d)?)?")
_HINTS = {"dates": _DATE, "UUIDs": _UUID}


@dataclass
class Seen:
    """How often values of one BSON type were seen, and the ``_id`` of a document that has one."""

    count: int
    id: Any


@dataclass
class Evidence:
    """What was seen at one place.

    Attributes:
        paths: How many more places may be looked at, in a list that all places share.
        level: How deep the place is; at ``LEVELS`` what is within it is not looked at.
        present: How many values there were, nulls included.
        types: By the type's name.
        fields: Of the documents that were seen here, by name.
        unread: How often a field or a document was not looked at, since there are too many, they are too deep, or
            their names are too long.
        items: Of the arrays that were seen here.
        most_distinct: How many distinct texts are kept.
        distinct: The first distinct texts; None if there are more, or long ones.
        longest: Characters of the longest text.
        empty: How many texts are empty.
        hints: What all texts look like.
        fractions: How many doubles are no integers, or NaN or infinite.
        not_finite: How many of these are NaN or infinite.
        beyond: How many integral doubles no 64-bit integer holds.
        negative_zeros: How many doubles are -0.0.
        dates: The earliest and the latest date in milliseconds.
        far_dates: How many dates the stores can't hold.
        whole, scale: The most digits before and after the point of decimals.
        odd_decimals: How many decimals are NaN or infinite.
    """

    paths: list[int] = field(default_factory=lambda: [PATHS])
    level: int = 0
    present: int = 0
    types: dict[str, Seen] = field(default_factory=dict)
    fields: dict[str, "Evidence"] = field(default_factory=dict)
    unread: int = 0
    items: "Evidence | None" = None
    most_distinct: int = DISTINCT
    distinct: dict[str, None] | None = field(default_factory=dict)
    longest: int = 0
    empty: int = 0
    hints: set[str] = field(default_factory=lambda: set(_HINTS))
    fractions: int = 0
    not_finite: int = 0
    beyond: int = 0
    negative_zeros: int = 0
    dates: tuple[int, int] | None = None
    far_dates: int = 0
    whole: int = 0
    scale: int = 0
    odd_decimals: int = 0

    @property
    def ranked(self) -> list[tuple[str, Seen]]:
        """The types that were seen, the most frequent first."""
        return sorted(self.types.items(), key=lambda one: -one[1].count)

    def count(self, name: str) -> int:
        """Return how many values of a type there were."""
        return self.types[name].count if name in self.types else 0

    def observe(self, values: Sequence[Any], ids: Sequence[Any]) -> None:
        """Take in values that were found at this place.

        Args:
            values: As :func:`transforms.bson.documents.decode_document` makes them.
            ids: The ``_id`` of the document that each is of.
        """
        self.present += len(values)
        for kind, count in Counter(map(type, values)).items():
            some, owners = values, ids
            if count < len(values):
                places = [place for place, one in enumerate(values) if type(one) is kind]
                some, owners = [values[place] for place in places], [ids[place] for place in places]
            if kind is bson.Binary:
                self._binaries(some, owners)
                continue
            seen = self.types.setdefault(_NAMES.get(kind, kind.__name__), Seen(0, owners[0]))
            seen.count += count
            if look := _LOOKS.get(kind):
                look(self, some, owners)

    def _documents(self, values: Sequence[dict[str, Any]], ids: Sequence[Any]) -> None:
        if self.level >= LEVELS:
            self.unread += len(values)
            return
        # Documents with the same names make columns at once, by loops in C.
        alike: dict[tuple[str, ...], tuple[list[dict[str, Any]], list[Any]]] = defaultdict(lambda: ([], []))
        for value, owner in zip(values, ids, strict=True):
            documents, owners = alike[tuple(value)]
            documents.append(value)
            owners.append(owner)
        columns: dict[str, tuple[list[Any], list[Any]]] = {}
        for names, (documents, owners) in alike.items():
            for name, column in zip(names, zip(*map(dict.values, documents), strict=True), strict=True):
                found, theirs = columns.setdefault(name, ([], []))
                found.extend(column)
                theirs.extend(owners)
        inside = {name: self._field(name) for name in columns}  # all of a level before what is within the first of them
        for name, (found, theirs) in columns.items():
            if (field := inside[name]) is None:
                self.unread += len(found)
            else:
                field.observe(found, theirs)

    def _field(self, name: str) -> "Evidence | None":
        if name not in self.fields:
            is_full = len(self.fields) >= KEYS or (self.level > 0 and self.paths[0] <= 0)
            if is_full or len(name) > LONGEST_NAME:
                return None
            # For no more a column can be had: the further ones are those of a map, and their own types tell enough.
            self.fields[name] = self._deeper(looked_into=not self.level or len(self.fields) < COLUMNS)
        return self.fields[name]

    def _deeper(self, *, looked_into: bool = True) -> "Evidence":
        self.paths[0] -= 1
        return Evidence(self.paths, self.level + 1 if looked_into else LEVELS, most_distinct=self.most_distinct)

    def _arrays(self, values: Sequence[list[Any]], ids: Sequence[Any]) -> None:
        if not any(values):
            return
        if self.level >= LEVELS:
            self.unread += len(values)
            return
        self.items = self.items or self._deeper()
        owners = chain.from_iterable(repeat(owner, len(value)) for value, owner in zip(values, ids, strict=True))
        self.items.observe(list(chain.from_iterable(values)), list(owners))

    def _binaries(self, values: Sequence[bson.Binary], ids: Sequence[Any]) -> None:
        """Count binary data by subtype: each is a type of its own."""
        for value, owner in zip(values, ids, strict=True):
            is_uuid = value.subtype == UUID_SUBTYPE and len(value) == UUID_BYTES
            name = UUID.name if is_uuid else binary_kind(value.subtype).name
            self.types.setdefault(name, Seen(0, owner)).count += 1

    def _texts(self, values: Sequence[str], _: Sequence[Any]) -> None:
        self.empty += values.count("")
        self.longest = max(self.longest, max(map(len, values)))
        if self.distinct is not None:
            self.distinct |= dict.fromkeys(values)
            if len(self.distinct) > self.most_distinct or self.longest > CHARACTERS:
                self.distinct = None
        self.hints = {name for name in self.hints if all(map(_HINTS[name].fullmatch, values))}

    def _doubles(self, values: Sequence[float], _: Sequence[Any]) -> None:
        integral = [one for one in values if one.is_integer()]
        self.fractions += len(values) - len(integral)
        self.not_finite += sum(one - one != 0 for one in values) if len(integral) < len(values) else 0
        self.beyond += sum(not INT64_MIN <= one <= INT64_MAX for one in integral)
        self.negative_zeros += sum(one == 0 and copysign(1, one) < 0 for one in integral)

    def _dates(self, values: Sequence[DatetimeMS], _: Sequence[Any]) -> None:
        moments = list(map(int, values))
        if min(moments) < FIRST_MS or max(moments) > LAST_MS:
            self.far_dates += sum(not FIRST_MS <= one <= LAST_MS for one in moments)
        moments += self.dates or ()
        self.dates = min(moments), max(moments)

    def _decimals(self, values: Sequence[bson.Decimal128], _: Sequence[Any]) -> None:
        for one in values:
            sign_digits_exponent = one.to_decimal().as_tuple()
            digits, exponent = sign_digits_exponent.digits, sign_digits_exponent.exponent
            if not isinstance(exponent, int):
                self.odd_decimals += 1
                continue
            self.scale = max(self.scale, -exponent)
            self.whole = max(self.whole, len(digits) + exponent)

    @property
    def fits_decimal(self) -> bool:
        """Whether one decimal type holds all decimals that were seen."""
        return not self.odd_decimals and self.digits_fit

    @property
    def digits_fit(self) -> bool:
        """Whether one decimal type holds all that are neither NaN nor infinite."""
        return max(self.whole, 0) + self.scale <= DECIMAL_DIGITS


_LOOKS: dict[type, Callable[[Evidence, Any, Sequence[Any]], None]] = {
    dict: Evidence._documents,
    list: Evidence._arrays,
    str: Evidence._texts,
    float: Evidence._doubles,
    DatetimeMS: Evidence._dates,
    bson.Decimal128: Evidence._decimals,
}


@dataclass
class Survey:
    """What was seen of a collection.

    Attributes:
        root: Of the documents themselves.
        documents: How many there were.
        unreadable: How many of them can't be decoded to values that hold all of their bytes: they tell nothing.
        size: Bytes of BSON.
    """

    root: Evidence = field(default_factory=Evidence)
    documents: int = 0
    unreadable: int = 0
    size: int = 0

    @classmethod
    def keeping(cls, distinct: int) -> "Survey":
        """Return a survey that keeps more distinct texts than others do."""
        return cls(Evidence(most_distinct=distinct))

    def observe(self, batch: bytes) -> None:
        """Take in a batch: BSON documents, one after the other."""
        raws = split_documents(batch)
        self.size += len(batch)
        for start in range(0, len(raws), TOGETHER):
            values, reasons = decode_documents(raws[start : start + TOGETHER])
            self.documents += len(values)
            self.unreadable += len(reasons)
            if documents := [one for one in values if one is not None]:
                self.root.observe(documents, [one.get("_id") for one in documents])
