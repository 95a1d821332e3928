"""The full copy on real engines: everything arrives, nothing else does, and all of one moment."""

import json
import multiprocessing
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.raw_bson import RawBSONDocument

from contracts.schema.entity import Table
from generators import DEFECTS
from pipeline import control
from pipeline.errors import BooksOpenError, SnapshotError, UsageError
from pipeline.replication import replicate
from pipeline.replication.replicate import Partition, Run
from pipeline.runs import lifecycle
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.lab import Lab

ROWS = 120
TARGETS = ("postgres", "clickhouse")


@pytest.fixture(scope="module")
def made(lab: Lab) -> Any:
    return lab.fill(defects=0.25, **dict.fromkeys(lab.connections.entities, ROWS))


@pytest.fixture(scope="module")
def copied(lab: Lab, made: Any) -> Any:
    return replicate.replicate(lab.connections)


def _session(**changes: Any) -> dict[str, Any]:
    started = datetime(2024, 5, 1, 10, tzinfo=UTC)
    lawful = {
        "session_id": "s1",
        "user_id": "u1",
        "start_time": started,
        "end_time": None,
        "pages_visited": ["/"],
        "device": {"type": "desktop", "os": "Linux", "browser": "Firefox"},
        "actions": [{"type": "view", "target": "/", "at": started}],
    }
    return lawful | changes


# --- Everything arrives


def test_every_document_is_in_both_stores_or_in_quarantine(lab: Lab, copied: Any, made: Any) -> None:
    _, accounts = copied
    assert {(one.collection, one.target) for one in accounts} == {
        (name, target) for name in lab.connections.entities for target in TARGETS
    }
    for one in accounts:
        assert one.closed
        assert one.source == ROWS
    for one in made.collections:
        quarantined = {account.quarantined for account in accounts if account.collection == one.collection}
        assert quarantined == {one.expected("quarantined")}
        assert 0 < one.expected("quarantined") < ROWS
    lab.assert_replicated()


def test_the_books_say_what_was_read_and_when(lab: Lab, copied: Any) -> None:
    run, accounts = copied
    sizes = {name: sum(map(len, lab.raw_documents(name))) for name in lab.connections.entities}
    assert {one.collection: one.bytes for one in accounts} == sizes
    ((status, kind, number, at, targets, finished),) = lab.postgres(
        "SELECT status, kind, cluster_time, cluster_time_at, targets, finished_at IS NOT NULL FROM etl.runs "
        "WHERE run_id = $1::text",
        run.id,
    )
    assert (status, kind, targets, finished) == ("published", "replicate", list(TARGETS), True)
    assert control.as_timestamp(number) == run.cluster_time
    assert at == datetime.fromtimestamp(run.cluster_time.time, UTC)
    for publication in control.publications(lab.connections.postgres):
        assert publication.run_id == run.id
        assert publication.cluster_time == run.cluster_time
        assert publication.finished


def test_nothing_is_left_in_staging(lab: Lab, copied: Any) -> None:
    assert lab.leftovers() == []
    assert lab.postgres("SELECT count(*) FROM etl.refused") == [(0,)]


# --- What the tables are


def _tables(lab: Lab) -> list[Table]:
    return [table for entity in lab.connections.entities.values() for table in entity.tables]


