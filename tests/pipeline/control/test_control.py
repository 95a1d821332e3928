"""The books: who is alive, and what becomes of refused documents from run to run."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument

from pipeline import control
from pipeline.cli import app as cli
from pipeline.cli import tables
from pipeline.cli.output import show
from pipeline.control import Account, schema
from pipeline.control.status import status
from pipeline.engines import embedded
from pipeline.errors import EtlError
from pipeline.replication import replicate
from tests.pipeline.lab import Lab

NUMBER = len(schema._MIGRATIONS)
VERSION = f"The books of the pipeline, version {NUMBER}."
AT = datetime(2024, 5, 1, 10, tzinfo=UTC)
SEARCH = {
    "query_id": "q",
    "user_id": "u",
    "query_text": "",
    "timestamp": AT,
    "filters": {},
    "results_count": 0,
}
ODD_IDS: list[Any] = [
    "text",
    "nul\0inside",
    "",
    7,
    2.5,
    Int64(2**40),
    float("nan"),
    Decimal128("1.50"),
    True,
    None,
    AT,
    bson.DatetimeMS(568_971_820_800_000),
    b"bytes",
    bson.Binary(b"1" * 16, 4),
    {"a": 1, "b": {"c": [1, "\0"]}},
    bson.MinKey(),
    bson.MaxKey(),
    Timestamp(1, 2),
    bson.Code("f()"),
    bson.Code("f()", {"x": 1}),
    bson.DBRef("X", 1),
    ObjectId("665f00000000000000000001"),
]


def _far_dates() -> Any:
    """Return options that decode far dates."""
    return bson.CodecOptions(datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_MS)


# --- Small things


@pytest.mark.parametrize("moment", [Timestamp(0, 1), Timestamp(1_700_000_000, 1), Timestamp(2**32 - 1, 2**32 - 1)])
def test_a_moment_is_one_number_and_back(moment: Timestamp) -> None:
    assert control.as_timestamp(control.as_number(moment)) == moment


def test_later_moments_are_greater_numbers() -> None:
    moments = [Timestamp(1, 2**32 - 1), Timestamp(2, 1), Timestamp(2, 2), Timestamp(10, 0)]
    numbers = [control.as_number(one) for one in moments]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(("loaded", "quarantined", "closed"), [(8, 2, True), (8, 1, False), (10, 2, False)])
def test_books_close_if_every_document_is_accounted_for(loaded: int, quarantined: int, *, closed: bool) -> None:
    assert Account("X", "postgres", 10, loaded, quarantined, 0).closed is closed


def test_two_commands_may_create_the_books_at_once(lab: Lab) -> None:
    errors: list[BaseException] = []

    def prepare() -> None:
        try:
            with lab.another() as connections:
                control.ensure_schema(connections.postgres)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert lab.postgres("SELECT count(*) FROM etl.runs") == [(0,)]


def test_books_of_an_older_version_get_what_they_lack(lab: Lab) -> None:
    lab.change_postgres("ALTER TABLE etl.ledger DROP COLUMN loaded_at", "COMMENT ON SCHEMA etl IS 'older'")
    control.ensure_schema(lab.connections.postgres)
    assert lab.postgres("SELECT count(loaded_at) FROM etl.ledger") == [(0,)]
    with lab.another() as other, lab.another() as reader:
        reader.postgres.rows("SELECT count(*) FROM etl.ledger")  # and its transaction goes on, as a worker's does
        other.postgres.execute("SET lock_timeout = '1s'", "COMMENT ON SCHEMA etl IS 'older'")
        control.ensure_schema(other.postgres)


def _version(lab: Lab) -> str:
    return str(lab.postgres("SELECT obj_description('etl'::regnamespace, 'pg_namespace')")[0][0])


@pytest.fixture
def two_versions(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A program of a newer version, whose step from the one to the other ends with statements that a test gives."""
    control.ensure_schema(lab.connections.postgres)
    statements = ["ALTER TABLE etl.runs ADD COLUMN mood text DEFAULT 'fine'"]
    further = (*schema._MIGRATIONS, lambda postgres: postgres.execute(*statements))
    with monkeypatch.context() as newer:
        newer.setattr(schema, "_MIGRATIONS", further)
        yield statements
    lab.change_postgres("ALTER TABLE etl.runs DROP COLUMN IF EXISTS mood", f"COMMENT ON SCHEMA etl IS '{VERSION}'")


