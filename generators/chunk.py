"""What a generator is handed: the rows to draw, with their own random numbers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from bson import Decimal128, ObjectId
from numpy.typing import NDArray

from contracts.schema.entity import Entity
from generators.vocabulary import Vocabulary, vocabulary
from generators.world import BEFORE, DAY, FIRST, GROWTH, Floats, Integers, Window, World, moments, stream, weighted

Columns = dict[str, list[Any]]
Document = dict[str, Any]
MISSING = object()  # in a column: this document does not have the field


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one collection, drawn without knowing any other chunk.

    Attributes:
        entity: The contract.
        world: Users and products.
        first: Number of the first row.
        size: How many rows to draw.
        rows: How many rows the whole collection will have, of this window.
        window: When all of it happens.
        before: How many rows there were before the window.
    """

    entity: Entity
    world: World
    first: int
    size: int
    rows: int
    window: Window = FIRST
    before: int = 0

    @cached_property
    def rng(self) -> np.random.Generator:
        """Random numbers of these rows alone."""
        return stream(self.world.seed, self.entity.collection, self.first)

    @property
    def is_first(self) -> bool:
        """Whether the world begins with these rows."""
        return self.window == self.world.first

    @property
    def words(self) -> Vocabulary:
        """What people read."""
        return vocabulary(self.world.seed)

    @property
    def numbers(self) -> Integers:
        """The numbers of the rows."""
        return np.arange(self.first, self.first + self.size)

    def keys(self, letter: str) -> list[str]:
        """Return a business key per row."""
        return [f"{letter}{number:09d}" for number in range(self.first, self.first + self.size)]

    def moments(self) -> Integers:
        """Draw a moment per row, rising from the window's start to its end over the whole collection."""
        before = self.first - self.before
        shares = (before + np.sort(self.rng.random(self.size)) * self.size) / self.rows
        return moments(shares, self.window, GROWTH if self.is_first else 1)

    def moments_before(self) -> Integers:
        """Draw a moment per row, rising over the two years before the first window, or over a later one."""
        if not self.is_first:
            return self.moments()
        return (
            self.window.start
            - BEFORE
            + ((self.numbers + self.rng.random(self.size)) / self.rows * BEFORE).astype(np.int64)
        )

    def object_ids(self, times: Integers) -> list[ObjectId]:
        """Return an ``_id`` per row: the second, four bytes of the seed and collection, the row's number."""
        owner = hashlib.sha256(f"{self.world.seed} {self.entity.collection}".encode()).digest()[:4]
        parts = np.empty((self.size, 3), dtype=">u4")
        parts[:, 0] = times // 1000
        parts[:, 1] = np.frombuffer(owner, dtype=">u4")
        parts[:, 2] = self.numbers
        packed = parts.tobytes()
        return [ObjectId(packed[place : place + 12]) for place in range(0, len(packed), 12)]

    def references(self, size: int) -> list[ObjectId]:
        """Draw ObjectIds of documents that are kept elsewhere."""
        packed = self.rng.bytes(12 * size)
        return [ObjectId(packed[place : place + 12]) for place in range(0, len(packed), 12)]

    def pick(self, values: Sequence[Any], size: int | None = None, weights: Sequence[float] | None = None) -> list[Any]:
        """Draw values, equally often or by weight."""
        size = self.size if size is None else size
        places = weighted(self.rng, [1.0] * len(values) if weights is None else list(weights), size)
        return [values[place] for place in places.tolist()]

    def chance(self, probability: float, size: int | None = None) -> NDArray[np.bool_]:
        """Draw truth values."""
        return self.rng.random(self.size if size is None else size) < probability

    def counts(self, mean: float, most: int, *, least: int = 0) -> Integers:
        """Draw how many items each row has: few mostly, ``most`` at most."""
        drawn = least - 1 + self.rng.geometric(1 / (mean - least + 1), self.size)
        return np.minimum(drawn, most).astype(np.int64)

    def spans(self, median: float, spread: float, size: int | None = None) -> Integers:
        """Draw durations in milliseconds: ``median`` mostly, sometimes much longer."""
        drawn = self.rng.lognormal(np.log(median), spread, self.size if size is None else size)
        return np.minimum(drawn, 60 * DAY).astype(np.int64)


def dates(times: Integers, missing: NDArray[np.bool_] | None = None) -> list[Any]:
    """Return moments as naive datetimes in UTC, which is how BSON writes dates; ``None`` where missing."""
    values = times.astype("datetime64[ms]")
    if missing is not None:
        values = np.where(missing, np.datetime64("NaT", "ms"), values)
    listed: list[Any] = values.tolist()
    return listed


def decimals(units: Integers, scale: int) -> list[Decimal128]:
    """Return ``units`` of ``10 ** -scale`` as Decimal128, keeping all digits after the point."""
    units, places = np.unique(units, return_inverse=True)  # prices come again and again, and Decimal128 is slow to make
    parts = np.empty((len(units), 2), dtype="<u8")
    parts[:, 0] = np.abs(units)
    # Binary integer decimal: sign in bit 127, exponent (bias 6176) from bit 113, the coefficient below.
    parts[:, 1] = (np.uint64(6176 - scale) << np.uint64(49)) | ((units < 0).astype(np.uint64) << np.uint64(63))
    packed = parts.tobytes()
    made = [Decimal128.from_bid(packed[place : place + 16]) for place in range(0, len(packed), 16)]
    return [made[place] for place in places.tolist()]


def rounded(values: Floats, digits: int) -> list[float]:
    """Return doubles of few digits; never -0.0, which a JSON number loses."""
    listed: list[float] = (np.round(values, digits) + 0.0).tolist()
    return listed


def assemble(columns: Columns) -> list[Document]:
    """Turn columns into documents, leaving out what is ``MISSING``."""
    names = tuple(columns)
    documents = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for name, values in columns.items():
        for place, value in enumerate(values):
            if value is MISSING:
                del documents[place][name]
    return documents
