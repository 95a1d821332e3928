"""A look into both stores that does not go by way of what is tested: what the tests of the use cases share."""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import polars as pl
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS
from pymongo.collection import Collection

from contracts.schema.entity import Table
from pipeline.connections import TARGETS, Connections, connect
from pipeline.generate import Generated, generate
from pipeline.settings import Settings
from transforms.oracle.compare import as_stored
from transforms.oracle.expected import expected_frames


@dataclass
class Lab:
    """The servers of a test module, and what is in them.

    Attributes:
        connections: Open connections.
        settings: How to open more of them.
    """

    connections: Connections
    settings: Settings

    def fill(self, defects: float = 0.0, **rows: int) -> Generated:
        """Make up documents of the named collections."""
        database, entities = self.connections.mongo.database, self.connections.entities
        return generate(database, entities, scale=0, rows=rows, defects=defects, replace=True)

    def collection(self, name: str) -> Collection[Any]:
        return self.connections.mongo.database[name]

    def postgres(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connections.postgres.transaction():
            return self.connections.postgres.rows(query, *parameters)

    def change_postgres(self, *statements: str) -> None:
        with self.connections.postgres.transaction():
            self.connections.postgres.execute(*statements)

    def clickhouse(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self.connections.clickhouse.rows(query, **parameters)

    def change_clickhouse(self, *statements: str) -> None:
        self.connections.clickhouse.execute(*statements)

    def another(self, **changes: Any) -> AbstractContextManager[Connections]:
        """Open more connections, as another command would."""
        return connect(self.settings.model_copy(update=changes))

    def stored(self, target: str, table: Table, schema: str = "replica") -> pl.DataFrame:
        """Return what a store shows people, in the contract's types, ordered by the key."""
        (store,) = self.connections.targets([target])
        batches = [pl.DataFrame(pl.from_arrow(batch)) for batch in store.read(schema, table)]
        self.connections.postgres.connection.commit()
        frame = pl.concat(batches) if batches else table.frame_schema.to_frame()
        return as_stored(frame, table).sort(table.key)

    def everything(self, names: Iterable[str] = (), targets: Iterable[str] = TARGETS) -> dict[str, pl.DataFrame]:
        """Return all rows of the replica, by target and table."""
        tables = [table for entity in self.connections.chosen(names) for table in entity.tables]
        return {f"{target}.{table.name}": self.stored(target, table) for target in targets for table in tables}

    def quarantine(self, collection: str) -> dict[bytes, dict[str, Any]]:
        """Return the open quarantine rows of a collection, by the document's bytes."""
        columns = "bson, _id, encode(id_hash, 'hex'), reasons::text, run_id, first_seen_at, resolved_at"
        found = self.postgres(
            f"SELECT {columns} FROM etl.quarantine WHERE collection = $1::text AND resolved_at IS NULL", collection
        )
        names = ("_id", "id_hash", "reasons", "run_id", "first_seen_at", "resolved_at")
        rows = {raw: dict(zip(names, rest, strict=True)) for raw, *rest in found}
        return {raw: {**row, "reasons": json.loads(row["reasons"])} for raw, row in rows.items()}

    def raw_documents(self, collection: str) -> list[bytes]:
        source = self.collection(collection).with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
        return [document.raw for document in source.find()]

    def assert_replicated(self, names: Iterable[str] = (), targets: Iterable[str] = TARGETS) -> None:
        """Assert that each document of the source is in every store or, whole, in quarantine, and nothing else is."""
        targets = tuple(targets)
        published = {name for (name,) in self.postgres("SELECT DISTINCT collection FROM etl.published")}
        for entity in self.connections.chosen(names):
            source = self.raw_documents(entity.collection)
            quarantined = self.quarantine(entity.collection)
            assert quarantined.keys() <= set(source)
            if not source and entity.collection not in published:
                continue  # what is not there is left out
            expected, unfit = expected_frames([raw for raw in source if raw not in quarantined], entity)
            assert unfit == []
            for target in targets:
                for table in entity.tables:
                    found = self.stored(target, table)
                    wanted = expected[table.name].sort(table.key)
                    assert found.schema == wanted.schema
                    assert found.height == wanted.height, f"{target}.{table.name}"
                    differing = [
                        name for name in found.columns if not found[name].equals(wanted[name], null_equal=True)
                    ]
                    assert differing == [], f"{target}.{table.name}: {found[differing]} is not {wanted[differing]}"

    def leftovers(self) -> list[str]:
        """Return the staging areas in both stores."""
        found = [run_id for target in self.connections.targets() for run_id in target.leftovers()]
        self.connections.postgres.connection.commit()
        return found
