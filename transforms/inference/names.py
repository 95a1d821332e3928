"""Which names the columns and tables of an inferred contract may have."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from contracts.schema.entity import EXTRA, ID, POSITION
from contracts.schema.field import ContractError
from contracts.schema.flatten import column_name
from contracts.schema.names import DATA, IDENTIFIER_BYTES, check_column, check_table, plain_name, snake_case
from contracts.schema.namespace import plain_name as name_in_database

COLUMNS = 300  # a row of PostgreSQL must fit into 8 kB, of which a text that lies elsewhere takes 18 bytes
_ALIKE = 100  # fields of which one name could be made
_ROOM = 24  # bytes of a table's name that are left to what its child tables are called by


@dataclass
class Columns:
    """The columns of one table.

    Attributes:
        table: The table's name.
        names: The names that are taken.
        key: Those of the key.
        labels_above: What the arrays that lead to a row are called by, from the outermost one on.
    """

    table: str
    names: set[str]
    key: tuple[str, ...] = (ID,)
    labels_above: tuple[str, ...] = ()

    @classmethod
    def of_root(cls, table: str) -> "Columns":
        """Return those that each root table has."""
        return cls(table, {ID, EXTRA})

    @property
    def level(self) -> int:
        """How many arrays of documents lead to a row."""
        return len(self.labels_above)

    def of_child(self, table: str, label: str) -> "Columns":
        """Return those that each child table of this one has.

        Args:
            table: The child table's name.
            label: What it is called by, behind this table's name.
        """
        key = (*self.key, POSITION)
        if self.level:
            places = (f"_{'_'.join(some)}{POSITION}" for some in (self.labels_above[-1:], self.labels_above))
            key = (*self.key[:-1], next(one for one in places if one not in self.key), POSITION)
        return Columns(table, {*key}, key, (*self.labels_above, label))

    def labels(self, prefix: tuple[str, ...], name: str, *suffixes: str, in_item: bool) -> Iterator[str]:
        """Yield what a field can be called in the names of its columns: its name, and others that are like it.

        Args:
            prefix: What the fields above are called.
            name: The field's name.
            suffixes: What its columns' names end with.
            in_item: Whether it is of an item of an array.
        """
        full = len(self.names) + len(suffixes) > COLUMNS
        for label in () if full else _alike(name, IDENTIFIER_BYTES - _bytes("_".join(prefix)) - _ROOM // 2):
            stem = column_name((*prefix, label), in_item=in_item)
            if label and not self._refused([stem + suffix for suffix in suffixes]):
                yield label

    def take(self, *names: str) -> str | None:
        """Take names for a field's columns, all or none; return why they can't be had, if so."""
        if why := self._refused(names):
            return why
        self.names |= set(names)
        return None

    def _refused(self, names: Collection[str]) -> str | None:
        if len(self.names) + len(names) > COLUMNS:
            return f"its table has {COLUMNS} columns already, which is enough"
        for name in names:
            if name in self.names:
                return f"another field becomes the column {name!r} already"
            try:
                check_column(self.table, name)
            except ContractError as error:
                return str(error).partition(";")[0]
        return None


@dataclass
class Tables:
    """The names of tables and collections that are taken.

    Attributes:
        names: Of all contracts and marts.
        reserved: What the collections are called whose contracts are to come: each for its own table.
    """

    names: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)

    def has_room_for(self, name: str) -> bool:
        """Return whether a table can be called so."""
        return not self._refused(name)

    def take(self, name: str) -> str | None:
        """Take the name of a table; return why it can't be had, if so."""
        if why := self._refused(name):
            return why
        self.names.add(name)
        return None

    def _refused(self, name: str) -> str | None:
        # ClickHouse calls the rows of a table so, PostgreSQL the type of its arrays: no other table may be called that.
        alike = {name, name + DATA, name.removesuffix(DATA), f"_{name}", name.removeprefix("_")}
        if met := alike & (self.names | self.reserved):
            return f"there is a table or collection {min(met)!r} already"
        try:
            check_table(name)
        except ContractError as error:
            return str(error).partition(";")[0]
        return None

    def take_stem(self, collection: str) -> str:
        """Take a name for a collection's table and its contract's file: a plain word, cut if it is long."""
        called = name_in_database(collection)
        plain = re.sub(r"\W+", "_", snake_case(called)).strip("_") or "collection"
        while _in_files(plain) > IDENTIFIER_BYTES - _ROOM:
            plain = plain[:-1]
        number, stem = 1, plain
        self.reserved.discard(called)
        while self.take(stem):
            number += 1
            stem = f"{plain}_{number}"
        self.names.add(collection)  # so no other table may be called
        return stem


def _alike(name: str, room: int) -> Iterator[str]:
    """Yield a name, and others that are like it and take no more than some bytes."""
    if name.isprintable() and name == name.strip():
        yield name
    plain = plain_name(name).encode()[: max(1, room)].decode(errors="ignore")
    yield plain
    yield from (f"{plain}_{number}" for number in range(2, _ALIKE))


def _bytes(name: str) -> int:
    return len(name.encode())


def _in_files(name: str) -> int:
    """Return how much room a name takes: other letters than Latin ones stand in files' names by three characters."""
    return sum(1 if one.isascii() else len(one.encode()) for one in name)
