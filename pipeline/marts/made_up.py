"""Rows of made-up documents for marts to be tried on; no server has a part in it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import bson
import polars as pl

from contracts.schema.entity import Entity, Table
from contracts.schema.history import VALID_FROM, versions_of
from contracts.schema.mart import Mart
from contracts.schema.registry import all_tables
from generators import World, generate
from transforms.ingest.batch import decode_batch
from transforms.ingest.slow_path import transform_decoded
from transforms.marts import Context, compute, marts_of, sources

_DOCUMENTS = 400  # of each collection that is read
_SEED = 0
CONTEXT = Context(datetime(2026, 6, 30, tzinfo=UTC))  # when the made-up world ends


class MadeUp:
    """The tables that marts read, each made when it is first asked for.

    Args:
        entities: The contracts of collections, by name.
        known: All marts, by name.
    """

    def __init__(self, entities: Mapping[str, Entity], known: Mapping[str, Mart]) -> None:
        self._marts = marts_of(entities.values(), known)
        self._world = World.sized(entities, dict.fromkeys(entities, _DOCUMENTS), _SEED)
        self._owners = {table.name: one for one in entities.values() for table in (*versions_of(one), *one.tables)}
        self._made: dict[str, pl.DataFrame] = {}
        views = {view.name: view for one in entities.values() for view in versions_of(one)}
        self.tables = views | {name: mart.table for name, mart in self._marts.items()} | all_tables(entities.values())

    def rows(self, name: str) -> pl.DataFrame:
        """Return the rows of a table."""
        if name not in self._made:
            if entity := self._owners.get(name):
                self._made |= self._documents(entity)
            else:
                mart = self._marts[name]
                read = {source: self.rows(source).lazy() for source in sources(mart)}
                self._made[name] = compute(mart, read, CONTEXT).collect()
        return self._made[name]

    def _documents(self, entity: Entity) -> dict[str, pl.DataFrame]:
        """Return the rows of documents, and the same as the only versions that were ever shown."""
        batches = generate(entity, _DOCUMENTS, world=self._world)
        raws = [bson.encode(document) for batch in batches for document in batch.documents]
        frames = transform_decoded(decode_batch(b"".join(raws), entity), entity).frames
        since = pl.lit(CONTEXT.as_of - timedelta(days=1)).alias(VALID_FROM)
        pairs = zip(versions_of(entity), entity.tables, strict=False)  # there are no versions where none are kept
        return frames | {view.name: _shaped(frames[table.name].with_columns(since), view) for view, table in pairs}


def _shaped(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return the columns of a table, null where there are none."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in table.frame_schema.items()
    )
