"""OpenLineage: which collections a task read and which tables it published, with their columns and row counts.

It goes where the provider ``apache-airflow-providers-openlineage`` is told to send its events (``AIRFLOW__OPENLINEAGE__
TRANSPORT``), beside those that it sends of each task by itself. Where it is not installed or not told, nothing happens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from contracts.schema.entity import Entity, Table
from pipeline.airflow.connections import settings
from pipeline.runs.published import REPLICA
from pipeline.settings import Settings

_SCHEMES = {"mongo": "mongodb", "postgres": "postgres", "clickhouse": "clickhouse"}


@dataclass(frozen=True)
class Dataset:
    """A collection, or a table in a store.

    Attributes:
        store: ``mongo``, ``postgres`` or ``clickhouse``.
        schema: Schema of PostgreSQL or database of ClickHouse; empty for a collection.
        table: What it holds; its name is the collection's for ``mongo``.
        rows: How many; None if it is not known.
        name: Its name, where that is not the table's.
    """

    store: str
    schema: str
    table: Table
    rows: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Copy:
    """What became of a collection's documents in one store.

    Attributes:
        entity: The collection's contract.
        target: Name of the store.
        source: Documents that were read.
        loaded: Rows of the root table that they gave.
    """

    entity: Entity
    target: str
    source: int
    loaded: int


def emit_copies(copies: Iterable[Copy]) -> None:
    """Send one event of the running task, which copied collections, if Airflow is set up to send any."""
    read: dict[str, Dataset] = {}
    written: list[Dataset] = []
    for one in copies:
        entity = one.entity
        read[entity.collection] = Dataset("mongo", "", entity.root, one.source, entity.collection)
        for table in entity.tables:  # of a child table the books have no count
            rows = one.loaded if table is entity.root else None
            written.append(Dataset(one.target, REPLICA, table, rows))
    tell(read.values(), written)


def tell(inputs: Iterable[Dataset], outputs: Iterable[Dataset]) -> None:
    """Send one event of the running task, if Airflow is set up to send any.

    Args:
        inputs: What it read.
        outputs: What it published.
    """
    try:
        from airflow.providers.openlineage.api import emit_dataset_lineage, is_openlineage_active
    except ImportError:
        return
    if not is_openlineage_active():
        return
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset, output_statistics_output_dataset

    given, told_in, told_out = settings(), [], []
    for one in inputs:
        read = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=one.rows)
        told_in.append(InputDataset(**_described(one, given), inputFacets={"inputStatistics": read}))
    for one in outputs:
        written = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=one.rows)
        told_out.append(OutputDataset(**_described(one, given), outputFacets={"outputStatistics": written}))
    emit_dataset_lineage(inputs=[*told_in], outputs=[*told_out])


def _described(one: Dataset, given: Settings) -> Mapping[str, Any]:
    """Return namespace and name as OpenLineage spells them, and the columns as a facet."""
    from openlineage.client.facet_v2 import documentation_dataset, schema_dataset

    place, database = _place(getattr(given, f"{one.store}_uri"))
    within = {"mongo": given.mongo_database, "postgres": f"{database}.{one.schema}", "clickhouse": one.schema}
    fields = [
        schema_dataset.SchemaDatasetFacetFields(
            name=column.name, type=_type(one.store, column.kind), description=column.description
        )
        for column in one.table.columns
    ]
    return {
        "namespace": f"{_SCHEMES[one.store]}://{place}",
        "name": f"{within[one.store]}.{one.name or one.table.name}",
        "facets": {
            "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
            "documentation": documentation_dataset.DocumentationDatasetFacet(description=one.table.description),
        },
    }


def _type(store: str, kind: Any) -> str:
    return str(kind.clickhouse if store == "clickhouse" else kind.postgres)


def _place(uri: SecretStr | None) -> tuple[str, str]:
    """Return host and port, and the database, of a URI; an embedded engine has no address that lasts."""
    if uri is None:
        return "embedded", "etl"
    parts = urlsplit(uri.get_secret_value())
    return parts.netloc.rpartition("@")[2], parts.path.strip("/")
