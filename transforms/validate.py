"""The contract's word on values: rows that break a rule are set apart with the rule's name."""

from collections import defaultdict
from collections.abc import Mapping

import polars as pl
from pandera.errors import SchemaErrors

from contracts.schema.entity import ID, Entity
from contracts.schema.frame import pandera_schema
from transforms.reasons import Reason


def broken_rules(frames: Mapping[str, pl.DataFrame], entity: Entity) -> dict[str, list[Reason]]:
    """Return the reasons against each document that breaks a rule of its contract.

    Args:
        frames: The rows of the contract's tables, by the table's name.
        entity: The contract.

    Returns:
        Every reason, not only the first, by ``_id`` as the stores have it. Empty if all is well.

    Raises:
        SchemaErrors: A frame hasn't the contract's columns or dtypes at all, which no document can be blamed for.
    """
    reasons: dict[str, list[Reason]] = defaultdict(list)
    for table in entity.tables:
        frame = frames[table.name]
        try:
            pandera_schema(table).validate(frame, lazy=True)
        except SchemaErrors as error:
            if error.failure_cases["index"].null_count():
                raise
            for row, column, check, value in error.failure_cases.select(
                "index", "column", "check", "failure_case"
            ).iter_rows():
                path = _pointer(table.path, frame, row, column if column in table.names else "")
                shown = value if column in table.names else None
                reasons[str(frame[ID][row])].append(Reason(path, check, shown))
    return dict(reasons)


def without(frames: Mapping[str, pl.DataFrame], refused: set[str]) -> dict[str, pl.DataFrame]:
    """Return the frames without every row of the documents whose ``_id`` is refused."""
    if not refused:
        return dict(frames)
    ids = pl.Series(list(refused), dtype=pl.String)
    return {name: frame.filter(~pl.col(ID).cast(pl.String).is_in(ids.implode())) for name, frame in frames.items()}


def _pointer(path: tuple[str, ...], frame: pl.DataFrame, row: int, column: str) -> str:
    position = (str(frame["_position"][row]),) if path else ()
    return "/".join(("", *path, *position, *([column] if column else [])))
