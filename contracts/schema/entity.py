"""What a contract is made of: fields as the documents have them, and the tables that follow from them."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from contracts.schema.field import ContractError, Field, Rule
from contracts.schema.kinds import ANY_ID, INTEGER, JSON, KEY_TEXT, OBJECT_ID, Kind
from contracts.schema.mistakes import check_tuples
from contracts.schema.names import DELETED, VERSION, check_column, check_table, snake_case

__all__ = [
    "DELETED",
    "EXTRA",
    "ID",
    "POSITION",
    "TEXT_KEY_CHARACTERS",
    "VERSION",
    "Column",
    "ContractError",
    "Entity",
    "Field",
    "Rule",
    "Table",
]

TEXT_KEY_CHARACTERS = 600  # 4 bytes each stay under the 2.7 kB that a b-tree entry may take
ID = "_id"
POSITION = "_position"
EXTRA = "_extra"


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        name: Name in both stores and in the frames.
        kind: What its values are.
        description: Comment in the catalogs.
        nullable: Whether it may be null.
        path: Where the value stands in the document (or in the item, for a child table); empty for ``_position``.
        counts: Whether it is the number of items of the array at ``path``.
        field: The declared field it comes from, if any.
    """

    name: str
    kind: Kind
    description: str
    nullable: bool = False
    path: tuple[str, ...] = ()
    counts: bool = False
    field: Field | None = None

    @property
    def origin(self) -> str:
        """Where the value comes from, in words for people."""
        return ".".join(self.path) or self.name


