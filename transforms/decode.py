"""From BSON bytes to Arrow by PyMongoArrow, one batch at a time."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from bson import CodecOptions
from pymongoarrow.api import Schema, find_arrow_all

from contracts.schema.entity import Entity
from contracts.schema.mongo import read_schema


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


def decode(batch: bytes, entity: Entity) -> pa.Table:
    """Decode a batch of documents by the contract's types.

    Args:
        batch: BSON documents, one after the other; all must have passed the gate.
        entity: The contract.

    Returns:
        One row per document, one column per declared field that the reader has a type for.

    Raises:
        Exception: A document holds what no gate can see, such as duplicate names or invalid UTF-8.
    """
    table = find_arrow_all(_OneBatch(batch), {}, schema=Schema(read_schema(entity)))
    table.validate(full=True)  # finds invalid UTF-8, which would bring Polars down
    return table


def documents(batch: bytes) -> list[bytes]:
    """Cut a batch into its documents; each begins with its length."""
    found, start = [], 0
    while start < len(batch):
        end = start + int.from_bytes(batch[start : start + 4], "little")
        found.append(batch[start:end])
        start = end
    return found
