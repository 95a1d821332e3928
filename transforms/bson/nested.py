"""Documents within documents, cut out of a batch of BSON by numpy, without a look at any one of them.

PyMongoArrow puts the whole path of each nested value together anew, and looks it up several times: a value within an
array of documents costs seven times one of a document itself. Cut out, they are documents like others.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
DOCUMENT, ARRAY = 0x03, 0x04  # types of BSON; the type is the byte before an element's name
_IS_TYPE = np.zeros(256, bool)
_IS_TYPE[[*range(0x01, 0x14), 0x7F, 0xFF]] = True
_MOST_ITEMS = 100  # of an array; each takes a round over all arrays that have so many


@dataclass(frozen=True)
class Nested:
    """The documents that a field holds.

    Attributes:
        batch: Their BSON, one after the other.
        counts: How many there are in each document of the batch they were cut from.
    """

    batch: bytes
    counts: Places


def find_elements(batch: bytes, name: str) -> Places:
    """Return where elements of a name seem to have it, at any depth; a text may look like one."""
    found = re.finditer(re.escape(name.encode() + b"\0"), batch)
    places = np.fromiter((one.start() for one in found), np.int64)
    return places[_IS_TYPE[np.frombuffer(batch, np.uint8)[places - 1]]]


def find_values(batch: bytes, beginnings: Places, name: str, kind: int) -> Places | None:
    """Return where a field's value begins in each document, or None if a look does not tell.

    Every document must have the field: so where each has one element of this name, of whatever type, that is it.

    Args:
        batch: BSON documents, one after the other.
        beginnings: Where each begins.
        name: The field's name.
        kind: The BSON type of its values.
    """
    found = find_elements(batch, name)
    one_each = len(found) == len(beginnings) and (beginnings < found).all() and (found[:-1] < beginnings[1:]).all()
    if not one_each or (np.frombuffer(batch, np.uint8)[found - 1] != kind).any():
        return None
    return found + len(name.encode()) + 1


def cut_documents(batch: bytes, places: Places) -> list[bytes]:
    """Return the documents that begin at some places."""
    ends = places + _lengths(batch, places)
    return [batch[start:end] for start, end in zip(places.tolist(), ends.tolist(), strict=True)]


def cut_subdocuments(batch: bytes, places: Places) -> Nested:
    """Cut out the subdocuments that begin at some places, one in each document."""
    return Nested(b"".join(cut_documents(batch, places)), np.ones_like(places))


def cut_items(batch: bytes, arrays: Places) -> Nested | None:
    """Cut out the documents of the arrays that begin at some places, one in each document; None if one is odd."""
    if (rounds := _rounds(batch, arrays)) is None:
        return None
    counts = np.zeros_like(arrays)
    for owners, _ in rounds:
        counts[owners] += 1
    places = np.empty(counts.sum(), np.int64)
    first = np.cumsum(counts) - counts
    for number, (owners, found) in enumerate(rounds):
        places[first[owners] + number] = found
    return Nested(b"".join(cut_documents(batch, places)), counts)


def _rounds(batch: bytes, arrays: Places) -> Sequence[tuple[Places, Places]] | None:
    """Return, by the items' position, which arrays have such an item and where it begins; None if one is odd."""
    data = np.frombuffer(batch, np.uint8)
    at, ends = arrays + 4, arrays + _lengths(batch, arrays) - 1
    owners = np.flatnonzero(at < ends)
    found: list[tuple[Places, Places]] = []
    while len(owners):
        here, digits = at[owners], len(str(len(found)))
        # An item is called by its position, which tells how long its name is; but a server keeps any name.
        named = data[here[:, None] + np.arange(1, digits + 1)].all(axis=1) & (data[here + digits + 1] == 0)
        if len(found) == _MOST_ITEMS or not (named & (data[here] == DOCUMENT)).all():
            return None
        begins = here + digits + 2
        found.append((owners, begins))
        at[owners] = begins + _lengths(batch, begins)
        owners = owners[at[owners] < ends[owners]]
    return found if (at == ends).all() else None


def _lengths(batch: bytes, places: Places) -> Places:
    """Return the lengths with which the documents at some places begin."""
    data = np.frombuffer(batch, np.uint8)
    return sum((data[places + byte].astype(np.int64) << 8 * byte for byte in range(4)), np.zeros_like(places))
