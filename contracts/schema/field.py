"""One field of a document and one rule over several, as a contract's author declares them."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from contracts.schema.kinds import ANY_ID, JSON, OBJECT_ID, Kind


class ContractError(ValueError):
    """A contract can't be derived; the message names the field and what to change."""


@dataclass(frozen=True, eq=False)
class Field:
    """One field of a document.

    Attributes:
        name: The field's name in MongoDB.
        kind: What the value is; ``None`` for a subdocument or an array of documents, which have ``fields``.
        description: One sentence for the catalogs and the data dictionary.
        nullable: Whether null and missing are lawful.
        vocabulary: The known values of a category. A new value is drift, unless ``closed``: then it is refused.
        closed: Whether values outside the vocabulary break the contract.
        minimum: Least lawful value of a number.
        maximum: Greatest lawful value of a number.
        min_length: Least number of characters of a text.
        max_length: Greatest number of characters of a text.
        fields: The fields of a subdocument or of the items of an array of documents.
        repeated: Whether ``fields`` describe the items of an array.
    """

    name: str
    kind: Kind | None
    description: str
    nullable: bool = False
    vocabulary: tuple[str, ...] = ()
    closed: bool = False
    minimum: int | None = None
    maximum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    fields: tuple["Field", ...] = ()
    repeated: bool = False

    def __post_init__(self) -> None:
        """Refuse options that say nothing about values of this kind, so that no check is declared in vain."""
        if problem := next(_problems(self), None):
            raise ContractError(f"the field {self.name!r} {problem}")


@dataclass(frozen=True, eq=False)
class Rule:
    """A named condition on the columns of one row of the root table; null counts as kept.

    Attributes:
        name: What the quarantine calls it when it is broken.
        condition: A Polars expression that is true where the row is lawful.
        description: One sentence for the data dictionary.
    """

    name: str
    condition: pl.Expr
    description: str


def _problems(field: Field) -> Iterator[str]:
    kind = None if field.kind is None else field.kind.item or field.kind
    is_text = kind is not None and kind.frame == pl.String() and kind not in (JSON, OBJECT_ID, ANY_ID)
    is_number = kind is not None and kind.frame.is_numeric()
    if "." in field.name or "[" in field.name or field.name == "*" or field.name.startswith("^"):
        yield "can't be told from others: the reader takes . for a path and [ for an array, Polars ^ and * for patterns"
    if kind is not None and field.fields:
        yield "has a kind and fields of its own; only one of them can be"
    if (field.vocabulary or field.closed) and not is_text:
        yield "has a vocabulary, but is no text"
    if field.closed and not field.vocabulary:
        yield "is closed without a vocabulary: nothing would be lawful"
    yield from _limit_problems(field.minimum, field.maximum, "minimum or maximum", "number", is_number)
    yield from _limit_problems(field.min_length, field.max_length, "least or greatest length", "text", is_text)


def _limit_problems(low: int | None, high: int | None, what: str, kind: str, fits: bool) -> Iterator[str]:
    if not fits and not (low is None and high is None):
        yield f"has a {what}, but is no {kind}"
    if low is not None and high is not None and low > high:
        yield f"has the {what} {low} and {high}: nothing would be lawful"
