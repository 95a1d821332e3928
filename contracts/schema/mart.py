"""The contract of a mart: a table that is computed rather than copied."""

from dataclasses import dataclass
from functools import cached_property

from contracts.schema.entity import Column, ContractError, Field, Rule, Table
from contracts.schema.kinds import JSON


@dataclass(frozen=True, eq=False)
class Mart:
    """What a mart's rows are.

    Attributes:
        name: Name of the table, of the contract's module and of the transform's.
        description: One sentence: what one row is, and what is counted.
        key: The columns that identify a row; also ClickHouse's order key.
        fields: The columns in order; scalars only.
        rules: Conditions over several columns.
        indexes: Further columns that people filter by.
    """

    name: str
    description: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...] = ()
    indexes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Derive the table at once, so that a contract that can't be derived fails at import."""
        _ = self.table

    @cached_property
    def table(self) -> Table:
        """The mart's table."""
        columns = tuple(self._column(field) for field in self.fields)
        return Table(self.name, self.description, columns, self.key, indexes=self.indexes, rules=self.rules)

    def _column(self, field: Field) -> Column:
        if field.kind is None or field.kind.is_array or field.kind is JSON:
            raise ContractError(f"{self.name}: the field {field.name!r} is no scalar; a mart's columns are")
        return Column(field.name, field.kind, field.description, field.nullable, (field.name,), field=field)
