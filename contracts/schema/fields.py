"""The words that contracts are written in: one function per kind of field."""

from typing import Any

import polars as pl

from contracts.schema.entity import TEXT_KEY_CHARACTERS, ContractError, Field, Rule
from contracts.schema.kinds import (
    BOOLEAN,
    CATEGORY,
    DATE,
    DECIMAL_DIGITS,
    INTEGER,
    JSON,
    NUMBER,
    TEXT,
    TIMESTAMP,
    array_kind,
    decimal_kind,
)


def identifier(name: str, description: str, **options: Any) -> Field:
    """Declare an id: any text that is not empty and short enough for an index."""
    return Field(name, TEXT, description, min_length=1, max_length=TEXT_KEY_CHARACTERS, **options)


def text(name: str, description: str, **options: Any) -> Field:
    """Declare a text of any length."""
    return Field(name, TEXT, description, **options)


def category(name: str, description: str, *vocabulary: str, **options: Any) -> Field:
    """Declare a text with few distinct values; new ones are reported, or refused if ``closed=True``."""
    return Field(name, CATEGORY, description, vocabulary=vocabulary, **options)


def integer(name: str, description: str, **options: Any) -> Field:
    """Declare a 64-bit integer; ``minimum`` and ``maximum`` bound it."""
    return Field(name, INTEGER, description, **options)


def number(name: str, description: str, **options: Any) -> Field:
    """Declare a double."""
    return Field(name, NUMBER, description, **options)


def boolean(name: str, description: str, **options: Any) -> Field:
    """Declare a truth value."""
    return Field(name, BOOLEAN, description, **options)


def timestamp(name: str, description: str, **options: Any) -> Field:
    """Declare a moment in UTC, exact to the millisecond."""
    return Field(name, TIMESTAMP, description, **options)


def date(name: str, description: str, **options: Any) -> Field:
    """Declare a UTC day (marts only: BSON has no such type)."""
    return Field(name, DATE, description, **options)


def money(name: str, description: str, **options: Any) -> Field:
    """Declare an amount of money: Decimal128 in MongoDB, two digits after the point, 12 in all."""
    return decimal(name, description, 12, 2, **options)


def decimal(name: str, description: str, precision: int, scale: int, **options: Any) -> Field:
    """Declare an exact decimal number of ``precision`` digits, ``scale`` of them after the point."""
    if not (1 <= precision <= DECIMAL_DIGITS and 0 <= scale <= precision):
        raise ContractError(
            f"{name}: decimal({precision}, {scale}) is no kind; Decimal128 holds {DECIMAL_DIGITS} digits"
        )
    return Field(name, decimal_kind(precision, scale), description, **options)


def free_form(name: str, description: str, **options: Any) -> Field:
    """Declare a document of any shape, kept as JSON."""
    return Field(name, JSON, description, **options)


def texts(name: str, description: str, **options: Any) -> Field:
    """Declare an array of texts."""
    return Field(name, array_kind(TEXT), description, **options)


def categories(name: str, description: str, *vocabulary: str, **options: Any) -> Field:
    """Declare an array of texts with few distinct values."""
    return Field(name, array_kind(CATEGORY), description, vocabulary=vocabulary, **options)


def subdocument(name: str, description: str, *fields: Field, **options: Any) -> Field:
    """Declare a subdocument; its fields become columns of the parent's table."""
    return Field(name, None, description, fields=fields, **options)


def documents(name: str, description: str, *fields: Field, **options: Any) -> Field:
    """Declare an array of documents; its items become the rows of a child table."""
    return Field(name, None, description, fields=fields, repeated=True, **options)


def rule(name: str, condition: pl.Expr, description: str) -> Rule:
    """Declare a condition over several columns of the root table's row."""
    return Rule(name, condition, description)
