"""A collection as a lazy frame, straight from MongoDB and by the way that a copy takes."""

import logging
from collections.abc import Iterator

import polars as pl
from bson import Timestamp
from polars.io.plugins import register_io_source

from contracts.schema.entity import Entity, Table
from pipeline.inference.trial import results
from pipeline.stores.mongo.store import Mongo

log = logging.getLogger(__name__)


def read_source(mongo: Mongo, entity: Entity, table: Table, cluster_time: Timestamp) -> pl.LazyFrame:
    """Return what a copy would load of a collection, as a lazy frame; it is read each time when that is collected.

    How many documents would be refused is logged.

    Args:
        mongo: The source.
        entity: The contract.
        table: Which of its tables.
        cluster_time: The moment that is read.
    """

    def rows(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        refused = read = 0
        for result, _ in results(mongo, entity, cluster_time):
            frame = result.frames[table.name]
            frame = frame if n_rows is None else frame.head(n_rows - read)  # of a limit and a filter it comes first
            refused, read = refused + len(result.refused), read + len(frame)
            kept = frame if predicate is None else frame.filter(predicate)
            yield kept.select(table.names if columns is None else columns)
            if read == n_rows:
                return
        if refused:
            log.warning("%s documents of %s would be refused; they are not among the rows", refused, entity.collection)

    return register_io_source(rows, schema=table.frame_schema, validate_schema=True)
