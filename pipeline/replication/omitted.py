"""What contracts omit: it is counted where it is left out, and forgotten where the quarantine still holds it."""

from collections.abc import Iterator
from functools import partial

from contracts.schema.entity import Entity
from contracts.schema.omitted import omitted
from pipeline import control
from pipeline.connections import Connections
from pipeline.runs.run import Run
from pipeline.stores.selection import Ids, Range
from transforms.ingest.drift import Drift, find_omitted
from transforms.ingest.ids import to_stored_ids
from transforms.ingest.omit import without_omitted
from transforms.ingest.validate import format_ids


def count_omitted(connections: Connections, run: Run, entity: Entity, selection: Range | Ids) -> Iterator[Drift]:
    """Yield how many documents of a partition have each field that the contract omits."""
    for path, documents, first in connections.mongo.omitted(entity, run.cluster_time, selection):
        ids = format_ids(to_stored_ids([first], entity))
        yield find_omitted(path, documents, next(iter(ids), ""))


def forget_omitted(connections: Connections, run: Run) -> None:
    """Delete resolved documents from the quarantine that hold what their contracts omit by now."""
    for name in run.uuids if run.is_full else ():
        entity = connections.entities[name]
        if omitted(entity):
            control.forget_resolved(connections.postgres, name, partial(_holds_omitted, entity))


def _holds_omitted(entity: Entity, raw: bytes) -> bool:
    return without_omitted(raw, entity) != raw
