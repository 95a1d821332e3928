"""The tables that the stores have: their columns, their keys, and where in the documents their values stand."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from itertools import count

import polars as pl

from contracts.schema.field import ContractError, Field, Rule
from contracts.schema.kinds import Kind
from contracts.schema.names import check_column, check_table
from contracts.schema.stores import STORES

ID = "_id"
POSITION = "_position"
KEY = "_key"
EXTRA = "_extra"


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        name: Name in both stores and in the frames.
        kind: What its values are.
        description: Comment in the catalogs.
        nullable: Whether it may be null.
        path: Where the value stands in the document (or in the item, for a child table); empty for the place of an
            item, and where the item itself is the value.
        counts: Whether it is the number of items of the array at ``path``.
        field: The declared field it comes from, if any.
        stores: The stores that must hold its values.
    """

    name: str
    kind: Kind
    description: str
    nullable: bool = False
    path: tuple[str, ...] = ()
    counts: bool = False
    field: Field | None = None
    stores: tuple[str, ...] = STORES

    @property
    def origin(self) -> str:
        """Where the value comes from, in words for people."""
        return dotted(self.path) or self.name


@dataclass(frozen=True, eq=False)
class Table:
    """One table in the stores.

    Attributes:
        name: Name in both stores.
        description: Comment in the catalogs.
        columns: In order.
        key: Names of the primary key's columns; also ClickHouse's order key.
        parent: The table that its key but for the last column refers to, for the items of an array of documents.
        path: Where that array stands in the parent's document, or in the parent's item.
        indexes: Names of further columns that people filter by.
        rules: Conditions over several columns.
        outer: Of an array within arrays of documents, the tables of these, from the outermost one on.
        array: The array, or the map, whose items its rows are.
        is_stamped: Whether all rows bear the moment that a mart shows, so that each run brings them to its own.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    parent: str | None = None
    path: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    outer: tuple["Table", ...] = ()
    array: Field | None = None
    is_stamped: bool = False

    def __post_init__(self) -> None:
        """Refuse names that a store would cut or that meet another column's."""
        seen: dict[str, Column] = {}
        for column in self.columns:
            check_column(self.name, column.name)
            if other := seen.get(column.name):
                raise ContractError(
                    f"{self.name}: the fields {other.origin!r} and {column.origin!r} "
                    f"both become the column {column.name!r}; call one of them otherwise, such as by "
                    f"alias={_free(column.name, self.columns)!r}"
                )
            seen[column.name] = column
        check_table(self.name)
        for name in (*self.key, *self.indexes):
            if name not in seen:
                raise ContractError(f"{self.name}: no column {name!r} to index")
        bytes_ = {column.name for column in self.columns if column.kind.frame == pl.Binary()}
        for rule in self.rules:
            if met := bytes_.intersection(rule.condition.meta.root_names()):
                raise ContractError(f"{self.name}: the rule {rule.name} looks at {min(met)!r}, which is binary data")

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def levels(self) -> tuple["Table", ...]:
        """The tables of the arrays that lead to a row's item, itself included; none of the root table."""
        return () if self.parent is None else (*self.outer, self)

    @property
    def root(self) -> str:
        """The name of the table with one row per document, whose ``_id`` each row has."""
        return self.name if self.parent is None else str(self.levels[0].parent)

    @property
    def places(self) -> tuple[str, ...]:
        """Of each of the levels, the column of the item's place."""
        return self.key[1:] if self.levels else ()

    @property
    def is_map(self) -> bool:
        """Whether its rows are the entries of a map."""
        return self.array is not None and self.array.keyed

    @property
    def item_path(self) -> tuple[str, ...]:
        """Where its items stand in a document, ``*`` for any place in an array."""
        return tuple(step for level in self.levels for step in (*level.path, "*"))

    @property
    def frame_schema(self) -> pl.Schema:
        """The Polars schema of the normalised frame."""
        return pl.Schema({column.name: column.kind.frame for column in self.columns})

    @property
    def json_fields(self) -> list[Column]:
        """The columns of declared fields that are kept as JSON."""
        return [one for one in self.columns if one.kind.is_json and one.field is not None]

    def only(self, names: Container[str]) -> "Table":
        """Return the table with just these columns, for reading part of it."""
        columns = tuple(column for column in self.columns if column.name in names)
        key = tuple(name for name in self.key if name in names)
        return replace(self, columns=columns, key=key, indexes=(), rules=(), is_stamped=False)

    def column(self, name: str) -> Column:
        """Return one column by name."""
        return next(column for column in self.columns if column.name == name)


def dotted(path: tuple[str, ...]) -> str:
    """Return a path for people: names joined by dots, in quotes where they have some of their own."""
    return ".".join(f"'{name}'" if "." in name or not name else name for name in path)


def _free(name: str, columns: Iterable[Column]) -> str:
    """Return a name like another one that no column has."""
    taken = {column.name for column in columns}
    return next(other for number in count(2) if (other := f"{name}_{number}") not in taken)
