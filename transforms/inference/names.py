"""Which names the columns and tables of an inferred contract may have."""

import re
from dataclasses import dataclass, field

from contracts.schema.entity import EXTRA, ID, POSITION
from contracts.schema.field import ContractError
from contracts.schema.names import DATA, IDENTIFIER_BYTES, check_column, check_table, snake_case

COLUMNS = 300  # a row of PostgreSQL must fit into 8 kB, of which a text that lies elsewhere takes 18 bytes
_ROOM = 24  # bytes of a table's name that are left to what its child tables are called by


@dataclass
class Columns:
    """The columns of one table.

    Attributes:
        table: The table's name.
        names: The names that are taken.
    """

    table: str
    names: set[str]

    @classmethod
    def of_root(cls, table: str) -> "Columns":
        """Return those that each root table has."""
        return cls(table, {ID, EXTRA})

    @classmethod
    def of_child(cls, table: str) -> "Columns":
        """Return those that each child table has."""
        return cls(table, {ID, POSITION})

    def take(self, *names: str) -> str | None:
        """Take names for a field's columns, all or none; return why they can't be had, if so."""
        if len(self.names) + len(names) > COLUMNS:
            return f"its table has {COLUMNS} columns already, which is enough"
        for name in names:
            if name in self.names:
                return f"another field becomes the column {name!r} already"
            try:
                check_column(self.table, name)
            except ContractError as error:
                return str(error).partition(";")[0]
        self.names |= set(names)
        return None


@dataclass
class Tables:
    """The names of tables and collections that are taken.

    Attributes:
        names: Of all contracts and marts.
    """

    names: set[str] = field(default_factory=set)

    def take(self, name: str) -> str | None:
        """Take the name of a table; return why it can't be had, if so."""
        # ClickHouse calls the rows of a table so, PostgreSQL the type of its arrays: no other table may be called that.
        alike = {name, name + DATA, name.removesuffix(DATA), f"_{name}", name.removeprefix("_")}
        if met := alike & self.names:
            return f"there is a table or collection {min(met)!r} already"
        try:
            check_table(name)
        except ContractError as error:
            return str(error).partition(";")[0]
        self.names.add(name)
        return None

    def take_stem(self, collection: str) -> str:
        """Take a name for a collection's table and its contract's file: a plain word, cut if it is long."""
        plain = re.sub(r"\W+", "_", snake_case(collection)).strip("_") or "collection"
        while _in_files(plain) > IDENTIFIER_BYTES - _ROOM:
            plain = plain[:-1]
        number, stem = 1, plain
        self.names.discard(collection)  # a table may be called as its own collection, but as no other one
        while self.take(stem):
            number += 1
            stem = f"{plain}_{number}"
        self.names.add(collection)
        return stem


def _in_files(name: str) -> int:
    """Return how much room a name takes: other letters than Latin ones stand in files' names by three characters."""
    return sum(1 if one.isascii() else len(one.encode()) for one in name)
