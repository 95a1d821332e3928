"""The type table: what each kind of value is in BSON, in Arrow, in Polars and in both stores.

Every schema of the project is derived from this table, so a kind is defined here once and nowhere else.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import bson
import polars as pl
import pyarrow as pa
from bson.binary import UUID_SUBTYPE
from bson.int64 import Int64

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
DECIMAL_DIGITS = 34
UUID_BYTES = 16
BYTEWISE = ' COLLATE "C"'  # PostgreSQL's order of texts that MongoDB and ClickHouse have, whatever its database's is


@dataclass(frozen=True)
class BinaryOf:
    """Stands for PyMongoArrow's type of binary data, which is heavy to import.

    Attributes:
        subtype: Of which the reader takes no other.
    """

    subtype: int


@dataclass(frozen=True, eq=False)
class Kind:
    """How one kind of value is represented from end to end.

    Attributes:
        name: What the data dictionary calls it.
        gate: JSON-schema keywords that admit exactly the BSON values which the typed reader keeps unchanged.
        reader: The type PyMongoArrow reads it as; ``None`` where it is taken from the raw BSON instead.
        frame: Polars dtype of the normalised column.
        postgres: PostgreSQL column type.
        clickhouse: ClickHouse column type, without ``Nullable``.
        codec: ClickHouse compression codec; empty for the server's default.
        item: The kind of the items, for arrays.
        null_items: Whether items may be null, for arrays.
        subtype: The subtype of binary data.
    """

    name: str
    gate: dict[str, Any]
    reader: Any
    frame: pl.DataType
    postgres: str
    clickhouse: str
    codec: str = ""
    item: "Kind | None" = None
    null_items: bool = False
    subtype: int | None = None

    @property
    def is_array(self) -> bool:
        """Whether a value is a list of scalars."""
        return self.item is not None

    @property
    def is_json(self) -> bool:
        """Whether values are kept as JSON: documents, or any values."""
        return self.postgres == "jsonb"

    def clickhouse_type(self, *, nullable: bool) -> str:
        """Return the ClickHouse column type; arrays stay as they are, since ClickHouse has no nullable arrays."""
        return _nullable(self.clickhouse) if nullable and not self.is_array else self.clickhouse


def _nullable(clickhouse: str) -> str:
    if clickhouse.startswith("LowCardinality("):
        return f"LowCardinality(Nullable({clickhouse[15:-1]}))"
    return f"Nullable({clickhouse})"


OBJECT_ID = Kind("ObjectId", {"bsonType": "objectId"}, bson.ObjectId, pl.String(), f"text{BYTEWISE}", "String")
TEXT = Kind("text", {"bsonType": "string"}, pa.string(), pl.String(), "text", "String", "ZSTD(1)")
KEY_TEXT = Kind("text key", {"bsonType": "string"}, pa.string(), pl.String(), f"text{BYTEWISE}", "String", "ZSTD(1)")
# What an _id may be in MongoDB; as canonical Extended JSON, which the typed reader has no part in.
ANY_ID = Kind(
    "any id",
    {
        "bsonType": [
            "double",
            "string",
            "object",
            "binData",
            "objectId",
            "bool",
            "date",
            "null",
            "int",
            "timestamp",
            "long",
            "decimal",
            "javascript",
            "javascriptWithScope",
            "minKey",
            "maxKey",
        ]
    },
    None,
    pl.String(),
    f"text{BYTEWISE}",
    "String",
    "ZSTD(1)",
)
CATEGORY = Kind("category", {"bsonType": "string"}, pa.string(), pl.String(), "text", "LowCardinality(String)")
# The typed reader cuts 7.5 to 7 and makes integers of NaN and infinities: doubles pass only if integral and in range.
INTEGER = Kind(
    "integer",
    {
        "bsonType": ["int", "long", "double"],
        "multipleOf": 1,
        "minimum": Int64(INT64_MIN),
        "maximum": Int64(INT64_MAX),
    },
    pa.int64(),
    pl.Int64(),
    "bigint",
    "Int64",
    "T64, ZSTD(1)",
)
# A long read as a double loses bits beyond 2^53, so only doubles and 32-bit integers pass.
NUMBER = Kind("number", {"bsonType": ["double", "int"]}, pa.float64(), pl.Float64(), "double precision", "Float64")
BOOLEAN = Kind("boolean", {"bsonType": "bool"}, pa.bool_(), pl.Boolean(), "boolean", "Bool")
# Events arrive roughly in order of time, so second differences are small: DoubleDelta before ZSTD.
TIMESTAMP = Kind(
    "timestamp",
    {"bsonType": "date"},
    pa.timestamp("ms"),
    pl.Datetime("ms", "UTC"),
    "timestamptz",
    "DateTime64(3, 'UTC')",
    "DoubleDelta, ZSTD(1)",
)
# A cluster time: seconds, and the ordinal within the second as microseconds.
MOMENT = Kind(
    "moment", {}, None, pl.Datetime("us", "UTC"), "timestamptz", "DateTime64(6, 'UTC')", "DoubleDelta, ZSTD(1)"
)
DATE = Kind("date", {}, None, pl.Date(), "date", "Date32", "DoubleDelta, ZSTD(1)")
JSON = Kind("document", {"bsonType": "object"}, None, pl.String(), "jsonb", "String", "ZSTD(1)")
# All types but null, which is lawful where a field is nullable, as everywhere.
_TYPES = (
    "double string object array binData undefined objectId bool date regex dbPointer javascript symbol "
    "javascriptWithScope int timestamp long decimal minKey maxKey"
)
ANY = Kind("JSON", {"bsonType": _TYPES.split()}, None, pl.String(), "jsonb", "String", "ZSTD(1)")
TEXTS = (TEXT, KEY_TEXT, CATEGORY)

# Two subtypes are two types; the gate can't tell them apart, so the reader and the slow path do.
UUID = Kind(
    "UUID",
    {"bsonType": "binData"},
    BinaryOf(UUID_SUBTYPE),
    pl.String(),
    "uuid",
    "UUID",
    "ZSTD(1)",
    subtype=UUID_SUBTYPE,
)


@cache
def binary_kind(subtype: int) -> Kind:
    """Return the kind of binary data of one subtype, which is not told again with each value."""
    name = f"binary of subtype {subtype}" if subtype else "binary"
    reader = BinaryOf(subtype)
    return Kind(name, {"bsonType": "binData"}, reader, pl.Binary(), "bytea", "String", "ZSTD(1)", subtype=subtype)


def decimal_kind(precision: int, scale: int) -> Kind:
    """Return the kind of an exact decimal number that fits ``numeric(precision, scale)``.

    Args:
        precision: All digits, at most ``DECIMAL_DIGITS``, what Decimal128 holds.
        scale: Digits after the point.
    """
    type_name = f"({precision}, {scale})"
    step, limit = bson.Decimal128(f"1E-{scale}"), bson.Decimal128(f"{10**precision - 1}E-{scale}")
    gate = {"bsonType": "decimal", "multipleOf": step, "minimum": bson.Decimal128(f"-{limit}"), "maximum": limit}
    frame = pl.Decimal(precision, scale)
    return Kind(f"decimal{type_name}", gate, bson.Decimal128, frame, f"numeric{type_name}", f"Decimal{type_name}")


def array_kind(item: Kind, *, null_items: bool = False) -> Kind:
    """Return the kind of an array of scalars.

    Args:
        item: The kind of the items.
        null_items: Whether items may be null; otherwise the gate refuses such arrays.
    """
    types = item.gate["bsonType"]
    items = {**item.gate, "bsonType": [*([types] if isinstance(types, str) else types), "null"]}
    return Kind(
        f"array of {item.name}{' or null' * null_items}",
        {"bsonType": "array", "items": items if null_items else item.gate},
        [item.reader],
        pl.List(item.frame),
        f"{item.postgres.removesuffix(BYTEWISE)}[]",
        f"Array({_nullable(item.clickhouse) if null_items else item.clickhouse})",
        "ZSTD(1)",
        item,
        null_items,
    )
