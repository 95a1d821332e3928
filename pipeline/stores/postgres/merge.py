"""A published table of PostgreSQL and the staging that it is to equal: what makes them equal, and what proves it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contracts.schema.ddl import qualified, quoted, quoted_names
from contracts.schema.entity import ID, Column, Table
from contracts.schema.kinds import NUMBER
from pipeline.stores.staging import Staging


@dataclass(frozen=True)
class Merge:
    """The statements that bring one published table to what staging has of it, and those that look whether they did.

    Attributes:
        staging: Where the new rows are.
        table: Which table.
        names: What the published table calls the contract's columns for now.
        among: A query of what the keys of all rows that differ begin with, such as the ``_id``s of documents, where
            that was found out before.
    """

    staging: Staging
    table: Table
    names: Mapping[str, str]
    among: str = ""

    @property
    def statements(self) -> tuple[str, str]:
        """What deletes the rows that are gone, and what changes and adds the others."""
        assignments = ", ".join(f"{quoted(self.names[one.name])} = s.{quoted(one.name)}" for one in self._values)
        columns = quoted_names(self.names[name] for name in self.table.names)
        given = ", ".join(f"s.{quoted(name)}" for name in self.table.names)
        return (
            f"DELETE FROM {self.target} t WHERE {self._is_extra}{self._among('t')}",
            f"MERGE INTO {self.target} t USING {self._sources} s ON {self._same_key} "
            f"WHEN MATCHED AND ({self._changed}) THEN UPDATE SET {assignments} "
            f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({given})",
        )

    @property
    def is_whole(self) -> bool:
        """Whether staging speaks for all rows of the table, most of which will be what they were."""
        return self.staging.spoken_for(self.table) is None

    def differing(self, gone: Iterable[str] = ()) -> str:
        """Return a query of the ``_id``s whose rows are not what they are to be; an ``_id`` may come twice.

        Where keys begin with something else, as those of marts do, that is called so.

        Args:
            gone: Columns that the published table loses by this publish: whoever has a value there loses it.
        """
        key, other = quoted(self.table.key[0]), " OR ".join(f"t.{quoted(name)} IS NOT NULL" for name in gone)
        tests = (f"t.{key} IS NULL", f"s.{key} IS NULL", self._changed, other)
        return (
            f"SELECT coalesce(t.{key}, s.{key}) AS {quoted(ID)} FROM "
            f"(SELECT * FROM {self.target} t WHERE true{self._spoken_for}) t FULL JOIN {self.source} s "
            f"ON {self._same_key} WHERE {' OR '.join(filter(None, tests))}"
        )

    def stamped(self, column: str) -> str:
        """Return the statement that brings a column of moments to that of the staging, wherever there is one."""
        moment = f"timestamptz '{self.staging.moment.isoformat()}'"
        return f"UPDATE {self.target} SET {quoted(column)} = {moment} WHERE {quoted(column)} <> {moment}"

    @property
    def published(self) -> str:
        """A query that counts the published rows that the staging speaks for."""
        return f"SELECT count(*) FROM {self.target} t WHERE true{self._spoken_for}"

    @property
    def staged(self) -> str:
        """A query that counts the rows of staging."""
        return f"SELECT count(*) FROM {self.source}"

    @property
    def unequal(self) -> str:
        """A query that counts the rows that are not alike.

        It returns how many rows of staging the published table lacks, how many it has otherwise, the key of one; and
        how many rows it has and staging has not, with the key of one.
        """
        key = quoted(self.table.key[0])
        return (
            f"SELECT * FROM (SELECT count(*) FILTER (WHERE t.{key} IS NULL), count(t.{key}), min(s.{key}::text) "
            f"FROM {self.source} s LEFT JOIN {self.target} t ON {self._same_key} "
            f"WHERE t.{key} IS NULL OR {self._changed}) ours, "
            f"(SELECT count(*), min(t.{key}::text) FROM {self.target} t WHERE {self._is_extra}) theirs"
        )

    @property
    def target(self) -> str:
        """The published table's name, quoted."""
        return qualified(self.staging.schema, self.table.name)

    @property
    def source(self) -> str:
        """The name of the table in staging, quoted."""
        return qualified(self.staging.name, self.table.name)

    @property
    def _sources(self) -> str:
        return f"(SELECT * FROM {self.source} s WHERE true{self._among('s')})" if self.among else self.source

    def _among(self, alias: str) -> str:
        return f" AND {alias}.{quoted(self.table.key[0])} IN ({self.among})" if self.among else ""

    @property
    def _same_key(self) -> str:
        return " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in self.table.key)

    @property
    def _values(self) -> list[Column]:
        # Of doubles equal keys may have other bits: -0.0 equals 0.0.
        return [one for one in self.table.columns if one.name not in self.table.key or one.kind is NUMBER]

    @property
    def _changed(self) -> str:
        return " OR ".join(_differ(column, self.names[column.name]) for column in self._values)

    @property
    def _is_extra(self) -> str:
        return f"NOT EXISTS (SELECT FROM {self.source} s WHERE {self._same_key}){self._spoken_for}"

    @property
    def _spoken_for(self) -> str:
        if (told := self.staging.spoken_for(self.table)) is None:
            return ""
        key, keys = quoted_names(told[0]), f"{quoted(self.staging.name)}.{told[1]}"
        return f" AND ({', '.join(f't.{quoted(name)}' for name in told[0])}) IN (SELECT {key} FROM {keys})"


def _differ(column: Column, called: str) -> str:
    """Return a test whether a column's values differ; jsonb and doubles have values that are equal and yet differ."""
    published, staged = f"t.{quoted(called)}", f"s.{quoted(column.name)}"
    if column.kind.is_json or (column.kind.item or column.kind) is NUMBER:  # their bytes tell, which records compare
        return f"ROW({published})::record *<> ROW({staged})::record"
    return f"{published} IS DISTINCT FROM {staged}"
