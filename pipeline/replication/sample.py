"""A sample of a collection: random ranges of ``_id``, the same ones again by the same seed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from bson import Timestamp

from pipeline.errors import UsageError
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.selection import Range

RANGES = 10  # of a collection: more would find small damage sooner, and each costs a query per table and store
_ASKED = re.compile(r"[1-9]\d*|\d+(\.\d+)?%")
_SEEDS = 2**32


@dataclass(frozen=True)
class Sample:
    """How much of each collection is looked at, and which part.

    Attributes:
        asked: ``N`` documents, or ``P%`` of all.
        seed: The same seed takes the same ranges, as long as the collection is the same.

    Raises:
        UsageError: What is asked for can't be read, or is nothing.
    """

    asked: str
    seed: int

    def __post_init__(self) -> None:
        """Refuse what can't be read."""
        if not _ASKED.fullmatch(self.asked) or not float(self.asked.rstrip("%")):
            raise UsageError(
                f"a sample is a number of documents or a percentage, such as 1000 or 1%, not {self.asked!r}"
            )

    @classmethod
    def drawn(cls, asked: str, seed: int | None) -> "Sample":
        """Return a sample; without a seed another one each time."""
        return cls(asked, Random().randrange(_SEEDS) if seed is None else seed)

    def size(self, documents: int) -> int:
        """Return how many of a collection's documents it has."""
        if not self.asked.endswith("%"):
            return min(int(self.asked), documents)
        return min(-int(-documents * float(self.asked[:-1]) // 100), documents)

    def ranges(self, mongo: Mongo, collection: str, cluster_time: Timestamp, documents: int) -> Iterator[Range]:
        """Yield ranges of ``_id`` that hold the sample; what does not begin the collection has one more, its first.

        Each lies in an equal part of the collection, by the order of ``_id``; what goes beyond its end goes on at its
        beginning.

        Args:
            mongo: Where the collection is.
            collection: Its name.
            cluster_time: When it is read.
            documents: How many it holds, about.
        """
        if self.size(documents) == documents:
            yield Range()
            return
        places = self.places(collection, documents)
        wanted = sorted({place for first, end in places for place in (first - 1, end) if 0 <= place < documents})
        bounds = dict(zip(wanted, mongo.bounds(collection, cluster_time, wanted), strict=True))
        for first, end in places:
            if first and bounds[first - 1] is None:
                continue  # the collection has fewer documents than was thought
            yield Range(bounds[first - 1] if first else None, bounds.get(end))

    def places(self, collection: str, documents: int) -> list[tuple[int, int]]:
        """Return where ranges begin and end, counted in documents, in order; all documents are equally likely.

        Args:
            collection: Name of the collection.
            documents: How many it holds.
        """
        size, random = self.size(documents), Random(f"{self.seed} {collection}")
        number, turn = max(1, min(RANGES, size)), random.randrange(max(1, documents))
        found = []
        for one in range(number):
            begin, end = (documents * place // number for place in (one, one + 1))
            length = size * (one + 1) // number - size * one // number
            # All are turned, as if the last document came before the first: of equal parts the middle is more likely.
            first = (turn + begin + random.randint(0, max(0, end - begin - length))) % max(1, documents)
            found.append((first, min(first + length, documents)))
            if (beyond := first + length - documents) > 0:
                found.append((0, beyond))
        return sorted(found)
