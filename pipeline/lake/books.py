"""The books as frames: what is published, what was refused, in what documents go beyond their contracts."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import polars as pl

from contracts.schema.entity import Column, Entity, Table
from pipeline import control
from pipeline.control import Publication
from pipeline.control.quarantine import chosen, export
from pipeline.stores.postgres.session import Session

_MOMENT: pl.DataType = pl.Datetime("us", "UTC")
_REASONS: pl.DataType = pl.List(pl.Struct({"path": pl.String(), "rule": pl.String}))
_PUBLISHED = pl.Schema(
    {
        "name": pl.String(),
        "target": pl.String(),
        "run_id": pl.String(),
        "shows_at": _MOMENT,
        "is_finished": pl.Boolean(),
        "rows": pl.Int64(),
    }
)
_REFUSED = pl.Schema(
    {
        "collection": pl.String(),
        "_id": pl.String(),
        "reasons": _REASONS,
        "document": pl.String(),
        "run_id": pl.String(),
        "first_seen_at": _MOMENT,
    }
)
_DRIFT = pl.Schema(
    {
        "collection": pl.String(),
        "path": pl.String(),
        "kind": pl.String(),
        "value": pl.String(),
        "count": pl.Int64(),
        "first_id": pl.String(),
    }
)
_DESCRIBED = pl.Schema(
    {
        "column": pl.String(),
        "is": pl.String(),
        "nullable": pl.Boolean(),
        "field": pl.String(),
        "postgres": pl.String(),
        "clickhouse": pl.String(),
        "description": pl.String(),
    }
)


def published(postgres: Session, roots: Mapping[str, str]) -> pl.DataFrame:
    """Return what each collection and mart shows in each store: one row each.

    Args:
        postgres: Where the books are.
        roots: Names of the tables whose rows are told, by collection or mart.
    """
    rows = [
        {
            "name": one.name,
            "target": one.target,
            "run_id": one.run_id,
            "shows_at": one.cluster_time.as_datetime(),
            "is_finished": one.finished,
            "rows": one.held[root].rows if (root := roots.get(one.name, "")) in one.held else None,
        }
        for one in _publications(postgres)
    ]
    return pl.DataFrame(rows, schema=_PUBLISHED)


def refused(postgres: Session, entities: Iterable[Entity], collections: Iterable[str]) -> pl.DataFrame:
    """Return the documents in quarantine, whole, with every reason.

    Args:
        postgres: Where the books are.
        entities: The contracts.
        collections: Only these; all if none is named.

    Raises:
        UsageError: There is no such collection.
    """
    with postgres.transaction():
        names = chosen(postgres, entities, collections)
        rows = [
            {
                "collection": one.collection,
                "_id": one.id,
                "reasons": [{"path": reason["path"], "rule": reason["rule"]} for reason in one.reasons],
                "document": one.document,
                "run_id": one.run_id,
                "first_seen_at": one.first_seen_at,
            }
            for one in export(postgres, names)
        ]
    return pl.DataFrame(rows, schema=_REFUSED)


def drifted(postgres: Session) -> pl.DataFrame:
    """Return in what the documents of the runs that are published went beyond their contracts."""
    runs = sorted({one.run_id for one in _publications(postgres)})
    with postgres.transaction():
        found = [one for run_id in runs for one in control.drift(postgres, run_id)]
    return pl.DataFrame([asdict(one) for one in found], schema=_DRIFT)


def described(table: Table) -> pl.DataFrame:
    """Return the columns of a table, with the words of its contract: one row each."""
    return pl.DataFrame([_described(column) for column in table.columns], schema=_DESCRIBED)


def _described(column: Column) -> dict[str, object]:
    return {
        "column": column.name,
        "is": column.kind.name,
        "nullable": column.nullable,
        "field": column.origin,
        "postgres": column.kind.postgres,
        "clickhouse": column.kind.clickhouse_type(nullable=column.nullable),
        "description": column.description,
    }


def _publications(postgres: Session) -> list[Publication]:
    with postgres.transaction():
        return control.publications(postgres) if control.has_books(postgres) else []
