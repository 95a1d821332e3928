"""BSON documents: cut from a batch, decoded to Python values, and held against what those values hold of them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import bson
from bson import CodecOptions
from bson.codec_options import DatetimeConversion

from transforms.bson.lost import UNDECODABLE, find_lost
from transforms.violations import Violation

Document = dict[str, Any]
# Far dates must not stop the decoder; a subclass of dict that minds duplicates would be three times slower.
DECODING: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_REFERENCE = b"$ref\0"  # the name without which pymongo takes no document for a DBRef
# Decoded in one call, which saves half of the time; more at once would only take memory.
TOGETHER = 2_000
CHUNK_ROWS = 20_000  # documents that are looked at one by one together
_SHORTEST = 5  # bytes of a document: its length and its end
_ITEMS = [b"\x03%d\0" % number for number in range(TOGETHER)]


class _Unlinked(dict[str, Any]):
    """A dict in which pymongo's decoder does not find the name that would make it a DBRef.

    No option of the codec says so. A DBRef has lost the order of its fields, and a ``$db`` that is null.
    """

    def __getitem__(self, name: str) -> Any:
        if name == "$ref":
            raise KeyError(name)
        return super().__getitem__(name)


_UNLINKED: CodecOptions[Document] = DECODING.with_options(document_class=_Unlinked)


def decode_document(raw: bytes) -> Document:
    """Decode a document to Python values; one within it is a dict, also where pymongo would make a DBRef of it.

    Args:
        raw: Its BSON.

    Raises:
        Exception: It can't be decoded; pymongo knows many ways.
    """
    if _REFERENCE not in raw:
        return bson.decode(raw, DECODING)
    return {name: _plain(value) for name, value in bson.decode(raw, _UNLINKED).items()}


def make_document(*elements: bytes) -> bytes:
    """Return the BSON of a document that holds some elements, each its type, its name and its value."""
    body = b"".join(elements)
    return (len(body) + _SHORTEST).to_bytes(4, "little") + body + b"\0"


def elements_of(raw: bytes) -> bytes:
    """Return the elements of a document, one after the other: what :func:`make_document` made it of."""
    return raw[4:-1]


def split_documents(batch: bytes) -> list[bytes]:
    """Cut a batch into its documents; each begins with its length."""
    return [batch[start:end] for start, end in pairwise([*find_starts(batch), len(batch)])]


def find_starts(batch: bytes) -> list[int]:
    """Return where the documents of a batch begin; what follows a length that can't be is all one."""
    found, start = [], 0
    while start < len(batch):
        found.append(start)
        length = int.from_bytes(batch[start : start + 4], "little")
        start = start + length if length >= _SHORTEST else len(batch)  # by 0 it would go on for ever
    return found


def resize_batches(batches: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join and cut batches, between documents, so that each has about some bytes; a larger document stands alone.

    Args:
        batches: BSON documents, one after the other.
        size: Bytes that a batch should have, and has at most.
    """
    waiting: list[bytes] = []
    for batch in batches:
        if waiting and sum(map(len, waiting)) + len(batch) > size:
            yield b"".join(waiting)
            waiting.clear()
        if len(batch) <= size:
            waiting.append(batch)
        else:
            yield from _cut(batch, size)
    if waiting:
        yield b"".join(waiting)


def _cut(batch: bytes, size: int) -> Iterator[bytes]:
    begin = 0
    for start, end in pairwise([*find_starts(batch), len(batch)]):
        if end - begin > size and start > begin:
            yield batch[begin:start]
            begin = start
    yield batch[begin:]


def in_chunks(raws: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    """Yield documents that are looked at one by one, as many at a time as memory may hold.

    Args:
        raws: The BSON of each; a single one may have 16 MB.
        most: Bytes of a chunk, or a little more.
    """
    chunk: list[bytes] = []
    size = 0
    for raw in raws:
        chunk.append(raw)
        size += len(raw)
        if len(chunk) == CHUNK_ROWS or size >= most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def decode_documents(raws: Sequence[bytes]) -> tuple[list[Document | None], dict[int, Violation]]:
    """Decode documents to Python values, ``TOGETHER`` of them at most.

    Args:
        raws: Each document's BSON.

    Returns:
        The values of each, or None where these don't hold all of it; and by its place the reason for that.
    """
    if (values := _decoded_together(raws)) is not None:
        return values, {}
    found = [_decoded_alone(raw) for raw in raws]
    reasons = {number: one for number, one in enumerate(found) if isinstance(one, Violation)}
    return [None if isinstance(one, Violation) else one for one in found], reasons


def encode_documents(documents: Sequence[Document]) -> list[bytes]:
    """Return the BSON of documents; to encode them in one call saves half of the time.

    Args:
        documents: As pymongo decodes them; each is encoded with its fields in the order that they have.
    """
    array = bson.encode({"": documents})
    found: list[bytes] = []
    at = _SHORTEST + 5  # the array begins behind the length, its type, its name and a length of its own
    for number in range(len(documents)):
        at += len(str(number)) + 2
        end = at + int.from_bytes(array[at : at + 4], "little")
        found.append(array[at:end])
        at = end
    return found


def value_at(document: Any, path: Iterable[str]) -> Any:
    """Return the value at a path of names; None where the path leads to none.

    Args:
        document: What :func:`decode_document` made of it, or a value within it.
        path: The names, from the outermost one on.
    """
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def find_lossy_decoding(document: Document, raw: bytes) -> Violation | None:
    """Return why a decoded document is not all of what its bytes say, or None if it is.

    Args:
        document: What :func:`decode_document` makes of the bytes.
        raw: The bytes.
    """
    encoded = bson.encode({"": document})[6:-1]  # at the top level pymongo would put _id first
    if encoded == raw:
        return None
    # Else an array's items have other names than they should, or a regular expression's letters another order.
    return find_lost(raw) or Violation("", "a form of BSON that can't be kept", None)


def undecodable(raw: bytes, error: Exception) -> Violation:
    """Return why a document can't be decoded, and where, if that is found.

    Args:
        raw: Its BSON.
        error: What the decoder says.
    """
    lost = find_lost(raw)
    return Violation(lost.path if lost and lost.rule == UNDECODABLE else "", UNDECODABLE, str(error))


def _decoded_together(raws: Sequence[bytes]) -> list[Document | None] | None:
    """Decode documents as the items of one array; None if the decoding fails or changes one of them."""
    heads = _ITEMS[: len(raws)]
    length = sum(map(len, heads)) + sum(map(len, raws)) + 5
    begin = (length + 7).to_bytes(4, "little") + b"\x04\0" + length.to_bytes(4, "little")
    array = b"".join((begin, *chain.from_iterable(zip(heads, raws, strict=True)), b"\0\0"))
    try:
        values: list[Document | None] = decode_document(array)[""]
        return values if bson.encode({"": values}) == array else None
    except Exception:  # whatever the decoder makes of damaged bytes: each is then looked at alone
        return None


def _decoded_alone(raw: bytes) -> Document | Violation:
    try:
        document = decode_document(raw)
    except Exception as error:
        return undecodable(raw, error)
    return find_lossy_decoding(document, raw) or document


def _plain(value: Any) -> Any:
    """Return a value with dicts in place of what stood in for them."""
    if isinstance(value, _Unlinked):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bson.Code) and value.scope is not None:
        return bson.Code(str(value), _plain(value.scope))
    return value
