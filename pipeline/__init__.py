"""The edges (MongoDB, PostgreSQL, ClickHouse, embedded engines, settings) and the use cases built on them.

What is exported here is the public API, explained in ``docs/api.md``; everything else may change.
Each name is imported when it is first used, so that to import this package costs nothing and changes nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.advance import Advanced
    from pipeline.advance import advance as advance_documents
    from pipeline.connections import TARGETS, Connections, connect
    from pipeline.control.ledger import Account
    from pipeline.control.status import Status, status
    from pipeline.engines.embedded import Uris
    from pipeline.engines.embedded import down as stop_engines
    from pipeline.engines.embedded import engines as embedded_engines
    from pipeline.engines.embedded import running as running_engines
    from pipeline.engines.embedded import up as start_engines
    from pipeline.errors import (
        BooksOpenError,
        BusyError,
        DataError,
        EngineError,
        EtlError,
        LostError,
        QuarantineLimitError,
        ServerError,
        ShrinkError,
        SnapshotError,
        UsageError,
        VerificationError,
    )
    from pipeline.generate import Generated
    from pipeline.generate import generate as generate_documents
    from pipeline.inference.infer import Inference
    from pipeline.inference.infer import infer as infer_contracts
    from pipeline.lake.lake import Lake
    from pipeline.marts.build import BuiltMart
    from pipeline.marts.build import build as build_marts
    from pipeline.replication.comparison import Comparison
    from pipeline.replication.repair import Replayed, repair, replay
    from pipeline.replication.replicate import load as load_partition
    from pipeline.replication.replicate import open_run, replicate
    from pipeline.replication.replicate import plan as plan_run
    from pipeline.replication.replicate import publish as publish_run
    from pipeline.replication.sample import Sample
    from pipeline.replication.sync import Synced, follow, sync
    from pipeline.replication.verify import verify
    from pipeline.runs.run import Partition, Run
    from pipeline.runtime.environment import tune_environment
    from pipeline.runtime.memory import tune_allocators
    from pipeline.settings import Settings
    from pipeline.stores.clickhouse.client import client as clickhouse_client
    from transforms.bson.extended_json import from_json_text as read_json

__all__ = [
    "TARGETS",
    "Account",
    "Advanced",
    "BooksOpenError",
    "BuiltMart",
    "BusyError",
    "Comparison",
    "Connections",
    "DataError",
    "EngineError",
    "EtlError",
    "Generated",
    "Inference",
    "Lake",
    "LostError",
    "Partition",
    "QuarantineLimitError",
    "Replayed",
    "Run",
    "Sample",
    "ServerError",
    "Settings",
    "ShrinkError",
    "SnapshotError",
    "Status",
    "Synced",
    "Uris",
    "UsageError",
    "VerificationError",
    "advance_documents",
    "build_marts",
    "clickhouse_client",
    "connect",
    "embedded_engines",
    "follow",
    "generate_documents",
    "infer_contracts",
    "load_partition",
    "open_run",
    "plan_run",
    "publish_run",
    "read_json",
    "repair",
    "replay",
    "replicate",
    "running_engines",
    "start_engines",
    "status",
    "stop_engines",
    "sync",
    "tune_allocators",
    "tune_environment",
    "verify",
]

# Where each name is defined. The imports above are for type checkers and editors; a test compares the two.
_DEFINED = {
    "TARGETS": "pipeline.connections:TARGETS",
    "Connections": "pipeline.connections:Connections",
    "connect": "pipeline.connections:connect",
    "Account": "pipeline.control.ledger:Account",
    "Status": "pipeline.control.status:Status",
    "status": "pipeline.control.status:status",
    "Uris": "pipeline.engines.embedded:Uris",
    "stop_engines": "pipeline.engines.embedded:down",
    "embedded_engines": "pipeline.engines.embedded:engines",
    "running_engines": "pipeline.engines.embedded:running",
    "start_engines": "pipeline.engines.embedded:up",
    "BooksOpenError": "pipeline.errors:BooksOpenError",
    "BusyError": "pipeline.errors:BusyError",
    "DataError": "pipeline.errors:DataError",
    "EngineError": "pipeline.errors:EngineError",
    "EtlError": "pipeline.errors:EtlError",
    "LostError": "pipeline.errors:LostError",
    "QuarantineLimitError": "pipeline.errors:QuarantineLimitError",
    "ServerError": "pipeline.errors:ServerError",
    "ShrinkError": "pipeline.errors:ShrinkError",
    "SnapshotError": "pipeline.errors:SnapshotError",
    "UsageError": "pipeline.errors:UsageError",
    "VerificationError": "pipeline.errors:VerificationError",
    "Advanced": "pipeline.advance:Advanced",
    "advance_documents": "pipeline.advance:advance",
    "Generated": "pipeline.generate:Generated",
    "generate_documents": "pipeline.generate:generate",
    "Inference": "pipeline.inference.infer:Inference",
    "infer_contracts": "pipeline.inference.infer:infer",
    "Lake": "pipeline.lake.lake:Lake",
    "BuiltMart": "pipeline.marts.build:BuiltMart",
    "build_marts": "pipeline.marts.build:build",
    "Replayed": "pipeline.replication.repair:Replayed",
    "repair": "pipeline.replication.repair:repair",
    "replay": "pipeline.replication.repair:replay",
    "load_partition": "pipeline.replication.replicate:load",
    "open_run": "pipeline.replication.replicate:open_run",
    "replicate": "pipeline.replication.replicate:replicate",
    "plan_run": "pipeline.replication.replicate:plan",
    "publish_run": "pipeline.replication.replicate:publish",
    "Sample": "pipeline.replication.sample:Sample",
    "Synced": "pipeline.replication.sync:Synced",
    "follow": "pipeline.replication.sync:follow",
    "sync": "pipeline.replication.sync:sync",
    "Comparison": "pipeline.replication.comparison:Comparison",
    "verify": "pipeline.replication.verify:verify",
    "Partition": "pipeline.runs.run:Partition",
    "Run": "pipeline.runs.run:Run",
    "tune_environment": "pipeline.runtime.environment:tune_environment",
    "tune_allocators": "pipeline.runtime.memory:tune_allocators",
    "Settings": "pipeline.settings:Settings",
    "clickhouse_client": "pipeline.stores.clickhouse.client:client",
    "read_json": "transforms.bson.extended_json:from_json_text",
}


def __getattr__(name: str) -> Any:
    """Import a name of the public API when it is first used (PEP 562)."""
    if name not in _DEFINED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _DEFINED[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