def test_postgres_has_the_contracts_types_keys_and_comments(lab: Lab, copied: Any) -> None:
    for table in _tables(lab):
        name = f'replica."{table.name}"'
        found = lab.postgres(
            "SELECT attname::text, format_type(atttypid, atttypmod), NOT attnotnull, col_description(attrelid, attnum) "
            f"FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        spelled = {"timestamptz": "timestamp with time zone", 'text COLLATE "C"': "text"}
        assert found == [
            (
                column.name,
                spelled.get(column.kind.postgres, column.kind.postgres).replace(", ", ","),
                column.nullable,
                column.description,
            )
            for column in table.columns
        ]
        assert lab.postgres(f"SELECT obj_description('{name}'::regclass)") == [(table.description,)]
        keys = lab.postgres(
            "SELECT contype::text, pg_get_constraintdef(oid) FROM pg_constraint "
            f"WHERE conrelid = '{name}'::regclass AND contype IN ('p', 'f') ORDER BY 1 DESC"
        )
        wanted = [("p", f"PRIMARY KEY ({', '.join(table.key)})")]
        if table.parent:
            reference = f"FOREIGN KEY (_id) REFERENCES replica.{table.parent}(_id) DEFERRABLE INITIALLY DEFERRED"
            wanted.append(("f", reference))
        assert keys == wanted
        indexed = lab.postgres(
            "SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
            f"WHERE indrelid = '{name}'::regclass AND NOT indisprimary ORDER BY indexrelid"
        )
        assert [column for (column,) in indexed] == list(table.indexes)


def test_clickhouse_has_the_contracts_types_order_keys_and_comments(lab: Lab, copied: Any) -> None:
    for table in _tables(lab):
        columns = "SELECT name, type, comment FROM system.columns WHERE database = 'replica' AND table = {t:String}"
        found = lab.clickhouse(f"{columns} ORDER BY position", t=table.name)
        assert found == [
            (one.name, one.kind.clickhouse_type(nullable=one.nullable), one.description) for one in table.columns
        ]
        about = "SELECT engine, comment FROM system.tables WHERE database = 'replica' AND name = {t:String}"
        assert lab.clickhouse(about, t=table.name) == [("View", table.description)]
        behind = "SELECT engine_full, sorting_key FROM system.tables WHERE database = 'replica' AND name = {t:String}"
        ((engine, key),) = lab.clickhouse(behind, t=f"{table.name}__data")
        assert engine.startswith("ReplacingMergeTree(_version, _deleted)")
        assert key.strip("()") == ", ".join(table.key)
        codecs = (
            "SELECT name, compression_codec FROM system.columns WHERE database = 'replica' AND table = {t:String} "
            "AND compression_codec <> ''"
        )
        given = {column.name: f"CODEC({column.kind.codec})" for column in table.columns if column.kind.codec}
        found_codecs = dict(lab.clickhouse(codecs, t=f"{table.name}__data"))
        assert {name: codec for name, codec in found_codecs.items() if name in given} == given
        skips = "SELECT expr FROM system.data_skipping_indices WHERE database = 'replica' AND table = {t:String}"
        assert sorted(expr for (expr,) in lab.clickhouse(skips, t=f"{table.name}__data")) == sorted(table.indexes)


def test_a_childs_rows_go_with_their_parents(lab: Lab, copied: Any) -> None:
    orphans = (
        "SELECT count(*) FROM replica.user_sessions_actions WHERE _id NOT IN (SELECT _id FROM replica.user_sessions)"
    )
    assert lab.postgres(orphans) == [(0,)]
    assert lab.clickhouse(orphans) == [(0,)]


# --- Running it again


def _identities(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.postgres(
        "SELECT relname::text, oid::bigint, relfilenode::bigint FROM pg_class "
        "WHERE relnamespace = 'replica'::regnamespace ORDER BY 1"
    )


def test_running_it_again_leaves_the_same_state(lab: Lab, copied: Any) -> None:
    before, files = lab.everything(), _identities(lab)
    stamps = lab.postgres("SELECT _id, xmin::text, ctid::text FROM replica.user_sessions ORDER BY _id")
    refused = {name: lab.quarantine(name) for name in lab.connections.entities}
    run, accounts = replicate.replicate(lab.connections)
    after = lab.everything()
    assert after.keys() == before.keys()
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    assert _identities(lab) == files
    # Not one row was written: what is equal is left alone.
    assert lab.postgres("SELECT _id, xmin::text, ctid::text FROM replica.user_sessions ORDER BY _id") == stamps
    for name, rows in refused.items():
        again = lab.quarantine(name)
        assert again.keys() == rows.keys()
        for raw, row in again.items():
            assert row == rows[raw] | {"run_id": run.id}
    assert all(one.closed for one in accounts)
    assert lab.leftovers() == []


def test_what_changed_in_the_source_is_reflected(lab: Lab, copied: Any) -> None:
    sessions, events = lab.collection("UserSessions"), lab.collection("EventLogs")
    lawful = [row[0] for row in lab.postgres("SELECT _id FROM replica.user_sessions ORDER BY _id LIMIT 4")]
    gone, changed, emptied, nulled = (ObjectId(one) for one in lawful)
    sessions.delete_one({"_id": gone})
    sessions.update_one({"_id": changed}, {"$set": {"user_id": "someone else", "device.os": "BeOS"}})
    sessions.update_one({"_id": emptied}, {"$set": {"actions": [], "pages_visited": []}})
    sessions.update_one({"_id": nulled}, {"$set": {"end_time": None}})
    new = sessions.insert_one(_session()).inserted_id
    event = ObjectId(lab.postgres("SELECT _id FROM replica.event_logs LIMIT 1")[0][0])
    events.update_one({"_id": event}, {"$set": {"details": {"a": 1.0, "b": [None, "é", {"c": Int64(2**60)}]}}})
    replicate.replicate(lab.connections)
    lab.assert_replicated()
    for ask in (lab.postgres, lab.clickhouse):
        rows = dict(ask("SELECT _id, user_id FROM replica.user_sessions"))
        assert str(gone) not in rows
        assert rows[str(changed)] == "someone else"
        assert rows[str(new)] == "u1"
        assert ask(f"SELECT count(*) FROM replica.user_sessions_actions WHERE _id IN ('{gone}', '{emptied}')") == [(0,)]


@pytest.mark.parametrize("target", TARGETS)
def test_one_target_alone(lab: Lab, copied: Any, target: str) -> None:
    (other,) = set(TARGETS) - {target}
    made = lab.collection("SearchQueries").delete_many({"results_count": {"$lt": 5}})
    assert made.acknowledged
    before = lab.everything(["SearchQueries"], [other])
    lab.collection("SearchQueries").update_many({}, {"$set": {"query_text": f"now in {target}"}})
    run, accounts = replicate.replicate(lab.connections, ["SearchQueries"], [target])
    assert run.targets == (target,)
    assert [one.target for one in accounts] == [target]
    lab.assert_replicated(["SearchQueries"], [target])
    after = lab.everything(["SearchQueries"], [other])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    shown = {
        one.target: one.run_id for one in control.publications(lab.connections.postgres) if one.name == "SearchQueries"
    }
    assert shown[target] == run.id != shown[other]
    assert lab.leftovers() == []


def test_a_collection_may_be_named_as_its_table(lab: Lab, copied: Any) -> None:
    run, accounts = replicate.replicate(lab.connections, ["user_sessions", "UserSessions"])
    assert list(run.uuids) == ["UserSessions"]
    assert len(accounts) == 2


@pytest.mark.parametrize(("collections", "targets", "named"), [(["Nobody"], TARGETS, "Nobody"), ([], ["x"], "'x'")])
def test_what_does_not_exist_is_named(lab: Lab, collections: list[str], targets: list[str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        replicate.replicate(lab.connections, collections, targets)


# --- Empty and missing


def test_empty_and_missing_collections(lab: Lab, copied: Any) -> None:
    lab.collection("ModerationQueue").delete_many({})
    lab.collection("UserRecommendations").drop()
    lab.collection("NobodyDeclaredThis").insert_one({"a": 1})
    _, accounts = replicate.replicate(lab.connections, allow_missing=True)
    sources = {one.collection: (one.source, one.loaded, one.quarantined) for one in accounts}
    assert sources["ModerationQueue"] == sources["UserRecommendations"] == (0, 0, 0)
    assert "NobodyDeclaredThis" not in sources
    for ask in (lab.postgres, lab.clickhouse):
        assert ask("SELECT count(*) FROM replica.moderation_queue") == [(0,)]
        assert ask("SELECT count(*) FROM replica.user_recommendations") == [(0,)]
    assert lab.quarantine("ModerationQueue") == {}
    lab.assert_replicated()


def test_a_database_without_any_of_the_collections_is_named(lab: Lab) -> None:
    with (
        lab.another(mongo_database="nothing_here") as connections,
        pytest.raises(UsageError, match=r"nothing_here.*ETL_MONGO_DATABASE"),
    ):
        replicate.replicate(connections)
    with pytest.raises(UsageError, match="UserRecommendations"):
        replicate.replicate(lab.connections, ["UserRecommendations"])
    assert lab.leftovers() == []


# --- Exactness at the edges


def test_values_at_the_edges_arrive_exactly(lab: Lab, copied: Any) -> None:
    edges = [
        {"price": Decimal128(text), "changed_at": moment}
        for text, moment in [
            ("0", datetime(1900, 1, 1, tzinfo=UTC)),
            ("0.00", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
            ("1E+3", datetime(1970, 1, 1, tzinfo=UTC)),
            ("9999999999.99", datetime(2299, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
            ("0.010000000000000000", datetime(2024, 2, 29, 0, 0, 0, 1000, tzinfo=UTC)),
        ]
    ]
    texts = [
        "",
        " ",
        "é",
        "e\u0301",
        "\U0001f600",
        "\u202eabc",
        "'; DROP TABLE x; --",
        "\\N",
        '"',
        "\t\r\n",
        "\x01",
        "NULL",
    ]
    prices = lab.collection("ProductPriceHistory")
    prices.insert_one({"product_id": "edge", "price_changes": edges, "current_price": Decimal128("7"), "currency": "€"})
    sessions = lab.collection("UserSessions")
    ids = [sessions.insert_one(_session(user_id=text or "-", pages_visited=texts)).inserted_id for text in texts]
    replicate.replicate(lab.connections, ["UserSessions", "ProductPriceHistory"])
    lab.assert_replicated(["UserSessions", "ProductPriceHistory"])
    for ask in (lab.postgres, lab.clickhouse):
        asked = "SELECT user_id, pages_visited, pages_visited_count FROM replica.user_sessions WHERE _id = '{}'"
        for one, text in zip(ids, texts, strict=True):
            assert ask(asked.format(one)) == [(text or "-", texts, len(texts))]
    found = lab.postgres(
        "SELECT price::text FROM replica.product_price_history_price_changes JOIN replica.product_price_history "
        "USING (_id) WHERE product_id = 'edge' ORDER BY _position"
    )
    assert [Decimal(price) for (price,) in found] == [0, 0, 1000, Decimal("9999999999.99"), Decimal("0.01")]


# --- One moment


def test_what_is_written_during_the_run_does_not_appear(lab: Lab, copied: Any) -> None:
    sessions, events = lab.collection("UserSessions"), lab.collection("EventLogs")
    before = {name: lab.raw_documents(name) for name in ("UserSessions", "EventLogs")}
    kept = lab.postgres("SELECT _id FROM replica.user_sessions LIMIT 1")[0][0]
    told: list[tuple[str, int, int]] = []

    def meddle(partition: Partition, source: int, loaded: int) -> None:
        if not told:  # before a single document was read
            sessions.insert_one(_session(session_id="late"))
            sessions.update_one({"_id": ObjectId(kept)}, {"$set": {"user_id": "late"}})
            events.delete_many({})
        told.append((partition.collection, source, loaded))

    _, accounts = replicate.replicate(lab.connections, ["UserSessions", "EventLogs"], progress=meddle)
    assert {one.collection: one.source for one in accounts} == {name: len(raws) for name, raws in before.items()}
    assert {name: most for name, source, most in told if source == most} == {
        name: len(raws) for name, raws in before.items()
    }
    for ask in (lab.postgres, lab.clickhouse):
        late = "SELECT count(*) FROM replica.user_sessions WHERE session_id = 'late' OR user_id = 'late'"
        assert ask(late) == [(0,)]
        assert ask("SELECT count(*) FROM replica.event_logs")[0][0] > 0
    replicate.replicate(lab.connections, ["UserSessions", "EventLogs"])
    for ask in (lab.postgres, lab.clickhouse):
        assert ask(late) == [(2,)]
        assert ask("SELECT count(*) FROM replica.event_logs") == [(0,)]
    lab.assert_replicated(["UserSessions", "EventLogs"])


def _drop(lab: Lab) -> None:
    lab.collection("SupportTickets").drop()


def _make_again(lab: Lab) -> None:
    lab.collection("SupportTickets").drop()
    lab.collection("SupportTickets").insert_one({"x": 1})


def _rename(lab: Lab) -> None:
    lab.collection("SupportTickets").rename("SupportTicketsOfOld")


@pytest.mark.parametrize("meddle", [_drop, _make_again, _rename])
@pytest.mark.parametrize("when", ["before the first read", "after the last read", "before the moment"])
def test_a_collection_that_is_replaced_during_the_run_fails_it(
    lab: Lab, copied: Any, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Any], None], when: str
) -> None:
    lab.fill(SupportTickets=30)
    replicate.replicate(lab.connections, ["SupportTickets"])
    before = lab.everything(["SupportTickets"])
    lab.collection("SupportTickets").update_many({}, {"$set": {"user_id": when}})
    if when == "before the moment":
        choose = lab.connections.mongo.cluster_time
        monkeypatch.setattr(lab.connections.mongo, "cluster_time", lambda: (meddle(lab), choose())[1])

    def progress(partition: Partition, source: int, loaded: int) -> None:
        if when == ("before the first read" if loaded == 0 else "after the last read"):
            meddle(lab)

    with pytest.raises(SnapshotError, match=r"SupportTickets|dropped"):
        replicate.replicate(lab.connections, ["SupportTickets"], progress=progress)
    after = lab.everything(["SupportTickets"])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    assert lab.leftovers() == []
    assert lab.postgres("SELECT status FROM etl.runs ORDER BY started_at DESC LIMIT 1") == [("failed",)]
    lab.collection("SupportTicketsOfOld").drop()


# --- The books must close


def _losing_a_row(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return a loader that swallows the first row of every frame."""

    @contextmanager
    def loading(*arguments: Any) -> Iterator[Any]:
        with load(*arguments) as insert:
            yield lambda table, frame: insert(table, frame.slice(1))

    return loading


@pytest.mark.parametrize("store", [Postgres, ClickHouse])
def test_open_books_publish_nothing(
    lab: Lab, copied: Any, monkeypatch: pytest.MonkeyPatch, store: type[Postgres | ClickHouse]
) -> None:
    lab.fill(UserSessions=40)
    replicate.replicate(lab.connections, ["UserSessions"])
    before, shown = lab.everything(["UserSessions"]), control.publications(lab.connections.postgres)
    lab.collection("UserSessions").update_many({}, {"$set": {"user_id": "new"}})
    with monkeypatch.context() as patched:
        patched.setattr(store, "loading", _losing_a_row(store.loading))
        with pytest.raises(BooksOpenError, match=f"UserSessions in {store.name} are open.* 40 .* 39 ") as error:
            replicate.replicate(lab.connections, ["UserSessions"])
    assert error.value.exit_code == 1
    after = lab.everything(["UserSessions"])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    assert control.publications(lab.connections.postgres) == shown
    assert lab.leftovers() == []
    replicate.replicate(lab.connections, ["UserSessions"])
    lab.assert_replicated(["UserSessions"])


def test_a_row_lost_from_staging_opens_the_books(lab: Lab, copied: Any) -> None:
    lab.fill(UserSessions=40, SearchQueries=40)

    def meddle(partition: Partition, source: int, loaded: int) -> None:
        if partition.collection == "UserSessions" and loaded == 0:  # SearchQueries is loaded
            (staging,) = set(lab.connections.clickhouse.leftovers())
            victim = lab.clickhouse(f"SELECT any(_id) FROM staging_{staging}.`search_queries#0`")[0][0]
            lab.change_clickhouse(
                f"DELETE FROM staging_{staging}.`search_queries#0` WHERE _id = '{victim}' SETTINGS mutations_sync = 2"
            )

    with pytest.raises(BooksOpenError, match="SearchQueries in clickhouse are open"):
        replicate.replicate(lab.connections, ["SearchQueries", "UserSessions"], progress=meddle)
    assert lab.leftovers() == []


def test_a_partition_that_nobody_loaded_opens_the_books(lab: Lab, copied: Any) -> None:
    run = replicate.open_run(lab.connections, ["SearchQueries"], TARGETS)
    replicate.plan(lab.connections, run)
    with pytest.raises(BooksOpenError, match=r"1 partition.* of run"):
        replicate.publish(lab.connections, run)
    lifecycle.abandon(lab.connections, run.id, run.targets, "gave up")
    assert lab.leftovers() == []


# --- Partitions


def _through_json(run: Run, partitions: list[Partition]) -> tuple[Run, list[Partition]]:
    told = json.dumps({"run": run.as_json(), "partitions": [one.as_json() for one in partitions]})
    heard = json.loads(told)
    return Run.from_json(heard["run"]), [Partition.from_json(one) for one in heard["partitions"]]


ODD_IDS: list[Any] = [
    "text",
    "",
    7,
    2.5,
    Int64(2**40),
    float("nan"),
    float("-inf"),
    Decimal128("1.5"),
    True,
    None,
    datetime(2020, 1, 1, tzinfo=UTC),
    bson.DatetimeMS(568_971_820_800_000),
    bson.DatetimeMS(-(10**15)),
    b"bytes",
    bson.Binary(b"1" * 16, 4),
    {"a": 1, "b": [1, 2]},
    {},
    bson.MinKey(),
    bson.MaxKey(),
    bson.Timestamp(1, 2),
    bson.Code("f()"),
    bson.Code("f()", {"x": 1}),
    bson.DBRef("X", 1),
]


def _with_odd_ids(lab: Lab) -> None:
    lab.fill(defects=0.2, UserSessions=150)
    sessions = lab.collection("UserSessions")
    for one in ODD_IDS:
        sessions.insert_one(_session(_id=one))
    document = {"_id": "????", **_session()}
    raw = bson.encode(document).replace(b"????", b"\xff\xfe\xc3\x28")
    sessions.insert_one(RawBSONDocument(raw))


def test_partitions_are_pieces_of_work_that_any_process_can_do(
    lab: Lab, copied: Any, monkeypatch: pytest.MonkeyPatch, cut_short: Callable[..., int]
) -> None:
    _with_odd_ids(lab)
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 8_000)
    run = replicate.open_run(lab.connections, ["UserSessions"], TARGETS, single_process=False)
    partitions = replicate.plan(lab.connections, run)
    assert len(partitions) > 5
    run, partitions = _through_json(run, partitions)
    lab.collection("UserSessions").delete_many({"user_id": {"$exists": True}})  # this is later
    *mine, theirs = partitions
    assert cut_short("load", run=run.as_json(), partition=theirs.as_json()) == 0
    for partition in mine:
        replicate.load(lab.connections, run, partition)
    replicate.load(lab.connections, run, theirs)  # is loaded already
    replicate.load(lab.connections, run, mine[0])
    first = replicate.publish(lab.connections, run)
    assert replicate.publish(lab.connections, run) == first
    assert {(one.source, one.closed) for one in first} == {(150 + len(ODD_IDS) + 1, True)}
    assert {one.quarantined for one in first} == {len(lab.quarantine("UserSessions"))}
    for target in lab.connections.targets():
        counted = lab.stored(target.name, lab.connections.entities["UserSessions"].root)
        assert len(counted) == first[0].loaded
    assert lab.leftovers() == []
    replicate.replicate(lab.connections, ["UserSessions"])


def test_each_published_table_fits_its_contract(lab: Lab, copied: Any) -> None:
    for target in lab.connections.targets():
        for entity in lab.connections.entities.values():
            assert all(target.fits("replica", table) for table in entity.tables), (target.name, entity.collection)


def test_a_plan_asks_mongodb_once_for_the_size_of_each_collection(lab: Lab, copied: Any) -> None:
    database = lab.connections.mongo.database
    run = replicate.open_run(lab.connections, ["UserSessions", "EventLogs"], TARGETS)
    database.command("profile", 2)
    replicate.plan(lab.connections, run)
    database.command("profile", 0)
    asked = [one["ns"] for one in database["system.profile"].find({"command.pipeline.0.$collStats": {"$exists": True}})]
    database["system.profile"].drop()
    assert sorted(asked) == [f"{database.name}.EventLogs", f"{database.name}.UserSessions"]
    lifecycle.abandon(lab.connections, run.id, run.targets, "only planned")


@pytest.mark.parametrize("targets", [TARGETS, ("clickhouse",)])
def test_a_partition_that_two_load_at_once_counts_once(lab: Lab, copied: Any, targets: tuple[str, ...]) -> None:
    lab.fill(defects=0.2, UserSessions=150)
    run = replicate.open_run(lab.connections, ["UserSessions"], targets, single_process=False)
    (partition,) = replicate.plan(lab.connections, run)
    with lab.another() as other:
        second = threading.Thread(target=replicate.load, args=(other, run, partition))

        def both(partition: Partition, source: int, loaded: int) -> None:
            if loaded and not second.ident:
                second.start()
                second.join(1.0)
                assert second.is_alive()  # it waits

        replicate.load(lab.connections, run, partition, both)
        second.join(30.0)
    assert {(one.source, one.closed) for one in replicate.publish(lab.connections, run)} == {(150, True)}
    lab.assert_replicated(["UserSessions"], targets)
    assert lab.leftovers() == []


def test_many_partitions_give_what_one_gives(lab: Lab, copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_odd_ids(lab)
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 10_000)
    labels: list[str] = []
    replicate.replicate(lab.connections, ["UserSessions"], progress=lambda one, *_: labels.append(one.label))
    many = len(set(labels))
    assert many > 4
    assert set(labels) == {f"UserSessions {place}/{many}" for place in range(1, many + 1)}
    lab.assert_replicated(["UserSessions"])
    before = lab.everything(["UserSessions"])
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 2**30)
    replicate.replicate(lab.connections, ["UserSessions"])
    after = lab.everything(["UserSessions"])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())


def test_a_partition_whose_load_failed_is_loaded_anew(lab: Lab, copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.fill(defects=0.3, UserSessions=200)
    run = replicate.open_run(lab.connections, ["UserSessions"], TARGETS)
    (partition,) = replicate.plan(lab.connections, run)

    def die(partition: Partition, source: int, loaded: int) -> None:
        if loaded:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replicate.load(lab.connections, run, partition, die)
    replicate.load(lab.connections, run, partition)
    accounts = replicate.publish(lab.connections, run)
    assert all(one.closed for one in accounts)
    lab.assert_replicated(["UserSessions"])


def _open_cursors(lab: Lab) -> int:
    return int(lab.connections.mongo.client.admin.command("serverStatus")["metrics"]["cursor"]["open"]["total"])


def test_a_run_that_fails_leaves_no_thread_and_no_cursor(lab: Lab, copied: Any) -> None:
    lab.fill(UserSessions=200)
    before, cursors = (
        set(threading.enumerate()),
        _open_cursors(lab),
    )  # those of commands that were killed stay for minutes

    def fail(partition: Partition, source: int, loaded: int) -> None:
        if loaded:
            raise RuntimeError("in the way")

    with pytest.raises(RuntimeError, match="in the way") as error:
        replicate.replicate(lab.connections, ["UserSessions"], progress=fail)
    assert error.traceback  # which keeps the frames of the run
    assert {one for one in threading.enumerate() if one not in before and "pymongo" not in one.name} == set()
    give_up = time.monotonic() + 10  # the server notices by and by that a connection was closed with its cursor
    while _open_cursors(lab) > cursors:
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert lab.leftovers() == []


# --- Two at once


def test_two_runs_at_once_end_at_one_moment(lab: Lab, copied: Any, cut_short: Callable[..., int]) -> None:
    lab.fill(UserSessions=50, SupportTickets=50)
    codes: list[int] = []

    def meanwhile(partition: Partition, source: int, loaded: int) -> None:
        if not codes:
            lab.collection("UserSessions").delete_one({})  # so that theirs is a later moment
            codes.append(cut_short("replicate", collections=["UserSessions", "SupportTickets"]))

    with pytest.raises(SnapshotError, match="shows a later moment already"):
        replicate.replicate(lab.connections, ["UserSessions", "SupportTickets"], progress=meanwhile)
    assert codes == [0]
    lab.assert_replicated(["UserSessions", "SupportTickets"])
    assert lab.leftovers() == []
    assert (
        len(
            {
                one.cluster_time
                for one in control.publications(lab.connections.postgres)
                if one.name in ("UserSessions", "SupportTickets")
            }
        )
        == 1
    )


def test_runs_that_race_each_other_leave_a_whole_state(lab: Lab, copied: Any, settings: Any) -> None:
    lab.fill(UserSessions=50, SupportTickets=50)
    context = multiprocessing.get_context("forkserver")
    script = str(Path(__file__).parents[1] / "cut_short.py")
    uris = {name: value.get_secret_value() for name, value in settings if name.endswith("_uri")}
    given = {
        "settings": {**uris, **settings.model_dump(include={"mongo_database", "contracts", "max_shrink"})},
        "command": "replicate",
        "moment": "never",
        "arguments": {"collections": ["UserSessions", "SupportTickets"]},
    }
    processes = [context.Process(target=runpy.run_path, args=(script, {"GIVEN": given})) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    codes = [process.exitcode for process in processes]
    assert 0 in codes
    assert set(codes) <= {0, 2}  # 2: refused with a sentence, since a later moment is published
    lab.assert_replicated(["UserSessions", "SupportTickets"])
    assert lab.leftovers() == []


def test_defects_cover_every_lane(made: Any) -> None:
    seen = {DEFECTS[name].seen_by for one in made.collections for name in one.defects}
    assert seen == {"gate", "checks", "bytes"}
