"""A contract: a collection's fields as its documents have them, and the tables that follow from them."""

from collections.abc import Container, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from contracts.schema.field import ContractError, Field, Rule, first_twice
from contracts.schema.flatten import check_kind, child_tables, columns
from contracts.schema.history import check_history
from contracts.schema.kinds import ANY_ID, JSON, KEY_TEXT, OBJECT_ID, Kind
from contracts.schema.mistakes import check_tuples
from contracts.schema.names import DELETED, VERSION, snake_case
from contracts.schema.namespace import Namespace, plain_name
from contracts.schema.stores import STORES
from contracts.schema.table import EXTRA, ID, KEY, POSITION, Column, Table

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
            self._set("collection", Namespace(self.database, self.collection))
        self._set("table", self.table or snake_case(plain_name(self.collection)))
        check_tuples(
            self.collection, fields=(self.fields, Field), rules=(self.rules, Rule), indexes=(self.indexes, str)
        )
        if self.misfits not in ("refuse", "extra"):
            raise ContractError(f"{self.collection}: misfits is {self.misfits!r}, neither 'refuse' nor 'extra'")
        self._set("fields", tuple(one.with_misfits(self.misfits) for one in self.fields))
        self._set_id()
        self._check_fields()
        self._check_tables()

    def _set(self, name: str, value: object) -> None:
        """Give a field what follows from others; after this the contract never changes."""
        object.__setattr__(self, name, value)

    def _set_id(self) -> None:
        """Derive the field ``_id``; refuse a kind that can't be a key."""
        is_text = self.id_kind.gate.get("bsonType") == "string"
        if is_text:  # whatever kind of text: as a key it is ordered by its bytes in both stores, as in MongoDB
            self._set("id_kind", KEY_TEXT)
        limit = TEXT_KEY_CHARACTERS if is_text else None
        self._set("id_field", Field(ID, self.id_kind, "Identity of the document in MongoDB.", max_length=limit))
        if self.id_kind.is_json or self.id_kind.is_array or self.id_kind.subtype is not None:
            raise ContractError(
                f"{self.collection}: an _id that is {self.id_kind.name} can't be a key in the stores as it is; "
                "say id_kind=any_id(), which keeps it as Extended JSON"
            )

    def _check_fields(self) -> None:
        if any(one.name == ID for one in self.fields):
            raise ContractError(f"{self.collection}: every document has an '_id'; id_kind tells what it is, no field")
        if twice := first_twice(one.name for one in self.fields):
            raise ContractError(f"{self.collection} declares the field {twice!r} twice")
        if self.whole and self.fields:
            raise ContractError(f"{self.collection}: it is taken whole, so it declares no fields")
        if self.id_kind is not ANY_ID:
            check_kind(self.id_kind, (ID,), self.collection)

    def _check_tables(self) -> None:
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
        own = (id_column, *columns(self.fields, self.collection), extra)
        if self.whole:
            all_of_it = Field(self.whole, JSON, "The whole document, as JSON.")
            own = (id_column, Column(self.whole, JSON, all_of_it.description, field=all_of_it))
        root = Table(self.table, self.description, own, (ID,), indexes=self.indexes, rules=self.rules)
        return (root, *child_tables(root, self.fields, self.collection))


@cache
def _within(entity: Entity, stores: tuple[str, ...]) -> Entity:
    made = copy(entity)
    columns = {table.name: tuple(replace(one, stores=stores) for one in table.columns) for table in entity.tables}
    tables = tuple(replace(table, columns=columns[table.name]) for table in entity.tables)
    object.__setattr__(made, "_stores", stores)
    object.__setattr__(made, "tables", tables)  # in place of what is derived from the fields
    return made


def _keep_misfits(fields: tuple[Field, ...]) -> Iterator[bool]:
    for one in fields:
        yield one.misfits == "extra" or any(_keep_misfits(one.fields))