def test_books_of_an_older_version_take_only_the_steps_that_they_lack(lab: Lab, two_versions: list[str]) -> None:
    assert _version(lab) == VERSION
    lab.change_postgres("COMMENT ON TABLE etl.runs IS 'as it was'")
    for _ in range(2):  # the second time there is nothing to do: the column would be there twice
        control.ensure_schema(lab.connections.postgres)
        assert _version(lab) == VERSION.replace(f"{NUMBER}", f"{NUMBER + 1}")
        assert lab.postgres("SELECT count(mood) FROM etl.runs") == lab.postgres("SELECT count(*) FROM etl.runs")
        assert lab.postgres("SELECT obj_description('etl.runs'::regclass, 'pg_class')") == [("as it was",)]


def test_a_migration_is_done_as_a_whole_or_not_at_all(lab: Lab, two_versions: list[str]) -> None:
    two_versions.append("SELECT 1 / 0")
    with pytest.raises(EtlError, match="division by zero"):
        control.ensure_schema(lab.connections.postgres)
    assert _version(lab) == VERSION
    assert lab.postgres("SELECT count(*) FROM pg_attribute WHERE attname = 'mood'") == [(0,)]


def test_books_of_a_newer_version_are_refused(
    lab: Lab, engine_uris: embedded.Uris, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.settings.postgres_uri is not None
    monkeypatch.setenv("ETL_HOME", str(lab.settings.home))
    monkeypatch.setenv("ETL_MONGO_URI", engine_uris.mongo)
    monkeypatch.setenv("ETL_MONGO_DATABASE", lab.settings.mongo_database)
    monkeypatch.setenv("ETL_POSTGRES_URI", lab.settings.postgres_uri.get_secret_value())
    monkeypatch.setenv("ETL_CLICKHOUSE_URI", engine_uris.clickhouse)
    control.ensure_schema(lab.connections.postgres)
    newer = VERSION.replace(f"{NUMBER}", "12")
    lab.change_postgres(f"COMMENT ON SCHEMA etl IS '{newer}'")
    try:
        for command in ("status", "quarantine list", "prune --dry-run", "replicate", "sync", "marts", "verify"):
            assert cli.run(command.split()) == 2, command
            said = capsys.readouterr().err
            assert f"are of version 12, and this mongo-marts knows them up to version {NUMBER}" in " ".join(
                said.split()
            )
        assert _version(lab) == newer
    finally:
        lab.change_postgres(f"COMMENT ON SCHEMA etl IS '{VERSION}'")


def test_who_may_only_read_the_books_is_told_the_status(lab: Lab) -> None:
    control.ensure_schema(lab.connections.postgres)
    lab.change_postgres(
        "CREATE ROLE etl_reader",
        "GRANT USAGE ON SCHEMA etl TO etl_reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA etl TO etl_reader",
    )
    try:
        with lab.another() as other:
            other.postgres.execute("SET ROLE etl_reader")
            other.postgres.commit()
            assert status(other.postgres) == status(lab.connections.postgres)
    finally:
        lab.change_postgres("DROP OWNED BY etl_reader", "DROP ROLE etl_reader")


def test_a_version_that_was_released_is_not_changed_any_more() -> None:
    """Who changes it finds books that never get the change: it has to be one more step of ``_MIGRATIONS``."""
    made = repr((schema._TABLES, schema._CHECKPOINTS, schema._ADDED, schema._INDEXED))
    assert hashlib.sha256(made.encode()).hexdigest()[:16] == "2dbcf416a66504a4"


def test_books_of_version_1_get_the_table_of_undeclared_collections(lab: Lab) -> None:
    lab.change_postgres("DROP TABLE etl.undeclared", "COMMENT ON SCHEMA etl IS 'The books of the pipeline, version 1.'")
    assert control.undeclared(lab.connections.postgres) == []
    control.ensure_schema(lab.connections.postgres)
    assert lab.postgres("SELECT count(*) FROM etl.undeclared") == [(0,)]
    assert _version(lab) == VERSION


def test_a_run_lives_as_long_as_the_session_of_its_process(lab: Lab) -> None:
    postgres = lab.connections.postgres
    with lab.another() as other:
        with other.postgres.transaction():
            run_id = control.open_run(other.postgres, "replicate", Timestamp(1, 1), ["postgres"], single_process=True)
        assert control.is_alive(postgres, run_id)
        assert control.statuses(postgres)[run_id] == "running"
    give_up = time.monotonic() + 60
    while control.is_alive(postgres, run_id):  # PostgreSQL ends a session a moment after its client has left
        assert time.monotonic() < give_up
        time.sleep(0.02)
    with postgres.transaction():
        control.fail_run(postgres, run_id, "it's dead; " + "x" * 10_000)
    assert control.statuses(postgres)[run_id] == "failed"
    ((message,),) = lab.postgres("SELECT message FROM etl.runs WHERE run_id = $1::text", run_id)
    assert message.startswith("it's dead; x")
    assert not control.is_alive(postgres, "nobody's")


def test_run_ids_sort_by_time_and_are_fit_for_names(lab: Lab) -> None:
    postgres = lab.connections.postgres
    with postgres.transaction():
        one = control.open_run(postgres, "marts", Timestamp(1, 1), [], single_process=False)
    assert one.replace("_", "").isalnum()
    assert one == one.lower()
    assert len(f"staging_{one}") < 64


def test_runs_that_are_over_are_not_read_again(lab: Lab) -> None:
    """Whatever is there of the past: only what runs, and what left something behind, is looked at."""
    postgres = lab.connections.postgres
    with postgres.transaction():
        before = set(control.open_among(postgres, []))
        ids = [control.open_run(postgres, "sync", Timestamp(1, 1), [], single_process=True) for _ in range(3)]
        control.fail_run(postgres, ids[0], "over")
        control.fail_run(postgres, ids[1], "over")
        assert set(control.open_among(postgres, [])) - before == {ids[2]}
        assert set(control.open_among(postgres, [ids[0], "nobody's"])) - before == {ids[0], ids[2]}
        assert [control.is_given_up(postgres, one) for one in (*ids, "nobody's")] == [True, True, False, True]
        control.fail_run(postgres, ids[2], "over")
    for one in ids:
        control.release_run(postgres, one)


def test_books_of_this_version_are_left_alone_and_what_was_dropped_is_made_again(lab: Lab) -> None:
    made = lab.postgres("SELECT xmin::text FROM pg_description WHERE objoid = 'etl'::regnamespace")
    control.ensure_schema(lab.connections.postgres)
    assert lab.postgres("SELECT xmin::text FROM pg_description WHERE objoid = 'etl'::regnamespace") == made
    lab.change_postgres("DROP TABLE etl.receipts", "DROP VIEW etl.checkpoints")
    control.ensure_schema(lab.connections.postgres)
    lab.postgres("SELECT count(*) FROM etl.receipts, etl.checkpoints")


def test_a_moment_moves_on_only_where_the_run_is_shown_that_was_looked_at(lab: Lab) -> None:
    postgres = lab.connections.postgres
    lab.fill(ProductPriceHistory=3)
    replicate.replicate(lab.connections, ["ProductPriceHistory"])
    shown = [one for one in control.publications(postgres) if one.name == "ProductPriceHistory"]
    assert shown == control.publications(postgres, ["ProductPriceHistory", "NothingOfThisName"])
    assert control.publications(postgres, []) == control.unfinished(postgres) == []
    replicate.replicate(lab.connections, ["ProductPriceHistory"], ["postgres"])
    later = Timestamp(2**31 - 1, 1)
    with postgres.transaction():
        control.advance_moment(postgres, shown, later)
        moments = {
            one.target: one.cluster_time for one in control.publications(postgres) if one.name == "ProductPriceHistory"
        }
        assert moments["clickhouse"] == later > moments["postgres"]
        lab.connections.postgres.connection.rollback()


def test_the_status_is_that_of_one_moment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.fill(ProductPriceHistory=3)
    first, _ = replicate.replicate(lab.connections, ["ProductPriceHistory"])
    accounts = control.accounts

    def meanwhile(*arguments: Any) -> Any:
        with lab.another() as other, monkeypatch.context() as patched:
            patched.setattr(control, "accounts", accounts)
            replicate.replicate(other, ["ProductPriceHistory"])
        return accounts(*arguments)

    monkeypatch.setattr(control, "accounts", meanwhile)
    found = status(lab.connections.postgres)
    assert {one.id for one in found.runs if one.kind == "replicate"} == {first.id}
    assert {one.run_id for one in found.published if one.name == "ProductPriceHistory"} == {first.id}


# --- Quarantine


def _refuse_me(**changes: Any) -> dict[str, Any]:
    return SEARCH | {"results_count": "many"} | changes


def test_quarantine_keeps_documents_of_any_id_whole(lab: Lab) -> None:
    searches = lab.collection("SearchQueries")
    for one in ODD_IDS:
        searches.insert_one({"_id": one, **_refuse_me()})
    invalid = bson.encode({"_id": "????", **SEARCH}).replace(b"????", b"\xff\xfe\xc3\x28")
    searches.insert_one(RawBSONDocument(invalid))
    run, accounts = replicate.replicate(lab.connections, ["SearchQueries"])
    assert {(one.source, one.quarantined) for one in accounts} == {(len(ODD_IDS) + 1,) * 2}
    rows = lab.quarantine("SearchQueries")
    assert set(rows) == set(lab.raw_documents("SearchQueries"))  # byte for byte
    for raw, row in rows.items():
        assert row["run_id"] == run.id
        assert row["resolved_at"] is None
        assert row["first_seen_at"].tzinfo is not None
        assert row["reasons"]
        assert all(set(reason) == {"path", "rule", "value"} for reason in row["reasons"])
        assert json.loads(row["_id"]) != {}
        if raw != invalid:
            alone = bson.encode({"_id": bson.decode(raw, _far_dates())["_id"]})
            assert row["id_hash"] == hashlib.sha256(alone).hexdigest()
    assert len({row["id_hash"] for row in rows.values()}) == len(rows)
    assert {'"text"', '{"$oid":"665f00000000000000000001"}', '{"$numberInt":"7"}', '{"$maxKey":1}'} <= {
        row["_id"] for row in rows.values()
    }
    assert json.loads(rows[invalid]["_id"]) == {"$bson": _only_id(invalid).hex()}


def _only_id(raw: bytes) -> bytes:
    length = 4 + 1 + 4 + 4 + int.from_bytes(raw[9:13], "little")
    element = raw[4:length]
    return (len(element) + 5).to_bytes(4, "little") + element + b"\0"


def test_each_reason_names_path_rule_and_value(lab: Lab) -> None:
    lab.collection("SearchQueries").drop()
    document = _refuse_me(user_id=None, filters=[1], query_id="")
    lab.collection("SearchQueries").insert_one({"_id": ObjectId(), **document})
    far = {"_id": ObjectId(), **SEARCH, "timestamp": bson.DatetimeMS(568_971_820_800_000), "query_text": "a\0b"}
    lab.collection("SearchQueries").insert_one(far)
    replicate.replicate(lab.connections, ["SearchQueries"])
    rows = {bson.decode(raw, _far_dates())["query_id"]: row for raw, row in lab.quarantine("SearchQueries").items()}
    first = {(reason["path"], reason["value"]) for reason in rows[""]["reasons"]}
    assert {("/results_count", "many"), ("/user_id", None)} <= first
    assert "/filters" in {path for path, _ in first}
    second = {reason["path"]: reason["rule"] for reason in rows["q"]["reasons"]}
    assert second.keys() == {"/timestamp", "/query_text"}


def test_the_history_of_a_document_in_quarantine(lab: Lab) -> None:
    searches = lab.collection("SearchQueries")
    searches.drop()
    lab.change_postgres("DELETE FROM etl.quarantine")
    mended, deleted, worse, back = (searches.insert_one(_refuse_me()).inserted_id for _ in range(4))
    searches.insert_one(dict(SEARCH))

    def history() -> dict[ObjectId, tuple[Any, ...]]:
        replicate.replicate(lab.connections, ["SearchQueries"])
        columns = "bson, run_id, first_seen_at, resolved_at"
        found = lab.postgres(f"SELECT {columns} FROM etl.quarantine WHERE collection = 'SearchQueries'")
        return {bson.decode(raw, _far_dates())["_id"]: (raw, *rest) for raw, *rest in found}

    first = history()
    assert {mended, deleted, worse, back} <= first.keys()
    searches.replace_one({"_id": mended}, dict(SEARCH))
    searches.replace_one({"_id": back}, dict(SEARCH))
    searches.delete_one({"_id": deleted})
    searches.replace_one({"_id": worse}, _refuse_me(query_id=7))
    second = history()
    assert deleted not in second  # what is gone from MongoDB does not live on here
    for one in (mended, back):
        raw, run_id, seen, resolved = second[one]
        assert (raw, run_id, seen) == first[one][:3]
        assert resolved > seen
    raw, run_id, seen, resolved = second[worse]
    assert raw != first[worse][0]
    assert bson.decode(raw)["query_id"] == 7
    assert run_id != first[worse][1]
    assert (seen, resolved) == (first[worse][2], None)
    searches.replace_one({"_id": back}, _refuse_me())
    third = history()
    assert third[back][2] == first[back][2]  # first seen when it was first seen
    assert third[back][3] is None
    assert third[mended][3] == second[mended][3]  # resolved when it was resolved
    rows = lab.postgres(
        "SELECT loaded, quarantined FROM etl.ledger JOIN etl.runs USING (run_id) ORDER BY started_at DESC LIMIT 1"
    )
    assert rows == [(2, 2)]


def test_other_collections_keep_their_quarantine(lab: Lab) -> None:
    lab.fill(defects=0.5, EventLogs=20)
    replicate.replicate(lab.connections, ["EventLogs"])
    before = lab.quarantine("EventLogs")
    assert before
    replicate.replicate(lab.connections, ["SearchQueries"])
    assert lab.quarantine("EventLogs") == before


def test_a_run_that_fails_leaves_the_quarantine_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lab.quarantine("SearchQueries")
    lab.collection("SearchQueries").insert_one(_refuse_me())

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(control, "record_publication", fail)
    with pytest.raises(KeyboardInterrupt):
        replicate.replicate(lab.connections, ["SearchQueries"])
    assert lab.quarantine("SearchQueries") == before
    assert lab.postgres("SELECT count(*) FROM etl.refused") == [(0,)]
    assert lab.leftovers() == []


def test_the_books_of_a_copy_that_was_not_finished_are_not_closed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.fill(SearchQueries=4)

    def shown() -> tuple[bool, str]:
        found = status(lab.connections.postgres)
        show({}, *tables.state(found), as_json=False)
        books_shown = re.search(r"SearchQueries +postgres .*", capsys.readouterr().out)
        return all(one.closed for one in found.ledger), books_shown[0].rstrip() if books_shown else ""

    def broken(*_: Any, **__: Any) -> None:
        raise EtlError("broken")

    for step in ("load", "publish"):  # before anything was loaded, and before it was counted in the stores
        with monkeypatch.context() as patched:
            patched.setattr(replicate, step, broken)
            with pytest.raises(EtlError, match="broken"):
                replicate.replicate(lab.connections, ["SearchQueries"])
        is_closed, line = shown()
        assert (is_closed, line.split()) == (False, ["SearchQueries", "postgres", "-", "-", "-", "unfinished"])
    replicate.replicate(lab.connections, ["SearchQueries"])
    is_closed, line = shown()
    assert (is_closed, line.split()) == (True, ["SearchQueries", "postgres", "4", "4", "0", "closed"])
