"""The words that contracts are written in: one function per kind of field."""

from typing import TypedDict, Unpack

import polars as pl

from contracts.schema.entity import TEXT_KEY_CHARACTERS, ContractError, Field, Rule
from contracts.schema.kinds import (
    ANY,
    ANY_ID,
    BOOLEAN,
    CATEGORY,
    DATE,
    DECIMAL_DIGITS,
    INTEGER,
    JSON,
    NUMBER,
    OBJECT_ID,
    TEXT,
    TIMESTAMP,
    UUID,
    Kind,
    array_kind,
    binary_kind,
    decimal_kind,
)
from contracts.schema.mistakes import word


class FieldOptions(TypedDict, total=False):
    """What may be said of any field.

    Attributes:
        nullable: Whether null and missing are lawful.
        alias: What its column is called, if not by its name.
        misfits: What becomes of a document whose value here is of another type, or can't be held: ``"refuse"``, it is
            quarantined; ``"extra"``, the value is kept in ``_extra`` and the column is null.
    """

    nullable: bool
    alias: str
    misfits: str


class TextOptions(FieldOptions, total=False):
    """What may be said of texts.

    Attributes:
        min_length: Least number of characters.
        max_length: Greatest number of characters.
    """

    min_length: int
    max_length: int


class CategoryOptions(TextOptions, total=False):
    """What may be said of texts with few distinct values.

    Attributes:
        closed: Whether values outside the vocabulary break the contract; otherwise they are drift.
    """

    closed: bool


class NumberOptions(FieldOptions, total=False):
    """What may be said of numbers.

    Attributes:
        minimum: Least lawful value.
        maximum: Greatest lawful value.
    """

    minimum: int
    maximum: int


