"""What documents hold, proven from their bytes, a whole batch at once.

Nearly all documents of a collection have one of a few layouts: the same names in the same order. So all documents of a
batch are walked side by side by numpy, a cursor for each: at the cursor the bytes must be a type that may stand there
and the layout's next name, and the cursor steps over the value, whose size is fixed or stands there. A document is
proven if its cursor ends at its last byte: then it holds these names, each once, with such values, and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.bson.elements import element_length
from transforms.bson.nested import ARRAY, DOCUMENT, Places

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Layout = tuple[bytes, ...]
# Bytes of a value by its type; where it begins with a length, that comes on top. The length of a regex stands nowhere.
FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
TOLD = {0x02: 4, DOCUMENT: 0, ARRAY: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}
_HEAD, _LEAST = 4, 5  # bytes of a document's length, and of an empty document
_KEPT = 32  # layouts of a shape: each one takes a part of a walk of what has another one
_TRIED = 8  # documents of a batch that may teach a layout; of those that are beyond their shape most teach nothing
_MOST_ITEMS = 1_000  # of an array: each takes a round over all arrays that have so many


@dataclass(frozen=True, eq=False)
class Value:
    """What may stand under a name, or in an array.

    Attributes:
        types: Codes of the types of BSON that it may have.
        tests: By type what more must be true of it: they are given the batch, and where values begin.
        inside: What a subdocument may hold; None for anything.
        items: What an array may hold; None for anything.
        sizes: Derived: by type the bytes that a value has, without those that it tells itself; -1 if it can't stand.
        told: Derived: by type whether a value begins with a length.
        is_checked: Derived: whether anything but its type is to be looked at.
    """

    types: frozenset[int]
    tests: Mapping[int, Callable[[Bytes, Places], Mask]] = field(default_factory=dict)
    inside: "Shape | None" = None
    items: "Value | None" = None
    sizes: Places = field(init=False)
    told: Mask = field(init=False)
    is_checked: bool = field(init=False)

    def __post_init__(self) -> None:
        """Derive the tables."""
        sizes = [(FIXED | TOLD).get(kind, -1) if kind in self.types else -1 for kind in range(256)]
        object.__setattr__(self, "sizes", np.array(sizes, np.int64))
        object.__setattr__(self, "told", np.array([kind in self.types and kind in TOLD for kind in range(256)]))
        object.__setattr__(self, "is_checked", bool(self.tests or self.inside is not None or self.items is not None))


@dataclass(frozen=True, eq=False)
class Shape:
    """What a document may hold.

    Attributes:
        values: By name; no other name may stand in it.
        required: Names that must.
    """

    values: Mapping[bytes, Value]
    required: frozenset[bytes]


@dataclass(frozen=True)
class Located:
    """Where documents and values within them begin.

    Attributes:
        starts: Where each document of a batch begins.
        values: By the name of a field which each document has, where its value begins.
    """

    starts: Places
    values: Mapping[str, Places]


class Layouts:
    """The layouts of a shape that were met so far, those of its subdocuments and items as well."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._known: dict[Shape, list[Layout]] = {}
        kinds = {name: shape.values[name].types for name in shape.required}
        self._cut = [name for name, types in kinds.items() if types in ({DOCUMENT}, {ARRAY})]
        # A cursor that has lost its way stands behind its document, where a name may be looked for once more.
        self._margin = bytes(16 + max(map(len, _names(shape)), default=0))

    def proven(self, batch: bytes, starts: Places) -> tuple[Mask, Located | None]:
        """Tell which documents are of the shape beyond doubt; one that is not proven may be of it nevertheless.

        Args:
            batch: BSON documents, one after the other.
            starts: Where each begins.

        Returns:
            Whether each is proven; and if all are, where the subdocuments and arrays begin that all of them have.
        """
        walk, ends = _Walk(batch + self._margin, self._known), np.append(starts, len(batch))[1:]
        places = {name: np.empty_like(starts) for name in self._cut}
        proven = walk.documents(self._shape, starts, ends, places)
        located = Located(starts, {name.decode(): found for name, found in places.items()})
        return proven, located if proven.all() else None


def _names(shape: Shape) -> Iterator[bytes]:
    for name, value in shape.values.items():
        yield name
        inner: Value | None = value
        while inner is not None:  # an array may hold arrays
            yield from _names(inner.inside) if inner.inside is not None else ()
            inner = inner.items


