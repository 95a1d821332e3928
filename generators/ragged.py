"""Lists of unequal length as flat arrays with a count per row: what numpy has no type for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.world import Integers


def owners(counts: Integers) -> Integers:
    """Return the row of each item."""
    return np.repeat(np.arange(len(counts)), counts)


def positions(counts: Integers) -> Integers:
    """Return the place of each item in its row, from 0."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def running_totals(values: Integers, counts: Integers) -> Integers:
    """Return the sums along each row, each item included."""
    totals = np.cumsum(values)
    before = np.concatenate([[0], totals])[np.cumsum(counts) - counts]
    summed: Integers = totals - np.repeat(before, counts)
    return summed


def kept_counts(counts: Integers, keep: NDArray[np.bool_]) -> Integers:
    """Return how many items each row has left after some are dropped."""
    return np.bincount(owners(counts)[keep], minlength=len(counts))


def split(items: list[Any], counts: Integers) -> list[list[Any]]:
    """Cut a flat list into one list per row."""
    ends = np.cumsum(counts)
    return [items[start:end] for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True)]
