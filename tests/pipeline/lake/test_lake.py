"""The lake on real engines: what a person in a notebook asks for, and what is asked of the stores."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from bson import ObjectId, Timestamp

from pipeline import Lake, UsageError, replicate, sync
from pipeline.connections import TARGETS
from pipeline.lake.lake import _cluster_time
from pipeline.stores.clickhouse.reader import ClickHouseReader
from pipeline.stores.postgres.reader import PostgresReader
from pipeline.stores.postgres.session import Session
from tests.pipeline.lab import Lab

FILTERS = {
    "text": pl.col("status") == "open",
    "others": pl.col("status") != "open",
    "range": (pl.col("ticket_id") > "T00000001") & (pl.col("ticket_id") <= "T00000012"),
    "list": pl.col("issue_type").is_in(["billing", "technical", "Ünknown"]),
    "number": pl.col("messages_count") >= 3,
    "moment": pl.col("created_at").is_between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
    "null": pl.col("_extra").is_null() & pl.col("user_id").is_not_null(),
    "either": (pl.col("status") == "open") | (pl.col("messages_count") == 2),
    "text of a text": pl.col("status").str.starts_with("c") & (pl.col("messages_count") > 1),
}


@pytest.fixture(scope="module")
def filled(lab: Lab) -> Lab:
    lab.fill(defects=0.05, SupportTickets=300, UserSessions=300)
    replicate(lab.connections, ["SupportTickets", "UserSessions"])
    return lab


@pytest.fixture(scope="module", params=TARGETS)
def lake(filled: Lab, request: pytest.FixtureRequest) -> Iterator[Lake]:
    with Lake(filled.settings, store=request.param) as lake:
        yield lake


def test_each_table_is_what_the_store_shows(lake: Lake, filled: Lab) -> None:
    for entity in filled.connections.chosen(["SupportTickets", "UserSessions"]):
        for table in entity.tables:
            frame = lake.replica[table.name]
            assert frame.collect_schema() == table.frame_schema
            found = frame.drop("_extra", "device", strict=False).collect().sort(table.key)
            assert found.equals(filled.stored(lake._store, table).select(found.columns))


def test_reads_share_a_connection_that_locks_nothing_until_it_is_lost(filled: Lab) -> None:
    with Lake(filled.settings) as lake, closing(Session(lake._servers._uri("postgres"))) as other:
        lake.replica.support_tickets.collect()
        (kept,) = lake._servers._idle
        lake.replica.support_tickets.collect()
        assert lake._servers._idle == [kept]
        other.execute("SET lock_timeout = 1", "LOCK TABLE replica.support_tickets IN ACCESS EXCLUSIVE MODE")
        other.undo()
        other.rows(f"SELECT pg_terminate_backend({kept._session[0]}, 5000)")
        assert len(lake.replica.support_tickets.collect()) and lake._servers._idle != [kept]
    assert lake._servers._idle == []


def test_the_books_are_asked_over_a_new_connection_once_theirs_is_lost(filled: Lab) -> None:
    with Lake(filled.settings) as lake, closing(Session(lake._servers._uri("postgres"))) as other:
        before = lake.books()
        other.rows(f"SELECT pg_terminate_backend({lake.books_session()._session[0]}, 5000)")
        assert lake.books().equals(before)
        assert len(lake.quarantine()) and len(lake.drift().columns)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_gives_what_polars_makes_of_all_rows(lake: Lake, name: str) -> None:
    everything = lake.replica.support_tickets.collect()
    found = lake.replica.support_tickets.filter(FILTERS[name]).select("ticket_id", "status").collect()
    wanted = everything.filter(FILTERS[name]).select("ticket_id", "status")
    assert found.sort("ticket_id").equals(wanted.sort("ticket_id"))
    assert 0 < len(found) <= len(everything)


def test_the_store_sends_what_is_wanted_and_no_more(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, sent = PostgresReader if lake._store == "postgres" else ClickHouseReader, []
    original = kind.read

    def read(self: Any, schema: str, table: Any, *rest: Any) -> Iterator[Any]:
        for batch in original(self, schema, table, *rest):
            sent.append((batch.num_rows, batch.schema.names))
            yield batch

    monkeypatch.setattr(kind, "read", read)
    tickets = lake.replica.support_tickets
    few = tickets.filter(pl.col("status") == "open").select("ticket_id").collect()
    assert sum(rows for rows, _ in sent) == len(few)
    assert all(set(names) <= {"ticket_id", "status"} for _, names in sent)
    sent.clear()
    assert len(tickets.head(5).collect()) == 5
    assert sum(rows for rows, _ in sent) == 5


def test_tables_join_in_one_query(lake: Lake) -> None:
    tickets, messages = lake.replica.support_tickets, lake.replica.support_tickets_messages
    counted = messages.group_by("_id").agg(pl.len().cast(pl.Int64).alias("found"))
    odd = tickets.join(counted, on="_id", how="left").filter(pl.col("found").fill_null(0) != pl.col("messages_count"))
    assert odd.collect().is_empty()


def test_a_collection_is_read_as_a_copy_would_load_it(
    lake: Lake, filled: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    for table in ("support_tickets", "support_tickets_messages"):
        source = lake.collection("SupportTickets", table=table).drop("_extra", strict=False).collect()
        stored = lake.replica[table].drop("_extra", strict=False).collect()
        order = ["_id", "_position"] if table.endswith("messages") else ["_id"]
        assert source.sort(order).equals(stored.sort(order))
    assert "of SupportTickets would be refused" in caplog.text
    assert len(lake.collection("support_tickets").head(7).collect()) == 7


def test_a_moment_of_the_past_is_read(lake: Lake, filled: Lab) -> None:
    moment, lawful = filled.connections.mongo.cluster_time(), lake.replica.support_tickets.head(1).collect()["_id"][0]
    document = filled.collection("SupportTickets").find_one_and_delete({"_id": ObjectId(lawful)})
    was, now = lake.collection("SupportTickets", at=moment), lake.collection("SupportTickets")
    filled.collection("SupportTickets").insert_one(document)
    assert [one.filter(_id=lawful).collect().height for one in (was, now)] == [1, 0]


def test_a_time_means_all_of_its_second_and_may_be_after_the_last_write(lake: Lake, filled: Lab) -> None:
    filled.connections.mongo.database["unrelated"].insert_one({})
    newest = filled.connections.mongo.cluster_time()
    second = newest.as_datetime()
    assert _cluster_time(second, newest) == newest > Timestamp(second, 0)
    assert _cluster_time(second.replace(tzinfo=None), newest) == newest
    for at in (second, datetime.now(UTC)):
        assert len(lake.collection("SupportTickets", at=at).head(1).collect()) == 1
    with pytest.raises(UsageError, match="2120-01-01 00:00:00 UTC is still to come"):
        lake.collection("SupportTickets", at=datetime(2120, 1, 1))


def test_versions_are_read_where_a_contract_keeps_them(filled: Lab) -> None:
    changed = filled.collection("SupportTickets").find_one_and_update(
        {"status": "open"}, {"$set": {"status": "closed"}}
    )
    sync(filled.connections, ["SupportTickets"])
    for store in TARGETS:
        with Lake(filled.settings, store=store) as lake:
            versions = lake.history.support_tickets_versions.filter(_id=str(changed["_id"])).sort("_valid_from")
            assert versions.select("status", pl.col("_valid_to").is_null().alias("now")).collect().rows() == [
                ("open", False),
                ("closed", True),
            ]
            assert not [name for name in lake.history if name.startswith("user_sessions")]
            assert versions.select("_valid_to").collect_schema() == {"_valid_to": pl.Datetime("us", "UTC")}


def test_the_books_are_frames(lake: Lake, filled: Lab) -> None:
    books = lake.books().filter(name="SupportTickets", target=lake._store)
    assert books["rows"].to_list() == [lake.replica.support_tickets.select(pl.len()).collect().item()]
    refused = lake.quarantine("SupportTickets")
    assert len(refused) == len(filled.quarantine("SupportTickets")) > 0
    assert all(refused["reasons"].list.len() > 0)
    assert set(lake.quarantine()["collection"]) == {"SupportTickets", "UserSessions"}
    assert lake.drift().filter(collection="SupportTickets", kind="undeclared field")["count"].sum() > 0
    described = lake.describe("SupportTickets")
    assert described.equals(lake.describe("support_tickets"))
    assert described.filter(column="created_at")["postgres"].item() == "timestamptz"


def test_people_find_their_way(lake: Lake) -> None:
    assert {"support_tickets", "support_tickets_messages"} <= set(dir(lake.replica))
    assert "support_tickets " in repr(lake.replica)
    assert "user_activity" in list(lake.marts)
    assert "describe(name)" in repr(lake)
    assert not hasattr(lake.replica, "nothing") and "nothing" not in lake.replica
    assert lake.replica.get("nothing") is None
    assert "_valid_to" in lake.describe("support_tickets_versions")["column"]
    for ask, sentence in (
        (lambda: lake.replica["nothing"], "there is no table 'nothing' in replica; there are event_logs, "),
        (lambda: lake.replica.event_logs, f"replica.event_logs is not published in {lake._store}; run etl replicate"),
        (lambda: lake.marts.user_activity, f"marts.user_activity is not published in {lake._store}; run etl marts"),
        (lambda: lake.describe("nothing"), "there is no table 'nothing'; there are "),
        (lambda: lake.collection("nothing"), "there is no contract of 'nothing'; there are "),
        (lambda: lake.collection("SupportTickets", table="no"), "SupportTickets makes no table 'no'; it makes "),
        (lambda: lake.quarantine("nothing"), "there is no collection 'nothing'"),
        (lambda: Lake(store="nothing"), "there is no target 'nothing'; there are postgres and clickhouse"),
    ):
        with pytest.raises(UsageError) as error:
            ask()
        assert str(error.value).startswith(sentence)


def test_a_table_is_there_after_what_the_sentence_says(filled: Lab, etl: Callable[..., tuple[int, str, str]]) -> None:
    lake = Lake(filled.settings)
    filled.fill(SupportTickets=300, EventLogs=50)
    for ask in (lambda: lake.replica.event_logs, lambda: lake.marts.ticket_resolution):
        with pytest.raises(UsageError) as error:
            ask()
        command = str(error.value).rpartition("run etl ")[2]
        code, *told = etl(command, *(["ticket_resolution"] if command == "marts" else []))
        assert code == 0, told
        assert ask().select(pl.len()).collect().item() in (50, 300)
    lake.close()


def test_a_lake_that_was_closed_opens_again(filled: Lab) -> None:
    lake = Lake(filled.settings)
    lake.close()
    first = lake.books()
    lake.close()
    assert lake.books().equals(first)
    lake.close()
