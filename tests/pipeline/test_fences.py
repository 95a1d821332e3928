"""Canaries: what we rely on in libraries that do not promise it. When one fails, the place it names wants a look."""

import gc
import os
import signal
import subprocess
import sys
import warnings
from typing import Any

import bson
import pymongo
import pytest
from bson import Binary
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, subdocument, uuid
from pipeline.cli import interrupt
from pipeline.settings import Settings
from pipeline.stores.clickhouse.patience import Patience
from pipeline.stores.mongo.changes import _moment_of
from pipeline.stores.mongo.concerns import SnapshotReadConcern
from pipeline.stores.postgres.driver import manager
from pipeline.stores.postgres.session import JSONB_VERSION
from transforms.ingest.decode import decode

THINGS = Entity("Things", "d", "key", (identifier("key", "d"),))


class _Commands(CommandListener):
    """Keeps what the driver sends."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(event.command)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing is kept of answers."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nor of errors."""


def test_adbc_works_through_the_call_that_ctrl_c_needs(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    call = interrupt._call
    monkeypatch.setattr(manager, "_blocking_call", lambda *given: (calls.append(given), call(*given))[1])
    assert lab.connections.postgres.rows("SELECT 1::bigint") == [(1,)]
    assert calls, "ADBC no longer calls _blocking_call: pipeline/cli/interrupt.py changes nothing, Ctrl-C may be lost"


def test_the_read_concern_that_we_bend_is_sent(settings: Settings, lab: Any) -> None:
    commands = _Commands()
    assert settings.mongo_uri
    moment = lab.connections.mongo.cluster_time()
    uri = settings.mongo_uri.get_secret_value()
    with pymongo.MongoClient[dict[str, Any]](uri, event_listeners=[commands]) as client:
        client[settings.mongo_database]["Things"].with_options(read_concern=SnapshotReadConcern(moment)).find_one({})
    asked = [dict(one["readConcern"]) for one in commands.sent if "readConcern" in one]
    wanted = {"level": "snapshot", "atClusterTime": moment}
    assert asked == [wanted], "PyMongo no longer sends ReadConcern.document: SnapshotReadConcern reads at no moment"


def test_a_resume_token_begins_with_the_cluster_time(lab: Any) -> None:
    collection = lab.connections.mongo.database["TokenThings"]
    with collection.watch(max_await_time_ms=100) as stream:
        collection.insert_one({})
        event = next(stream)
        assert _moment_of(stream.resume_token) == event["clusterTime"], (
            "a resume token is not type, seconds and number any more: Mongo.touched can't tell how far it has come"
        )


def test_pymongoarrow_takes_a_batch_for_a_collection() -> None:
    raw = bson.encode({"_id": bson.ObjectId(), "key": "k"})
    try:
        table = decode(raw, THINGS)
    except AttributeError as error:
        pytest.fail(f"PyMongoArrow asks more of a collection than transforms/ingest/decode.py stands in for: {error}")
    assert table["key"].to_pylist() == ["k"]


def test_pymongoarrow_takes_no_other_subtype_and_says_so() -> None:
    word = uuid("u", "d", nullable=True)
    inside = subdocument("s", "d", word, nullable=True), documents("i", "d", word, nullable=True)
    entity = Entity("Things", "d", fields=(word, *inside))
    for value in (Binary(bytes(16), 3), bytes(16)):
        for document in ({"u": value}, {"s": {"u": value}}, {"i": [{"u": value}]}):
            with pytest.raises(TypeError, match="unexpected subtype"):
                decode(bson.encode({"_id": bson.ObjectId(), **document}), entity)


def test_jsonb_begins_with_its_version(lab: Any) -> None:
    ((sent,),) = lab.connections.postgres.rows("""SELECT jsonb_send('{"a": 1}'::jsonb)""")
    assert sent[:1] == JSONB_VERSION.encode(), "jsonb has another binary form: COPY of JSON columns would fail"


def test_rows_of_a_savepoint_belong_to_no_partition(lab: Any) -> None:
    """Partitions in staging are told by their rows' xmin; a load must never run within a SAVEPOINT."""
    postgres = lab.connections.postgres
    with postgres.transaction():
        postgres.execute("CREATE TEMPORARY TABLE told ON COMMIT DROP AS SELECT 1 AS outside")
        postgres.execute("SAVEPOINT inside", "INSERT INTO told VALUES (2)", "RELEASE SAVEPOINT inside")
        mine = "(pg_current_xact_id()::text::numeric % 4294967296)::bigint"
        found = postgres.rows(f"SELECT outside::bigint, xmin::text::bigint = {mine} FROM told ORDER BY 1")
    assert found == [(1, True), (2, False)], "PostgreSQL marks rows in another way: Postgres.staged tells by xmin"


def test_urllib3_waits_through_our_connections(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    wait = Patience.wait
    monkeypatch.setattr(
        Patience, "wait", lambda self, is_ready, query_id: (waited.append(query_id), wait(self, is_ready, query_id))[1]
    )
    assert lab.connections.clickhouse.rows("SELECT 1") == [(1,)]
    assert waited, "urllib3 makes its connections in another way: waits for ClickHouse have no end any more"


def test_a_process_whose_end_somebody_else_awaits_leaves_no_warning() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    number, pipe = process.pid, process.stdin
    process.returncode = 0  # as pipeline/engines/engine.py does
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del process
        gc.collect()
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    assert pipe
    pipe.close()
    assert not [one for one in warned if "still running" in str(one.message)], (
        "Popen tells in another way that nobody waits for a process: engines that outlive a command warn of it"
    )
