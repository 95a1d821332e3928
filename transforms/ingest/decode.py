"""From BSON bytes to Arrow by PyMongoArrow, one batch at a time."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from bson import CodecOptions

from contracts.schema.entity import Entity, Field
from contracts.schema.mongo import read_schema, readable
from transforms.bson.documents import decode_document, find_lossy_decoding, find_starts
from transforms.bson.layouts import Located
from transforms.bson.nested import (
    ARRAY,
    DOCUMENT,
    Nested,
    Places,
    cut_items,
    cut_subdocuments,
    find_elements,
    find_values,
)
from transforms.ingest.binaries import check_uuids, with_binary_types
from transforms.ingest.reshape import reshaped


class TwiceNamedError(ValueError):
    """A document has two fields of one name."""


class _OneBatch:
    """Stands in for a collection, so that PyMongoArrow decodes just one batch that is already here.

    Its public functions read a whole query's result at once; so memory would grow with the collection.
    """

    codec_options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)

    class database:  # noqa: N801 - PyMongoArrow asks for these names
        """Nothing to announce the driver to."""

        class client:  # noqa: N801
            """No client."""

            append_metadata = None

    def __init__(self, batch: bytes) -> None:
        self._batch = batch

    def find_raw_batches(self, _query: Mapping[str, Any], **_options: Any) -> Iterator[bytes]:
        """Yield the one batch."""
        yield self._batch


def decode(batch: bytes, entity: Entity, located: Located | None = None) -> pa.Table:
    """Decode a batch of documents by the contract's types.

    Args:
        batch: BSON documents, one after the other; all must have passed the gate.
        entity: The contract.
        located: Where values begin, if that is known; then no document has a name twice.

    Returns:
        One row per document, one column per declared field that the reader has a type for, by its name in
        ``readable(entity)``.

    Raises:
        Exception: A document holds what no gate can see, such as duplicate names or invalid UTF-8.
    """
    stored, batch, entity = batch, reshaped(batch, entity), readable(entity)
    if located is None or batch is not stored:
        located = _located(batch, entity)
    table = _read(batch, located, entity)
    table.validate(full=True)  # finds invalid UTF-8, which would bring Polars down
    check_uuids(table)
    return table


def _located(batch: bytes, entity: Entity) -> Located:
    """Find out where documents begin, and where the subdocuments and arrays do that a look finds in all of them."""
    beginnings = np.array(find_starts(batch), np.int64)
    for raw in _with_name_twice(batch, beginnings, entity):
        if find_lossy_decoding(decode_document(raw), raw):
            raise TwiceNamedError("a document has two fields of one name")
    values = {}
    for field in entity.fields:
        if field.fields and not field.nullable:
            found = find_values(batch, beginnings, field.name, ARRAY if field.repeated else DOCUMENT)
            if found is not None:
                values[field.name] = found
    return Located(beginnings, values)


def _read(batch: bytes, located: Located, entity: Entity) -> pa.Table:
    """Decode a batch; what is within subdocuments and arrays of documents is decoded apart where it can be cut out."""
    types = read_schema(entity)
    apart: dict[str, pa.Array] = {}
    for field in entity.fields:
        if field.fields and field.name in types and (places := located.values.get(field.name)) is not None:
            found = (cut_items if field.repeated else cut_subdocuments)(batch, places)
            if found is not None and len(found.counts):
                kind = types[field.name]
                apart[field.name] = _nested(found, kind[0] if field.repeated else kind, repeated=field.repeated)
    here = {name: kind for name, kind in types.items() if name not in apart}
    found = _found(batch, here) if here else pa.table({})
    columns = apart | dict(zip(here, found.columns, strict=True))
    table = pa.table({name: columns[name] for name in types})
    # Which is how the reader takes a document with each of its fields twice.
    if types and len(table) != len(located.starts):
        raise TwiceNamedError("a document has fields of one name")
    return table


def _nested(found: Nested, types: dict[str, Any], *, repeated: bool) -> pa.Array:
    """Decode the documents that a field holds."""
    table = _found(found.batch, types).combine_chunks()
    if len(table) != found.counts.sum():
        raise TwiceNamedError("a document within another one has fields of one name")
    structs = pa.StructArray.from_arrays([one.combine_chunks() for one in table.columns], table.column_names)
    if not repeated:
        return structs
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *found.counts]), pa.int32()), structs)


def _found(batch: bytes, types: dict[str, Any]) -> pa.Table:
    """Return what PyMongoArrow finds in documents, as it is: to combine chunks would cut off items too many."""
    # Heavy, for it brings pandas: imported where there is something to decode.
    from pymongoarrow.api import Schema, find_arrow_all

    table = find_arrow_all(_OneBatch(batch), {}, schema=Schema(with_binary_types(types)))
    if any(_has_items_too_many(chunk) for column in table.columns for chunk in column.chunks):
        raise TwiceNamedError("an item of an array has fields of one name")
    return table


def _with_name_twice(batch: bytes, beginnings: Places, entity: Entity) -> Iterator[bytes]:
    """Yield the documents in which a name that may be missing seems to stand more than once.

    Where every document has a field, one that has it twice makes the reader's columns unequal, which raises. But the
    second value of a field that may be missing silently becomes the next document's that lacks it.
    """
    found: set[int] = set()
    for name in _may_be_missing(entity):
        owners = np.searchsorted(beginnings, find_elements(batch, name), side="right")
        found.update(owners[1:][owners[1:] == owners[:-1]].tolist())
    for number in sorted(found):
        start = beginnings[number - 1]
        yield batch[start : start + int.from_bytes(batch[start : start + 4], "little")]


def _has_items_too_many(array: pa.Array) -> bool:
    """Return whether an array of documents has more items than its lists say.

    An item with each of its fields twice leaves the reader's columns equal in length: it becomes two items, and those
    after it move. Where all lists are empty the reader fills up their items with nulls, which mean nothing.
    """
    if isinstance(array, pa.ListArray):
        items = array.offsets[-1].as_py()
        return items > 0 and (len(array.values) != items or _has_items_too_many(array.values))
    if isinstance(array, pa.StructArray):
        return any(_has_items_too_many(array.field(number)) for number in range(array.type.num_fields))
    return False


@cache
def _may_be_missing(entity: Entity) -> frozenset[str]:
    """Return the names of fields that not every document (or item of an array) has."""
    return frozenset(_optional(entity.fields, within_optional=False))


def _optional(fields: tuple[Field, ...], *, within_optional: bool) -> Iterator[str]:
    for field in fields:
        optional = field.nullable or within_optional
        if optional:
            yield field.name
        yield from _optional(field.fields, within_optional=optional and not field.repeated)
