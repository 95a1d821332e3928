"""Binary data as the typed reader knows it: of one subtype, which it holds each value against."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from bson.binary import UUID_SUBTYPE

from contracts.schema.kinds import UUID_BYTES, BinaryOf


class NoUuidError(ValueError):
    """Binary data are called a UUID, and are none."""


def with_binary_types(types: Any) -> Any:
    """Return types for the reader, nested as it has them, with PyMongoArrow's own in place of what stands for it."""
    from pymongoarrow.types import BinaryType  # heavy, as in transforms.ingest.decode

    if isinstance(types, dict):
        return {name: with_binary_types(inside) for name, inside in types.items()}
    if isinstance(types, list):
        return [with_binary_types(inside) for inside in types]
    return BinaryType(types.subtype) if isinstance(types, BinaryOf) else types


def check_uuids(table: pa.Table) -> None:
    """Refuse UUIDs that have not 16 bytes, which no reader minds.

    Args:
        table: As the reader yields it.

    Raises:
        NoUuidError: There is one.
    """
    for column in table.columns:
        for chunk in column.chunks:
            for uuids in _uuids(chunk):
                if pc.any(pc.not_equal(pc.binary_length(uuids.storage), UUID_BYTES)).as_py():
                    raise NoUuidError(f"binary data of subtype {UUID_SUBTYPE} that have not {UUID_BYTES} bytes")


def _uuids(array: pa.Array) -> Iterator[pa.ExtensionArray]:
    """Yield what is read as UUIDs, at any depth."""
    if getattr(array.type, "subtype", None) == UUID_SUBTYPE:
        yield array
    elif isinstance(array, pa.ListArray):
        yield from _uuids(array.values)
    elif isinstance(array, pa.StructArray):
        for number in range(array.type.num_fields):
            yield from _uuids(array.field(number))