@word
def identifier(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare an id: any text that is not empty and short enough for an index."""
    return Field(name, TEXT, description, min_length=1, max_length=TEXT_KEY_CHARACTERS, **options)


@word
def text(name: str, description: str, **options: Unpack[TextOptions]) -> Field:
    """Declare a text of any length."""
    return Field(name, TEXT, description, **options)


@word
def category(name: str, description: str, *vocabulary: str, **options: Unpack[CategoryOptions]) -> Field:
    """Declare a text with few distinct values; new ones are reported, or refused if ``closed=True``."""
    return Field(name, CATEGORY, description, vocabulary=vocabulary, **options)


@word
def integer(name: str, description: str, **options: Unpack[NumberOptions]) -> Field:
    """Declare a 64-bit integer; ``minimum`` and ``maximum`` bound it."""
    return Field(name, INTEGER, description, **options)


@word
def number(name: str, description: str, **options: Unpack[NumberOptions]) -> Field:
    """Declare a double."""
    return Field(name, NUMBER, description, **options)


@word
def boolean(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare a truth value."""
    return Field(name, BOOLEAN, description, **options)


@word
def timestamp(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare a moment in UTC, exact to the millisecond."""
    return Field(name, TIMESTAMP, description, **options)


@word
def object_id(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare an ObjectId, such as a reference to another document: 24 hexadecimal digits, as in ``_id``."""
    return Field(name, OBJECT_ID, description, **options)


@word
def date(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare a day (marts only: BSON has no such type)."""
    return Field(name, DATE, description, **options)


@word
def money(name: str, description: str, **options: Unpack[NumberOptions]) -> Field:
    """Declare an amount of money: Decimal128 in MongoDB, two digits after the point, 12 in all."""
    return decimal(name, description, 12, 2, **options)


@word
def decimal(name: str, description: str, precision: int, scale: int, **options: Unpack[NumberOptions]) -> Field:
    """Declare an exact decimal number of ``precision`` digits, ``scale`` of them after the point."""
    return Field(name, _checked_decimal(name, precision, scale), description, **options)


@word
def free_form(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare a document of any shape, kept as JSON."""
    return Field(name, JSON, description, **options)


@word
def json(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare a value of any BSON type, kept as JSON: mixed types, arrays of arrays, what no other word holds."""
    return Field(name, ANY, description, **options)


@word
def uuid(name: str, description: str, **options: Unpack[FieldOptions]) -> Field:
    """Declare a UUID: binary data of subtype 4, 16 bytes; any other is refused."""
    return Field(name, UUID, description, **options)


@word
def binary(name: str, description: str, *, subtype: int = 0, **options: Unpack[FieldOptions]) -> Field:
    """Declare binary data of one subtype; any other is refused."""
    if subtype == UUID.subtype or not 0 <= subtype <= 255:
        raise ContractError(f"{name}: binary data of subtype {subtype} is no kind; 4 is declared as uuid(...)")
    return Field(name, binary_kind(subtype), description, **options)


@word
def texts(name: str, description: str, *, null_items: bool = False, **options: Unpack[TextOptions]) -> Field:
    """Declare an array of texts; some may be null if ``null_items=True``."""
    return Field(name, array_kind(TEXT, null_items=null_items), description, **options)


@word
def categories(
    name: str, description: str, *vocabulary: str, null_items: bool = False, **options: Unpack[CategoryOptions]
) -> Field:
    """Declare an array of texts with few distinct values."""
    return Field(name, array_kind(CATEGORY, null_items=null_items), description, vocabulary=vocabulary, **options)


@word
def integers(name: str, description: str, *, null_items: bool = False, **options: Unpack[NumberOptions]) -> Field:
    """Declare an array of 64-bit integers."""
    return Field(name, array_kind(INTEGER, null_items=null_items), description, **options)


@word
def numbers(name: str, description: str, *, null_items: bool = False, **options: Unpack[NumberOptions]) -> Field:
    """Declare an array of doubles."""
    return Field(name, array_kind(NUMBER, null_items=null_items), description, **options)


@word
def decimals(
    name: str,
    description: str,
    precision: int,
    scale: int,
    *,
    null_items: bool = False,
    **options: Unpack[NumberOptions],
) -> Field:
    """Declare an array of exact decimal numbers."""
    kind = array_kind(_checked_decimal(name, precision, scale), null_items=null_items)
    return Field(name, kind, description, **options)


@word
def booleans(name: str, description: str, *, null_items: bool = False, **options: Unpack[FieldOptions]) -> Field:
    """Declare an array of truth values."""
    return Field(name, array_kind(BOOLEAN, null_items=null_items), description, **options)


@word
def timestamps(name: str, description: str, *, null_items: bool = False, **options: Unpack[FieldOptions]) -> Field:
    """Declare an array of moments in UTC."""
    return Field(name, array_kind(TIMESTAMP, null_items=null_items), description, **options)


@word
def object_ids(name: str, description: str, *, null_items: bool = False, **options: Unpack[FieldOptions]) -> Field:
    """Declare an array of ObjectIds."""
    return Field(name, array_kind(OBJECT_ID, null_items=null_items), description, **options)


@word
def subdocument(name: str, description: str, *fields: Field, **options: Unpack[FieldOptions]) -> Field:
    """Declare a subdocument; its fields become columns of the parent's table."""
    return Field(name, None, description, fields=fields, **options)


@word
def documents(name: str, description: str, *fields: Field, **options: Unpack[FieldOptions]) -> Field:
    """Declare an array of documents; its items become the rows of a child table."""
    return Field(name, None, description, fields=fields, repeated=True, **options)


@word
def map_of(name: str, description: str, *values: Field | Kind, **options: Unpack[FieldOptions]) -> Field:
    """Declare a map, a subdocument whose names are data; its entries become the rows of a child table, by ``_key``.

    Its values are documents of fields or, where one kind is given such as ``INTEGER``, of that kind each.
    """
    if len(values) == 1 and isinstance(values[0], Kind):
        value = Field("value", values[0], "Value of the entry.", nullable=True, misfits=options.get("misfits", ""))
        return Field(name, None, description, fields=(value,), repeated=True, keyed=True, bare=True, **options)
    if kinds := [one for one in values if isinstance(one, Kind)]:
        raise ContractError(f"the field {name!r}: map_of() takes fields or one kind, but was given {kinds[0].name} too")
    fields = tuple(one for one in values if isinstance(one, Field))
    return Field(name, None, description, fields=fields, repeated=True, keyed=True, **options)


@word
def any_id() -> Kind:
    """Declare, as ``id_kind=any_id()``, ``_id``s of any type: a text, each as canonical Extended JSON."""
    return ANY_ID


@word
def omit(name: str) -> Field:
    """Declare a field that is neither read nor kept, in the stores or the quarantine: runs only count it."""
    return Field(name, None, "Omitted.", nullable=True, omitted=True)


@word
def rule(name: str, condition: pl.Expr, description: str) -> Rule:
    """Declare a condition over several columns of the root table's row."""
    return Rule(name, condition, description)


def _checked_decimal(name: str, precision: int, scale: int) -> Kind:
    if not (1 <= precision <= DECIMAL_DIGITS and 0 <= scale <= precision):
        raise ContractError(
            f"{name}: decimal({precision}, {scale}) is no kind; Decimal128 holds {DECIMAL_DIGITS} digits"
        )
    return decimal_kind(precision, scale)