@dataclass(frozen=True, eq=False)
class Table:
    """One table in the stores.

    Attributes:
        name: Name in both stores.
        description: Comment in the catalogs.
        columns: In order.
        key: Names of the primary key's columns; also ClickHouse's order key.
        parent: The table that its ``_id`` refers to, for the items of an array of documents.
        path: Where that array stands in the parent's document.
        indexes: Names of further columns that people filter by.
        rules: Conditions over several columns.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    parent: str | None = None
    path: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that a store would cut or that meet another column's."""
        seen: dict[str, Column] = {}
        for column in self.columns:
            check_column(self.name, column.name)
            if other := seen.get(column.name):
                raise ContractError(
                    f"{self.name}: the fields {other.origin!r} and {column.origin!r} "
                    f"both become the column {column.name!r}; one of them needs another name"
                )
            seen[column.name] = column
        check_table(self.name)
        for name in (*self.key, *self.indexes):
            if name not in seen:
                raise ContractError(f"{self.name}: no column {name!r} to index")

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def frame_schema(self) -> pl.Schema:
        """The Polars schema of the normalised frame."""
        return pl.Schema({column.name: column.kind.frame for column in self.columns})

    def only(self, names: Container[str]) -> "Table":
        """Return the table with just these columns, for reading part of it."""
        columns = tuple(column for column in self.columns if column.name in names)
        key = tuple(name for name in self.key if name in names)
        return replace(self, columns=columns, key=key, indexes=(), rules=())

    def column(self, name: str) -> Column:
        """Return one column by name."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, eq=False)
class Entity:
    """The contract of one collection: the single source of everything that is derived from it.

    Attributes:
        collection: Name of the MongoDB collection; its snake case names the table and the contract's module.
        description: One sentence for the catalogs and the data dictionary.
        key: The business key, a field of the document, whose duplicates are reported, not refused; ``_id``, which has
            none, where documents have no other.
        fields: The document's fields, without ``_id``.
        rules: Conditions over several columns of a row.
        indexes: Columns of the root table that people filter by.
        id_kind: What ``_id`` is; ``any_id()`` where it is anything, such as a subdocument, or not always of one type.
        stem: Names the table and the contract's module, where the collection's snake case can't: it meets another name,
            or no store or file can bear it.
    """

    collection: str
    description: str
    key: str = ID
    fields: tuple[Field, ...] = ()
    rules: tuple[Rule, ...] = ()
    indexes: tuple[str, ...] = ()
    id_kind: Kind = OBJECT_ID
    stem: str = ""
    id_field: Field = field(init=False)

    def __post_init__(self) -> None:
        """Derive the tables at once, so that a contract that can't be derived fails at import."""
        check_tuples(
            self.collection, fields=(self.fields, Field), rules=(self.rules, Rule), indexes=(self.indexes, str)
        )
        is_text = self.id_kind.gate.get("bsonType") == "string"
        if is_text:  # whatever kind of text: as a key it is ordered by its bytes in both stores, as in MongoDB
            object.__setattr__(self, "id_kind", KEY_TEXT)
        limit = TEXT_KEY_CHARACTERS if is_text else None
        id_field = Field(ID, self.id_kind, "Identity of the document in MongoDB.", max_length=limit)
        object.__setattr__(self, "id_field", id_field)
        if self.id_kind is JSON or self.id_kind.is_array:
            raise ContractError(f"{self.collection}: an _id that is {self.id_kind.name} can't be a key in the stores")
        if any(one.name == ID for one in self.fields):
            raise ContractError(f"{self.collection}: every document has an '_id'; id_kind tells what it is, no field")
        if self.id_kind is not ANY_ID:
            _check_kind(self.id_kind, (ID,), self.collection, in_item=False)
        _ = self.tables
        if self.key not in self.root.names:
            raise ContractError(f"{self.collection}: the business key {self.key!r} is no field of it")

    @property
    def table(self) -> str:
        """The stem: name of the root table, of the contract's module, of tasks and assets."""
        return self.stem or snake_case(self.collection)

    @property
    def root(self) -> Table:
        """The table with one row per document."""
        return self.tables[0]

    @property
    def children(self) -> tuple[Table, ...]:
        """The tables with one row per item of an array of documents."""
        return self.tables[1:]

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The root table, then one table per array of documents."""
        id_column = Column(ID, self.id_kind, self.id_field.description, path=(ID,), field=self.id_field)
        extra = Column(EXTRA, JSON, "Undeclared fields, by JSON Pointer; null if none.", nullable=True, path=(EXTRA,))
        columns = (id_column, *_columns(self.fields, (), self.collection), extra)
        root = Table(self.table, self.description, columns, (ID,), indexes=self.indexes, rules=self.rules)
        return (root, *(self._child(path, array, id_column) for path, array in _repeated(self.fields, ())))

    def _child(self, path: tuple[str, ...], array: Field, id_column: Column) -> Table:
        if nested := next(_repeated(array.fields, ()), None):
            raise ContractError(
                f"{self.collection}: {'.'.join((*path, *nested[0]))!r} is an array of documents inside an array of "
                "documents; declare the outer one as a free-form document"
            )
        position = Column(POSITION, INTEGER, "Place of the item in its array, from 0.")
        return Table(
            name=f"{self.table}_{'_'.join(path)}",
            description=array.description,
            columns=(id_column, position, *_columns(array.fields, (), self.collection, in_item=True)),
            key=(ID, POSITION),
            parent=self.table,
            path=path,
        )


def _columns(
    fields: tuple[Field, ...], prefix: tuple[str, ...], owner: str, *, in_item: bool = False
) -> Iterator[Column]:
    """Yield the columns that fields become: subdocuments flattened, arrays followed by their count."""
    for one in fields:
        path = (*prefix, one.name)
        name = "item_id" if in_item and path == (ID,) else "_".join(path)
        if one.kind is not None:
            _check_kind(one.kind, path, owner, in_item=in_item)
            yield Column(name, one.kind, one.description, one.nullable, path, field=one)
        elif not one.fields:
            raise ContractError(f"{owner}: the field {'.'.join(path)!r} has neither a kind nor fields of its own")
        elif not one.repeated:
            yield from _columns(_as_nullable(one), path, owner, in_item=in_item)
        if one.repeated or (one.kind is not None and one.kind.is_array):
            text = f"Number of items of {'.'.join(path)}; null if it is null or missing."
            yield Column(f"{name}_count", INTEGER, text, one.nullable, path, counts=True)


def _check_kind(kind: Kind, path: tuple[str, ...], owner: str, *, in_item: bool) -> None:
    """Refuse what the reader has no type for, or what would not come through it unchanged."""
    field = f"{owner}: the field {'.'.join(path)!r}"
    if kind is JSON:
        if in_item:
            raise ContractError(f"{field} is free-form inside an array of documents; declare the array's parent so")
    elif kind.reader is None or kind.reader == [None]:
        raise ContractError(f"{field} is {kind.name}, which can't be read from MongoDB")


def _as_nullable(parent: Field) -> tuple[Field, ...]:
    """Return the fields of a subdocument, nullable if the subdocument itself may be missing."""
    if not parent.nullable:
        return parent.fields
    return tuple(replace(one, nullable=True) for one in parent.fields)


def _repeated(fields: tuple[Field, ...], prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
    for one in fields:
        if one.repeated:
            yield (*prefix, one.name), one
        elif one.fields:
            yield from _repeated(one.fields, (*prefix, one.name))
