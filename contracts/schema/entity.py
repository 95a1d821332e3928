"""What a contract is made of: fields as the documents have them, and the tables that follow from them."""

from collections.abc import Container, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import count

import polars as pl

from contracts.schema.field import ContractError, Field, Rule, first_twice
from contracts.schema.history import check_history
from contracts.schema.kinds import ANY_ID, INTEGER, JSON, KEY_TEXT, OBJECT_ID, Kind
from contracts.schema.mistakes import check_tuples
from contracts.schema.names import DELETED, VERSION, check_column, check_table, snake_case
from contracts.schema.namespace import Namespace, plain_name
from contracts.schema.stores import STORES

__all__ = [
    "DELETED",
    "EXTRA",
    "ID",
    "KEY",
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
        return replace(self, columns=columns, key=key, indexes=(), rules=())

    def column(self, name: str) -> Column:
        """Return one column by name."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, eq=False)
class Entity:
    """The contract of one collection: the single source of everything that is derived from it.

    Attributes:
        collection: Name of the MongoDB collection. Where a database is named, it stands in front from here on, as in
            books, messages and commands: ``database.collection``.
        description: One sentence for the catalogs and the data dictionary.
        key: The column of the business key, whose duplicates are reported, not refused; ``_id``, which has
            none, where documents have no other.
        fields: The document's fields, without ``_id``.
        rules: Conditions over several columns of a row.
        indexes: Columns of the root table that people filter by.
        id_kind: What ``_id`` is; ``any_id()`` where it is anything, such as a subdocument, or not always of one type.
        table: Names the root table, the contract's module, tasks and assets. If it is not said, it is the collection's
            name in snake case; it must be said where that meets another name, or no store or file can bear it.
        database: Name of the MongoDB database, if it is not the one that ``ETL_MONGO_DATABASE`` names.
        whole: Name of a column that holds each document whole, as JSON, ``_id`` included; then no fields are declared.
        misfits: What ``misfits`` is for each field that says nothing of it and may be null: ``refuse`` or ``extra``.
        history: Whether what publishes change or remove is kept in ``history.<table>``, with the time it was shown.
    """

    collection: str
    description: str
    key: str = ID
    fields: tuple[Field, ...] = ()
    rules: tuple[Rule, ...] = ()
    indexes: tuple[str, ...] = ()
    id_kind: Kind = OBJECT_ID
    table: str = ""
    database: str = ""
    whole: str = ""
    misfits: str = "refuse"
    history: bool = False
    id_field: Field = field(init=False)
    _stores: tuple[str, ...] = field(init=False, default=STORES, repr=False)

    def __post_init__(self) -> None:
        """Derive the tables at once, so that a contract that can't be derived fails at import."""
        if self.database and not isinstance(self.collection, Namespace):
            object.__setattr__(self, "collection", Namespace(self.database, self.collection))
        object.__setattr__(self, "table", self.table or snake_case(plain_name(self.collection)))
        check_tuples(
            self.collection, fields=(self.fields, Field), rules=(self.rules, Rule), indexes=(self.indexes, str)
        )
        if self.misfits not in ("refuse", "extra"):
            raise ContractError(f"{self.collection}: misfits is {self.misfits!r}, neither 'refuse' nor 'extra'")
        object.__setattr__(self, "fields", tuple(one.with_misfits(self.misfits) for one in self.fields))
        is_text = self.id_kind.gate.get("bsonType") == "string"
        if is_text:  # whatever kind of text: as a key it is ordered by its bytes in both stores, as in MongoDB
            object.__setattr__(self, "id_kind", KEY_TEXT)
        limit = TEXT_KEY_CHARACTERS if is_text else None
        id_field = Field(ID, self.id_kind, "Identity of the document in MongoDB.", max_length=limit)
        object.__setattr__(self, "id_field", id_field)
        if self.id_kind.is_json or self.id_kind.is_array or self.id_kind.subtype is not None:
            raise ContractError(
                f"{self.collection}: an _id that is {self.id_kind.name} can't be a key in the stores as it is; "
                "say id_kind=any_id(), which keeps it as Extended JSON"
            )
        if any(one.name == ID for one in self.fields):
            raise ContractError(f"{self.collection}: every document has an '_id'; id_kind tells what it is, no field")
        if twice := first_twice(one.name for one in self.fields):
            raise ContractError(f"{self.collection} declares the field {twice!r} twice")
        if self.whole and self.fields:
            raise ContractError(f"{self.collection}: it is taken whole, so it declares no fields")
        if self.id_kind is not ANY_ID:
            _check_kind(self.id_kind, (ID,), self.collection)
        if twice := first_twice(table.name for table in self.tables):
            raise ContractError(
                f"{self.collection}: two arrays become the table {twice!r}; call one of them otherwise by alias='...'"
            )
        if self.history:
            check_history(self.tables)
        if self.key not in self.root.names:
            raise ContractError(f"{self.collection}: the business key {self.key!r} is no field of it")

    @cached_property
    def keeps_misfits(self) -> bool:
        """Whether any field's misfits are kept aside."""
        return any(_keep_misfits(self.fields))

    @property
    def stores(self) -> tuple[str, ...]:
        """The stores that must hold its values: both, but for what :meth:`within` returns."""
        return self._stores

    def within(self, stores: Container[str]) -> "Entity":
        """Return the contract where only some stores must hold its values: what others can't is lawful then."""
        wanted = tuple(one for one in STORES if one in stores)
        return self if wanted in (STORES, ()) else _within(self, wanted)

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
        """The root table, then one table per array of documents, each before those within it."""
        id_column = Column(ID, self.id_kind, self.id_field.description, path=(ID,), field=self.id_field)
        extra = Column(EXTRA, JSON, "Undeclared fields, by JSON Pointer; null if none.", nullable=True, path=(EXTRA,))
        columns = (id_column, *_columns(self.fields, (), (), self.collection), extra)
        if self.whole:
            all_of_it = Field(self.whole, JSON, "The whole document, as JSON.")
            columns = (id_column, Column(self.whole, JSON, all_of_it.description, field=all_of_it))
        root = Table(self.table, self.description, columns, (ID,), indexes=self.indexes, rules=self.rules)
        return (root, *self._below(root, self.fields))

    def _below(self, parent: Table, fields: tuple[Field, ...]) -> Iterator[Table]:
        """Yield the tables of the arrays of documents that a table's documents or items have, parents first."""
        for array in _repeated(fields, (), ()):
            own = Column(POSITION, INTEGER, "Place of the item in its array, from 0.")
            values: Iterable[Column] = _columns(array.field.fields, (), (), self.collection, in_item=True)
            if array.field.keyed:
                own = Column(KEY, KEY_TEXT, "Name of the entry in its map.")
            if array.field.bare:
                values = (replace(one, path=()) for one in values)
            key = (*_outer_key(parent), own)
            child = Table(
                name="_".join((parent.name, *array.labels)),
                description=array.field.description,
                columns=(*key, *values),
                key=tuple(column.name for column in key),
                parent=parent.name,
                path=array.path,
                outer=parent.levels,
                array=array.field,
            )
            yield child
            yield from self._below(child, array.field.fields)


@lru_cache
def _within(entity: Entity, stores: tuple[str, ...]) -> Entity:
    made = copy(entity)
    columns = {table.name: tuple(replace(one, stores=stores) for one in table.columns) for table in entity.tables}
    tables = tuple(replace(table, columns=columns[table.name]) for table in entity.tables)
    object.__setattr__(made, "_stores", stores)
    object.__setattr__(made, "tables", tables)  # in place of what is derived from the fields
    return made


def _outer_key(parent: Table) -> tuple[Column, ...]:
    """Return the columns by which an item refers to its parent's row, whose own place is called by its array."""
    *above, own = (parent.column(name) for name in parent.key)
    if not parent.levels:
        return (own,)
    names = (f"_{parent.name.removeprefix(f'{table}_')}{own.name}" for table in (parent.parent, parent.root))
    name = next(one for one in names if one not in parent.key)
    return (*above, replace(own, name=name, description=f"Place of the item of {parent.name} that it is in, from 0."))


def dotted(path: tuple[str, ...]) -> str:
    """Return a path for people: names joined by dots, in quotes where they have some of their own."""
    return ".".join(f"'{name}'" if "." in name or not name else name for name in path)


def _free(name: str, columns: Iterable[Column]) -> str:
    """Return a name like another one that no column has."""
    taken = {column.name for column in columns}
    return next(other for number in count(2) if (other := f"{name}_{number}") not in taken)


def _keep_misfits(fields: tuple[Field, ...]) -> Iterator[bool]:
    for one in fields:
        yield one.misfits == "extra" or any(_keep_misfits(one.fields))


def _columns(
    fields: tuple[Field, ...], above: tuple[str, ...], prefix: tuple[str, ...], owner: str, *, in_item: bool = False
) -> Iterator[Column]:
    """Yield the columns that fields become: subdocuments flattened, arrays followed by their count.

    Args:
        fields: Of one level.
        above: Names of the fields above.
        prefix: What these are called in the names of columns.
        owner: The collection.
        in_item: Whether they are fields of an item of an array.
    """
    for one in fields:
        if one.omitted:
            continue
        path, labels = (*above, one.name), (*prefix, one.label)
        if not one.label:
            raise ContractError(f"{owner}: the field {dotted(path)} has no name; say alias='...' of it")
        name = "item_id" if in_item and labels == (ID,) else "_".join(labels)
        if one.kind is not None:
            _check_kind(one.kind, path, owner)
            yield Column(name, one.kind, one.description, one.nullable, path, field=one)
        elif not one.fields:
            raise ContractError(f"{owner}: the field {dotted(path)!r} has neither a kind nor fields of its own")
        elif not one.repeated:
            yield from _columns(_as_nullable(one), path, labels, owner, in_item=in_item)
        if one.repeated or (one.kind is not None and one.kind.is_array):
            text = f"Number of items of {dotted(path)}; null if it is null or missing."
            yield Column(f"{name}_count", INTEGER, text, one.nullable, path, counts=True)


def _check_kind(kind: Kind, path: tuple[str, ...], owner: str) -> None:
    """Refuse what can't be read."""
    if kind.reader in (None, [None]) and not kind.is_json:
        raise ContractError(f"{owner}: the field {dotted(path)!r} is {kind.name}, which can't be read from MongoDB")


def _as_nullable(parent: Field) -> tuple[Field, ...]:
    """Return the fields of a subdocument, nullable if the subdocument itself may be missing."""
    if not parent.nullable:
        return parent.fields
    return tuple(replace(one, nullable=True) for one in parent.fields)


@dataclass(frozen=True)
class _Repeated:
    """An array of documents: where it stands, and what its table is called by."""

    path: tuple[str, ...]
    labels: tuple[str, ...]
    field: Field


def _repeated(fields: tuple[Field, ...], above: tuple[str, ...], prefix: tuple[str, ...]) -> Iterator[_Repeated]:
    for one in fields:
        path, labels = (*above, one.name), (*prefix, one.label)
        if one.repeated:
            yield _Repeated(path, labels, one)
        elif one.fields:
            yield from _repeated(one.fields, path, labels)
