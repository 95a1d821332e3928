"""The contract of a mart: a table that is computed rather than copied."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from contracts.schema.entity import Column, ContractError, Field, Rule, Table
from contracts.schema.fields import timestamp
from contracts.schema.mistakes import check_tuples

AS_OF = "as_of"
NEVER = pl.lit(False)
DAILY = pl.lit("daily")


def as_of(*, ages: bool = False) -> Field:
    """Declare the column that every mart of ours has: the moment that its sources show.

    Args:
        ages: Whether it is told only of rows that the clock may still change, as of a mart that says which these are.
    """
    if not ages:
        told = "The moment of MongoDB (cluster time) that the row shows; ages and open states refer to it."
        return timestamp(AS_OF, told)
    told = (
        "The moment of MongoDB (cluster time) to which what the row tells of now refers; null if no clock changes the "
        "row any more: it is then as it was at any moment since its documents were changed."
    )
    return timestamp(AS_OF, told, nullable=True)


@dataclass(frozen=True, eq=False)
class Mart:
    """What a mart's rows are.

    Attributes:
        name: Name of the table, of the contract's module and of the transform's.
        description: What one row is, and what is counted.
        question: The question that it answers, and whose it is.
        definition: Where the definitions come from.
        limits: What it can't tell, a sentence each.
        home: Folder of its pair of files, if it is a user's own; the registry enters it.
        key: The columns that identify a row; also ClickHouse's order key.
        fields: The columns in order; scalars only.
        rules: Conditions over several columns.
        indexes: Further columns that people filter by.
        by: By what the mart can be computed in pieces, where what it reads may outgrow memory: an expression over its
            sources that has one value in all rows which a row of the mart depends on. The expression bears the name of
            a column that the key determines, and that column has this value. A source that lacks the columns of the
            expression must be a child of a table that has them. If None, the mart is computed in one piece, whatever
            memory that takes. Rows whose value is not their piece's are refused, so a key never comes out of two
            pieces; were it to, the primary key in PostgreSQL and the count of keys in ClickHouse would forbid the
            publish. That no row depends on what lies in another piece, only its author can know.
        ages: Which of its rows the clock alone may change: an expression over the mart's columns, ``NEVER`` for none,
            ``DAILY`` for all of them, but only as a day begins in the reporting zone. If None, any row may change at
            any moment. If it is said, and the mart can be computed apart by a column (``by``), it is computed in part
            after a sync: the rows with the values that changed documents have or had there, and those that the clock
            may change. If no document that it depends on was changed and no clock changes it, nothing is computed.
            Where the rows that age bear ``as_of`` and it is null in the others (``as_of(ages=True)``), they are told by
            that; where all bear it, all are brought to the moment without being computed. If nothing was changed that
            it reads itself and what it reads of other marts comes out as it was, nothing is computed either.
        awaits: Moments of its sources that may lie in the future: pairs of a source's name and a column of timestamps
            there; its rows count only from that moment on, such as a price from when it is asked. Its ``ages`` need
            not speak of them: rows whose moment has come since are taken for changed ones.
        whole: Sources that each piece reads whole: small ones, such as what all users together have to tell of each. A
            mart with such sources is computed in part if its module has a function ``refreshed`` as well, which brings
            rows that were computed before to what these sources say now.
        optional: Sources that are views of all versions, and without which it can be computed as well: where no former
            versions are kept, they are empty.
    """

    name: str
    description: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...] = ()
    indexes: tuple[str, ...] = ()
    by: pl.Expr | None = None
    whole: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    question: str = ""
    definition: str = ""
    limits: tuple[str, ...] = ()
    home: Path | None = None
    ages: pl.Expr | None = None
    awaits: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Derive the table at once, so that a contract that can't be derived fails at import."""
        check_tuples(self.name, key=(self.key, str), fields=(self.fields, Field), rules=(self.rules, Rule))
        check_tuples(self.name, indexes=(self.indexes, str), whole=(self.whole, str), limits=(self.limits, str))
        check_tuples(self.name, optional=(self.optional, str), awaits=(self.awaits, tuple))
        _ = self.table
        if self.by is not None and self.by.meta.output_name() not in self.table.names:
            raise ContractError(f"{self.name}: it is computed apart by {self.by}, which is none of its columns")
        if self.ages is not None and self.ages is not NEVER and self.ages is not DAILY and not self.tells_ages:
            raise ContractError(
                f"{self.name}: it says which rows age, so its fields need as_of(ages=True) to tell them"
            )
        if self.tells_ages and (self.ages is None or self.ages is DAILY):
            raise ContractError(f"{self.name}: its as_of may be null, so ages has to say in which rows it is not")

    @property
    def tells_ages(self) -> bool:
        """Whether ``as_of`` tells which of its rows the clock may still change: it is null in the others."""
        return any(column.name == AS_OF and column.nullable for column in self.table.columns)

    @property
    def key_column(self) -> str | None:
        """The column by whose values it can be computed in part; None if it can't be."""
        if self.by is None or self.ages is None or not self.by.meta.is_column():
            return None
        return self.by.meta.output_name()

    @cached_property
    def table(self) -> Table:
        """The mart's table."""
        columns = tuple(self._column(field) for field in self.fields)
        is_stamped = any(column.name == AS_OF and not column.nullable for column in columns)
        return Table(
            self.name,
            self.description,
            columns,
            self.key,
            indexes=self.indexes,
            rules=self.rules,
            is_stamped=is_stamped,
        )

    def _column(self, field: Field) -> Column:
        if field.kind is None or field.kind.is_array or field.kind.is_json or field.kind.frame == pl.Binary():
            raise ContractError(f"{self.name}: the field {field.name!r} is no scalar; a mart's columns are")
        return Column(field.label, field.kind, field.description, field.nullable, (field.name,), field=field)
