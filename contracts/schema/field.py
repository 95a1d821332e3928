"""One field of a document and one rule over several, as a contract's author declares them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import polars as pl

from contracts.schema.kinds import TEXT, TEXTS, Kind


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
        repeated: Whether ``fields`` describe the items of an array, or the entries of a map.
        keyed: Whether it is a map: a subdocument whose names are data.
        bare: Whether a map's values are no documents of ``fields``, but each is what the only one of these describes.
        alias: What its column is called, if not by its name; of a subdocument what the columns of its fields begin
            with, of an array of documents what its child table's name ends with.
        misfits: What becomes of a document whose value here can't be held: ``refuse``, the document is quarantined;
            ``extra``, the value is kept in ``_extra``, and the column is null. Empty for what the contract says of all.
        omitted: Whether it is neither read nor kept, only counted.
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
    keyed: bool = False
    bare: bool = False
    alias: str = ""
    misfits: str = ""
    omitted: bool = False

    @property
    def label(self) -> str:
        """Its part of the names of columns and tables."""
        return self.alias or self.name

    def __post_init__(self) -> None:
        """Refuse options that say nothing about values of this kind, so that no check is declared in vain."""
        if problem := next(_problems(self), None):
            raise ContractError(f"the field {self.name!r} {problem}")

    @property
    def can_lack_misfits(self) -> bool:
        """Whether a value may be kept aside: whatever is null then may be null."""
        return self.nullable and not (self.repeated and any(not one.nullable for one in self.fields))

    @property
    def shows_numbers(self) -> bool:
        """Whether a number that is aside is shown as a text, which breaks no rule of the field then."""
        limits = (self.min_length, self.max_length, *self.vocabulary)
        return self.misfits == "extra" and self.kind is TEXT and all(one is None for one in limits)

    def with_misfits(self, inherited: str) -> "Field":
        """Return the field with its misfits, and those of the fields within it, as said or else inherited."""
        if self.omitted:
            return self
        inside = tuple(one.with_misfits(inherited) for one in self.fields)
        said = self.misfits or (inherited if self.can_lack_misfits else "refuse")
        return replace(self, fields=inside, misfits=said)


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
    is_text = kind in TEXTS
    is_number = kind is not None and kind.frame.is_numeric()
    if "\0" in field.name:
        yield "has a name that no document can have"
    if twice := first_twice(one.name for one in field.fields):
        yield f"declares {twice!r} twice"
    if kind is not None and field.fields:
        yield "has a kind and fields of its own; only one of them can be"
    if (field.vocabulary or field.closed) and not is_text:
        yield "has a vocabulary, but is no text"
    if field.closed and not field.vocabulary:
        yield "is closed without a vocabulary: nothing would be lawful"
    yield from _misfit_problems(field)
    if field.keyed and any(_omit(field.fields)):
        yield "is a map, and nothing can be left out of a map's values; omit all of it, or nothing"
    yield from _limit_problems(field.minimum, field.maximum, "minimum or maximum", "number", is_number)
    yield from _limit_problems(field.min_length, field.max_length, "least or greatest length", "text", is_text)


def first_twice(names: Iterable[str]) -> str | None:
    """Return the first of some names that stands there twice."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _omit(fields: Iterable[Field]) -> Iterator[bool]:
    for one in fields:
        yield one.omitted or any(_omit(one.fields))


def _misfit_problems(field: Field) -> Iterator[str]:
    if field.misfits not in ("", "refuse", "extra"):
        yield f"says misfits={field.misfits!r}, which is neither 'refuse' nor 'extra'"
    elif field.misfits == "extra" and not field.nullable:
        yield "says misfits='extra', so it is null where a value is kept aside; it must say nullable=True as well"
    elif field.misfits == "extra" and not field.can_lack_misfits:
        yield "says misfits='extra', so an item that is no document is a row of nulls; all its fields must be nullable"


def _limit_problems(low: int | None, high: int | None, what: str, kind: str, fits: bool) -> Iterator[str]:
    if not fits and not (low is None and high is None):
        yield f"has a {what}, but is no {kind}"
    if low is not None and high is not None and low > high:
        yield f"has the {what} {low} and {high}: nothing would be lawful"