class _Walk:
    """A walk through one batch."""

    def __init__(self, batch: bytes, known: dict[Shape, list[Layout]]) -> None:
        self._batch, self._known = batch, known
        self._bytes = np.frombuffer(batch, np.uint8)
        self._lengths: npt.NDArray[np.uint32] = self._at_any_place("<u4")

    def documents(
        self, shape: Shape, starts: Places, ends: Places, places: Mapping[bytes, Places] = MappingProxyType({})
    ) -> Mask:
        """Tell which documents are of a shape, by the layouts that are known and those that they teach.

        Args:
            shape: What they may hold.
            starts: Where they begin.
            ends: Where they end.
            places: Is told by name where values begin.
        """
        known, proven = self._known.setdefault(shape, []), np.zeros(len(starts), bool)
        left, hits = self._complete(starts, ends), dict.fromkeys(known, 0)

        def prove(layout: Layout) -> None:
            nonlocal left
            fits, begins = self._follow(shape, layout, _among(starts, left), _among(ends, left) - 1)
            for name, found in places.items():
                found[left] = begins[name]
            proven[left], hits[layout] = fits, int(fits.sum())
            left = left[~fits]

        for layout in tuple(known):
            if len(left):
                prove(layout)
        for number in left[:: 1 + len(left) // _TRIED].tolist():
            if not proven[number] and (new := self._learn(shape, int(starts[number]), int(ends[number]))):
                prove(new)
        # What most documents have is tried first.
        known[:] = sorted(hits, key=hits.__getitem__, reverse=True)[:_KEPT]
        return proven

    def _complete(self, starts: Places, ends: Places) -> Places:
        """Return the numbers of the documents that are as long as they say, and end as documents do."""
        whole = (ends - starts >= _LEAST) & (starts + self._lengths[starts] == ends)
        return np.flatnonzero(whole & (self._bytes[ends - 1] == 0))

    def _learn(self, shape: Shape, start: int, end: int) -> Layout | None:
        """Return the layout of a document; None if it is known already, or not one of the shape."""
        layout = _layout(self._batch, start, end)
        lawful = shape.required <= set(layout) <= shape.values.keys() and len(layout) == len(set(layout))
        return layout if lawful and layout not in self._known[shape] else None

    def _follow(
        self, shape: Shape, layout: Layout, starts: Places, lasts: Places
    ) -> tuple[Mask, Mapping[bytes, Places]]:
        """Tell which documents have a layout and what may be its values, and where these begin."""
        at, fits, found = starts + _HEAD, np.ones(len(starts), bool), {}
        for name in layout:
            value = shape.values[name]
            begins, ends, named = self._step(value, name, at, lasts)
            fits &= named
            self._check(value, at, begins, ends, fits)
            at, found[name] = ends, begins
        fits &= at == lasts
        return fits, found

    def _step(self, value: Value, name: bytes, at: Places, lasts: Places) -> tuple[Places, Places, Mask]:
        """Step over an element.

        Returns:
            Where the values begin and end, just behind their document if that is beyond it; and whether it is an
            element of this name, and of a type that may be.
        """
        element = name + b"\0"
        begins = at + (1 + len(element))
        if len(value.types) == 1:
            (kind,) = value.types
            named = self._reads(at, bytes([kind]) + element)
            ends = begins + value.sizes[kind]
            if value.told[kind]:
                ends += self._lengths[begins]
        else:
            kinds = self._bytes[at]
            sizes = value.sizes[kinds]
            named = self._reads(at + 1, element) & (sizes >= 0)
            ends = begins + sizes
            if value.told.any():
                ends += np.where(value.told[kinds], self._lengths[begins], 0)
        return begins, np.minimum(ends, lasts + 1, out=ends), named

    def _check(self, value: Value, at: Places, begins: Places, ends: Places, fits: Mask) -> None:
        """Keep ``fits`` where the values, whose elements begin at some places, are also inside what they may be."""
        inside, items = value.inside, value.items
        for kind, test in value.tests.items():
            if len(here := self._where(value, kind, at, fits)):
                fits[here] = test(self._bytes, begins[here])
        if inside is not None and len(here := self._where(value, DOCUMENT, at, fits)):
            fits[here] = self.documents(inside, _among(begins, here), _among(ends, here))
        if items is not None and len(here := self._where(value, ARRAY, at, fits)):
            fits[here] = self._arrays(items, _among(begins, here), _among(ends, here))

    def _where(self, value: Value, kind: int, at: Places, fits: Mask) -> Places:
        """Return the numbers of the values of a type among those that fit so far."""
        return np.flatnonzero(fits if len(value.types) == 1 else fits & (self._bytes[at] == kind))

    def _arrays(self, value: Value, starts: Places, ends: Places) -> Mask:
        """Tell which arrays hold what they may, each item called by its place."""
        fits, rounds = np.zeros(len(starts), bool), list[tuple[Places, ...]]()
        whole = self._complete(starts, ends)
        fits[whole] = True
        at, lasts = _among(starts, whole) + _HEAD, _among(ends, whole) - 1
        owners, at, lasts = _those(at < lasts, whole, at, lasts)
        while len(owners) and len(rounds) < _MOST_ITEMS:
            begins, after, named = self._step(value, b"%d" % len(rounds), at, lasts)
            rounds.append((owners, at, begins, after))
            fits[owners] = named & (after <= lasts)
            owners, at, lasts = _those(named & (after < lasts), owners, after, lasts)
        fits[owners] = False
        if rounds and value.is_checked:
            owners, items, begins, after = (np.concatenate(one) for one in zip(*rounds, strict=True))
            lawful = fits[owners]
            self._check(value, items, begins, after, lawful)
            fits[owners[~lawful]] = False
        return fits

    def _reads(self, at: Places, expected: bytes) -> Mask:
        """Tell at which places the bytes are the expected ones, which have one zero, at their end."""
        # Numpy takes zeros at the end of bytes for none; so what has another zero sooner is too short to be equal.
        found: Mask = self._at_any_place(f"S{len(expected)}")[at] == expected
        return found

    def _at_any_place(self, kind: str) -> npt.NDArray[Any]:
        """Return the batch as values of a type that begin at any byte."""
        size = np.dtype(kind).itemsize
        return np.ndarray((len(self._batch) - size + 1,), kind, self._batch, strides=(1,))


def _among(values: Places, numbers: Places) -> Places:
    """Return the values that have some numbers, in ascending order."""
    return values if len(numbers) == len(values) else values[numbers]


def _those(mask: Mask, *arrays: Places) -> Iterator[Places]:
    return (one[mask] for one in arrays)


def _layout(batch: bytes, start: int, end: int) -> Layout:
    """Return the names of a document in their order; none if it can't be read."""
    names, at = [], start + _HEAD
    try:
        while at < end - 1:
            stop = batch.index(b"\0", at + 1)
            names.append(batch[at + 1 : stop])
            at = stop + 1 + element_length(batch, at, stop + 1)
    except (KeyError, ValueError):
        return ()
    return tuple(names)
