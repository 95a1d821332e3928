"""Verification on real engines: whatever is changed in a store behind our back is found, named and counted."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from pydantic import SecretStr
from pymongo.errors import PyMongoError

from pipeline import control
from pipeline.connections import TARGETS
from pipeline.engines import embedded
from pipeline.errors import ServerError, SnapshotError, UsageError
from pipeline.replication import chunks, replicate, verify
from pipeline.replication.comparison import Comparison
from pipeline.replication.sync import sync
from pipeline.runtime.progress import Progress
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.selection import Range
from tests.pipeline.lab import Lab
from transforms.oracle.compare import SHOWN

Etl = Callable[..., tuple[int, str, str]]
AT = datetime(2024, 5, 1, 10, 0, 0, 123000, tzinfo=UTC)
LATER = AT.replace(microsecond=124000)
ID = ObjectId("665f00000000000000000001")
DOCUMENTS: dict[str, dict[str, Any]] = {
    "SupportTickets": {
        "ticket_id": "t",
        "user_id": "caf\u00e9",
        "status": "open",
        "issue_type": "billing",
        "messages": [{"sender": "user", "text": f"number {n}", "sent_at": AT} for n in range(3)],
        "created_at": AT,
        "updated_at": LATER,
    },
    "ProductPriceHistory": {
        "product_id": "p",
        "price_changes": [{"changed_at": AT, "price": Decimal128("19.99")}],
        "current_price": Decimal128("19.99"),
        "currency": "EUR",
    },
    "UserSessions": {
        "session_id": "s",
        "user_id": "u",
        "start_time": AT,
        "end_time": None,
        "pages_visited": ["/a", "/b"],
        "device": {"type": "desktop", "os": "Linux", "browser": "Firefox"},
        "actions": [],
    },
    "EventLogs": {
        "event_id": "e",
        "timestamp": AT,
        "event_type": "login",
        "details": {"whole": 1.0, "long": Int64(2**53 + 1), "none": None, "deep": [{"a": "b"}]},
        "beyond": {"the": "contract"},
    },
    "ModerationQueue": {
        "review_id": "r",
        "user_id": "u",
        "product_id": "p",
        "review_text": "",
        "rating": 3,
        "moderation_status": "pending",
        "flags": [],
        "submitted_at": AT,
    },
}


@pytest.fixture(scope="module")
def copied(lab: Lab) -> None:
    lab.fill(defects=0.2, **dict.fromkeys(DOCUMENTS, 40))
    for name, document in DOCUMENTS.items():
        ids = [ID, *(IDS[what] for what, one in TAMPERINGS.items() if one.collection == name)]
        lab.collection(name).insert_many({"_id": one, **document} for one in ids)
    replicate.replicate(lab.connections)


@pytest.fixture
def mended(lab: Lab, copied: None) -> Iterator[set[str]]:
    """Yield a set for the names of the collections that a test tampers with: they are copied anew after it."""
    names: set[str] = set()
    yield names
    replicate.replicate(lab.connections, sorted(names))


def _proof(lab: Lab, *names: str) -> dict[str, Comparison]:
    return {f"{one.collection} {one.target}": one for one in verify.verify(lab.connections, names)}


def test_an_untouched_copy_is_proven(lab: Lab, copied: None) -> None:
    told: list[tuple[str, int, int]] = []
    found = verify.verify(lab.connections, progress=lambda *one: told.append(one))
    # Collections that are not there, and never were, are left out.
    assert {(one.collection, one.target) for one in found} == {(name, t) for name in DOCUMENTS for t in TARGETS}
    for one in found:
        refused, there = len(lab.quarantine(one.collection)), lab.collection(one.collection).count_documents({})
        assert refused > 0
        assert there > 40
        assert one.proven
        assert (one.source, one.equal, one.quarantined) == (there, there - refused, refused)
        assert (one.missing, one.extra, one.different, one.changed_since, one.differences) == (0, 0, 0, 0, [])
    assert {(name, total) for name, total, through in told if through == total > 0} == {
        (name, lab.collection(name).count_documents({})) for name in DOCUMENTS
    }


@dataclass(frozen=True)
class Tampering:
    """One change of a document in a store, where ``:id`` stands for its id, and what verification must say of it."""

    collection: str
    table: str
    postgres: str
    clickhouse: str
    column: str
    expected: Any
    found: Any
    count: str = "different"


def _value(
    collection: str,
    table: str,
    column: str,
    postgres: str,
    clickhouse: str,
    expected: Any,
    found: Any,
    position: int = -1,
) -> Tampering:
    child = f" AND _position = {position}" if position >= 0 else ""
    return Tampering(
        collection,
        table,
        f"UPDATE replica.{table} SET {column} = {postgres} WHERE _id = :id{child}",
        f"ALTER TABLE replica.{table}__data UPDATE {column} = {clickhouse} WHERE _id = :id{child}",
        f"[{position}].{column}" if position >= 0 else column,
        expected,
        found,
    )


TAMPERINGS = {
    "one character": _value(
        "SupportTickets", "support_tickets_messages", "text", "'number 1.'", "'number 1.'", "number 1", "number 1.", 1
    ),
    "another normal form": _value(
        "SupportTickets", "support_tickets", "user_id", "E'cafe\\u0301'", "'cafe\u0301'", "caf\u00e9", "cafe\u0301"
    ),
    "upper case": _value("SupportTickets", "support_tickets", "status", "'Open'", "'Open'", "open", "Open"),
    "one millisecond": _value(
        "SupportTickets",
        "support_tickets",
        "created_at",
        "created_at + interval '1 millisecond'",
        "created_at + toIntervalMillisecond(1)",
        AT,
        LATER,
    ),
    "one millisecond in a child": _value(
        "ProductPriceHistory",
        "product_price_history_price_changes",
        "changed_at",
        "changed_at + interval '1 millisecond'",
        "changed_at + toIntervalMillisecond(1)",
        AT,
        LATER,
        0,
    ),
    "one cent": _value(
        "ProductPriceHistory", "product_price_history", "current_price", "20.00", "20.00", "19.99", "20.00"
    ),
    "one cent in a child": _value(
        "ProductPriceHistory", "product_price_history_price_changes", "price", "19.98", "19.98", "19.99", "19.98", 0
    ),
    "an integer": _value("ModerationQueue", "moderation_queue", "rating", "4", "4", 3, 4),
    "blank for empty": _value("ModerationQueue", "moderation_queue", "review_text", "' '", "' '", "", " "),
    "a value for null": _value("UserSessions", "user_sessions", "end_time", "start_time", "start_time", None, AT),
    "an element dropped": _value(
        "UserSessions", "user_sessions", "pages_visited", "'{/a}'", "['/a']", ["/a", "/b"], ["/a"]
    ),
    "elements in another order": _value(
        "UserSessions", "user_sessions", "pages_visited", "'{/b,/a}'", "['/b', '/a']", ["/a", "/b"], ["/b", "/a"]
    ),
    "an element for none": _value("ModerationQueue", "moderation_queue", "flags", "'{x}'", "['x']", [], ["x"]),
    "a wrong count": _value("UserSessions", "user_sessions", "pages_visited_count", "3", "3", 2, 3),
    "a value in JSON": _value(
        "EventLogs",
        "event_logs",
        "details",
        """jsonb_set(details, '{deep,0,a}', '"c"')""",
        """replaceOne(details, '"b"', '"c"')""",
        '{"deep":[{"a":"b"}],"long":9007199254740993,"none":null,"whole":1.0}',
        '{"deep":[{"a":"c"}],"long":9007199254740993,"none":null,"whole":1.0}',
    ),
    "an integer for a double in JSON": _value(
        "EventLogs",
        "event_logs",
        "details",
        "jsonb_set(details, '{whole}', '1')",
        "replaceOne(details, '1.0', '1')",
        '{"deep":[{"a":"b"}],"long":9007199254740993,"none":null,"whole":1.0}',
        '{"deep":[{"a":"b"}],"long":9007199254740993,"none":null,"whole":1}',
    ),
    "the last bit of a long in JSON": _value(
        "EventLogs",
        "event_logs",
        "details",
        "jsonb_set(details, '{long}', '9007199254740992')",
        "replaceOne(details, '9007199254740993', '9007199254740992')",
        '{"deep":[{"a":"b"}],"long":9007199254740993,"none":null,"whole":1.0}',
        '{"deep":[{"a":"b"}],"long":9007199254740992,"none":null,"whole":1.0}',
    ),
    "a null dropped from JSON": _value(
        "EventLogs",
        "event_logs",
        "details",
        "details - 'none'",
        """replaceOne(details, '"none":null,', '')""",
        '{"deep":[{"a":"b"}],"long":9007199254740993,"none":null,"whole":1.0}',
        '{"deep":[{"a":"b"}],"long":9007199254740993,"whole":1.0}',
    ),
    "undeclared fields gone": _value(
        "EventLogs", "event_logs", "_extra", "NULL", "NULL", '{"/beyond":{"the":"contract"}}', None
    ),
    "undeclared fields made up": _value(
        "UserSessions", "user_sessions", "_extra", """'{"/x":1}'""", """'{"/x":1}'""", None, '{"/x":1}'
    ),
    "a row deleted": Tampering(
        "ModerationQueue",
        "moderation_queue",
        "DELETE FROM replica.moderation_queue WHERE _id = :id",
        "ALTER TABLE replica.moderation_queue__data DELETE WHERE _id = :id",
        "*",
        "a row",
        None,
        "missing",
    ),
    "a child's row deleted": Tampering(
        "SupportTickets",
        "support_tickets_messages",
        "DELETE FROM replica.support_tickets_messages WHERE _id = :id AND _position = 2",
        "ALTER TABLE replica.support_tickets_messages__data DELETE WHERE _id = :id AND _position = 2",
        "[2].*",
        "a row",
        None,
    ),
    "a child's row added": Tampering(
        "UserSessions",
        "user_sessions_actions",
        "INSERT INTO replica.user_sessions_actions VALUES (:id, 0, 'view', '', '2026-01-01 00:00:00')",
        "INSERT INTO replica.user_sessions_actions__data VALUES (:id, 0, 'view', '', '2026-01-01 00:00:00', 0, 0)",
        "[0].*",
        None,
        "a row",
    ),
    "a row hidden": Tampering(
        "ModerationQueue",
        "moderation_queue",
        "DELETE FROM replica.moderation_queue WHERE _id = :id",
        "INSERT INTO replica.moderation_queue__data SELECT * REPLACE (_version + 1 AS _version, 1 AS _deleted) "
        "FROM replica.moderation_queue__data WHERE _id = :id",
        "*",
        "a row",
        None,
        "missing",
    ),
}


# Each has a document of its own.
IDS = {name: ObjectId(f"665f{number:020x}") for number, name in enumerate(TAMPERINGS, start=2)}


@pytest.mark.parametrize("collection", DOCUMENTS)
def test_tampering_is_found_named_and_counted(
    lab: Lab, mended: set[str], monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    mended.add(collection)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 1)  # so that no document is looked at more closely for another's sake
    tampered = {str(IDS[name]): one for name, one in TAMPERINGS.items() if one.collection == collection}
    counts = Counter(one.count for one in tampered.values())
    for document, one in tampered.items():
        lab.change_postgres(one.postgres.replace(":id", f"'{document}'"))
        waits = " SETTINGS mutations_sync = 2" if one.clickhouse.startswith("ALTER") else ""
        lab.change_clickhouse(one.clickhouse.replace(":id", f"'{document}'") + waits)
    for comparison in verify.verify(lab.connections, [collection]):
        assert not comparison.proven
        assert (comparison.missing, comparison.extra) == (counts["missing"], 0)
        assert comparison.different == counts["different"]
        assert comparison.equal == comparison.source - comparison.quarantined - len(tampered)
        assert sorted(one.id for one in comparison.differences) == sorted(tampered)
        for difference in comparison.differences:
            one = tampered[difference.id]
            shown = [difference.expected, difference.found]
            values = [str(value) if isinstance(one.expected, str) and value is not None else value for value in shown]
            found = (difference.table, difference.column, *values)
            assert found == (one.table, one.column, one.expected, one.found)


def _add_row(lab: Lab, new: str) -> None:
    lab.change_postgres(
        f"CREATE TEMP TABLE one AS SELECT * FROM replica.moderation_queue WHERE _id = '{ID}'",
        f"UPDATE one SET _id = '{new}'",
        "INSERT INTO replica.moderation_queue SELECT * FROM one",
        "DROP TABLE one",
    )
    lab.change_clickhouse(
        f"INSERT INTO replica.moderation_queue__data SELECT * REPLACE ('{new}' AS _id) "
        f"FROM (SELECT * FROM replica.moderation_queue__data WHERE _id = '{ID}')"
    )


@pytest.mark.parametrize("rows", [3, 20_000])
def test_rows_before_between_and_after_are_found(
    lab: Lab, mended: set[str], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Wherever a row is added or deleted, some chunk's range has it, and only one."""
    mended.add("ModerationQueue")
    monkeypatch.setattr(chunks, "CHUNK_ROWS", rows)
    ids = [one for (one,) in lab.postgres("SELECT _id FROM replica.moderation_queue ORDER BY _id")]
    middle = ids[len(ids) // 2]
    added = ["0" * 24, "f" * 24, middle[:-1] + "g"]
    deleted = {ids[0], ids[3], ids[-1]} - {str(ID)}
    for new in added:
        _add_row(lab, new)
    gone = ", ".join(f"'{one}'" for one in deleted)
    lab.change_postgres(f"DELETE FROM replica.moderation_queue WHERE _id IN ({gone})")
    lab.change_clickhouse(
        f"ALTER TABLE replica.moderation_queue__data DELETE WHERE _id IN ({gone}) SETTINGS mutations_sync = 2"
    )
    for one in verify.verify(lab.connections, ["ModerationQueue"]):
        assert (one.missing, one.extra, one.different) == (len(deleted), 3, 0)
        assert one.equal == len(ids) - len(deleted)
        assert {(difference.id, difference.expected) for difference in one.differences} == {
            *((new, None) for new in added),
            *((old, "a row") for old in deleted),
        }


def test_a_quarantined_document_in_a_store_is_found(lab: Lab, mended: set[str]) -> None:
    mended.add("ModerationQueue")
    refused = [row["_id"] for row in lab.quarantine("ModerationQueue").values() if row["_id"].startswith('{"$oid"')]
    sneaked = refused[0].split('"')[3]
    _add_row(lab, sneaked)
    for one in verify.verify(lab.connections, ["ModerationQueue"]):
        assert not one.proven
        assert (one.missing, one.extra, one.different) == (0, 1, 0)
        assert [(difference.id, difference.found) for difference in one.differences] == [(sneaked, "a row")]


def test_many_differences_are_counted_and_some_are_shown(lab: Lab, mended: set[str]) -> None:
    mended.add("UserSessions")
    lab.change_postgres("UPDATE replica.user_sessions SET user_id = user_id || ' '")
    rows = lab.postgres("SELECT count(*) FROM replica.user_sessions")[0][0]
    found = _proof(lab, "UserSessions")
    assert found["UserSessions postgres"].different == rows
    assert len(found["UserSessions postgres"].differences) == SHOWN
    assert found["UserSessions clickhouse"].proven


def test_what_was_left_out_of_quarantine_is_missing(lab: Lab, mended: set[str]) -> None:
    mended.add("UserSessions")
    raw, row = next(iter(lab.quarantine("UserSessions").items()))
    lab.change_postgres(f"DELETE FROM etl.quarantine WHERE encode(id_hash, 'hex') = '{row['id_hash']}'")
    assert raw
    for one in verify.verify(lab.connections, ["UserSessions"]):
        assert not one.proven
        assert one.missing == 1
        assert one.source == one.equal + one.quarantined + 1


# --- Ranges of ids


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_quarantined_documents_of_any_id_may_stand_anywhere(
    lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Numbers and texts come before, dates after all ObjectIds: chunks of nothing but quarantine."""
    monkeypatch.setattr(chunks, "CHUNK_ROWS", rows)
    sessions = lab.collection("UserSessions")
    odd = [1, 2, 3, "a", "b", True, AT, {"a": 1}, None]
    sessions.insert_many([{"_id": one} | DOCUMENTS["UserSessions"] for one in odd])
    run, _ = replicate.replicate(lab.connections, ["UserSessions"])
    for one in verify.verify(lab.connections, ["UserSessions"]):
        assert one.cluster_time == run.cluster_time
        assert one.proven
        assert one.quarantined == len(lab.quarantine("UserSessions"))
        assert one.equal == lab.postgres("SELECT count(*) FROM replica.user_sessions")[0][0]
    sessions.delete_many({"_id": {"$in": odd}})


def test_a_collection_of_nothing_but_quarantine(lab: Lab, copied: None) -> None:
    lab.fill(defects=1.0, SearchQueries=30)
    lab.collection("SearchQueries").delete_many({"undeclared": {"$exists": True}})
    replicate.replicate(lab.connections, ["SearchQueries"])
    for one in verify.verify(lab.connections, ["SearchQueries"]):
        assert one.proven
        assert one.quarantined + one.equal == one.source


def test_empty_and_missing_collections_are_proven(lab: Lab, copied: None) -> None:
    lab.collection("UserRecommendations").drop()
    lab.fill(SearchQueries=3)
    lab.collection("SearchQueries").delete_many({})
    replicate.replicate(lab.connections, ["UserRecommendations", "SearchQueries"], allow_missing=True)
    for one in verify.verify(lab.connections, ["UserRecommendations", "SearchQueries"]):
        assert one.proven
        assert (one.source, one.equal) == (0, 0)


# --- Which moment


def test_what_changed_in_the_source_since_is_not_held_against_the_stores(lab: Lab, copied: None) -> None:
    lab.collection("EventLogs").update_one({"_id": ID}, {"$set": {"event_type": "later"}})
    lab.collection("EventLogs").delete_one({"_id": {"$ne": ID}})
    for one in verify.verify(lab.connections, ["EventLogs"]):
        assert one.proven
        assert one.changed_since == 0
    replicate.replicate(lab.connections, ["EventLogs"])


def test_each_target_is_compared_at_its_own_moment(lab: Lab, copied: None) -> None:
    lab.fill(SearchQueries=20)
    first, _ = replicate.replicate(lab.connections, ["SearchQueries"])
    lab.collection("SearchQueries").update_many({}, {"$set": {"query_text": "only in PostgreSQL"}})
    second, _ = replicate.replicate(lab.connections, ["SearchQueries"], ["postgres"])
    found = _proof(lab, "SearchQueries")
    assert found["SearchQueries postgres"].cluster_time == second.cluster_time
    assert found["SearchQueries clickhouse"].cluster_time == first.cluster_time
    assert all(one.proven and one.source == 20 for one in found.values())
    (only,) = verify.verify(lab.connections, ["SearchQueries"], ["clickhouse"])
    assert only.target == "clickhouse"


def _sync_in_the_midst_of(lab: Lab, collection: str, times: int) -> tuple[list[int], Callable[..., None]]:
    """Return what counts how often a sync came while a collection was compared, and the progress that lets it come."""
    seen: list[int] = []

    def meanwhile(name: str, *_: Any) -> None:
        if name == collection and len(seen) < times:
            seen.append(1)
            sessions = lab.collection("UserSessions")
            old = [one["_id"] for one in sessions.find({"user_id": {"$ne": "changed"}}, {"_id": 1}).limit(6)]
            sessions.update_many({"_id": {"$in": old[:3]}}, {"$set": {"user_id": "changed", "n": len(seen)}})
            sessions.delete_many({"_id": {"$in": old[3:]}})
            with lab.another() as other:
                sync(other)

    return seen, meanwhile


@pytest.mark.parametrize(("collection", "times"), [("EventLogs", 1), ("UserSessions", 1), ("UserSessions", 2)])
def test_a_sync_meanwhile_is_no_difference(lab: Lab, mended: set[str], collection: str, times: int) -> None:
    """Before a collection's turn it is of no concern; while it is compared, it is compared again."""
    mended.add("UserSessions")
    names = ["EventLogs", "UserSessions"]
    replicate.replicate(lab.connections, names)
    seen, meanwhile = _sync_in_the_midst_of(lab, collection, times)
    found = verify.verify(lab.connections, names, progress=meanwhile)
    assert len(seen) == times
    assert all(one.proven for one in found)
    shown = {(one.name, one.target): one for one in control.publications(lab.connections.postgres)}
    for one in found:
        if one.collection == "UserSessions":
            assert one.run_id == shown[one.collection, one.target].run_id
            assert one.cluster_time == shown[one.collection, one.target].cluster_time
            assert one.source == lab.collection("UserSessions").count_documents({})


def test_a_collection_that_is_published_anew_each_time_is_told(lab: Lab, copied: None) -> None:
    lab.fill(SearchQueries=20)
    replicate.replicate(lab.connections, ["SearchQueries"])
    starts: list[int] = []

    def meddle(_collection: str, _total: int, through: int) -> None:
        starts.append(through)
        with lab.another() as other:
            replicate.replicate(other, ["SearchQueries"])

    with pytest.raises(SnapshotError, match=r"SearchQueries was published anew during each of 3 .* etl verify Search"):
        verify.verify(lab.connections, ["SearchQueries"], progress=meddle)
    assert len(starts) == 2 * verify.TRIES  # each time a chunk, and what is left


def test_what_others_have_is_told_though_one_collection_is_published_anew_each_time(
    lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch, etl: Etl
) -> None:
    lab.fill(SearchQueries=20)
    names = ["EventLogs", "SearchQueries", "UserSessions"]
    replicate.replicate(lab.connections, names)

    @contextmanager
    def meddling(_doing: str) -> Iterator[Progress[str]]:
        def meddle(collection: str, _total: int, _through: int) -> None:
            if collection == "SearchQueries":
                with lab.another() as other:
                    replicate.replicate(other, [collection])

        yield meddle

    monkeypatch.setattr(verify, "TRIES", 1)
    monkeypatch.setattr("pipeline.cli.verify.collection_bars", meddling)
    code, out, told = etl("verify", *names, "--json")
    found = json.loads(out)
    assert {one["collection"] for one in found["comparisons"] if one["proven"]} == {"EventLogs", "UserSessions"}
    assert (code, found["proven"], found["left_out"]) == (2, False, [])
    assert "SearchQueries was published anew" in found["error"]
    assert found["error"] in told
    lab.change_postgres("DELETE FROM replica.event_logs WHERE _id = (SELECT min(_id) FROM replica.event_logs)")
    code, out, told = etl("verify", *names)
    assert code == 1, "what is known to be wrong weighs more"
    assert re.search(r"EventLogs +postgres .* NO(?s:.*)UserSessions +postgres .* yes", out)
    assert re.search(r"not proven: EventLogs in postgres(?s:.*)SearchQueries was published anew", told)
    replicate.replicate(lab.connections, names)


def test_clickhouse_follows_before_it_is_compared(lab: Lab, mended: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody publishes before a collection's turn, and dies when PostgreSQL has committed."""
    mended.add("UserSessions")

    def die(*_: Any) -> None:
        raise ServerError("gone")

    def meanwhile(*arguments: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(ClickHouse, "publish", die)
            with pytest.raises(ServerError, match="gone"):
                syncing(*arguments)

    seen, syncing = _sync_in_the_midst_of(lab, "EventLogs", 1)
    found = verify.verify(
        lab.connections, ["EventLogs", "UserSessions"], progress=lambda *it: None if seen else meanwhile(*it)
    )
    assert seen and all(one.proven for one in found)


@pytest.mark.parametrize("made_again", [False, True])
def test_a_collection_that_was_dropped_since_is_named(lab: Lab, copied: None, *, made_again: bool) -> None:
    lab.fill(SearchQueries=20)
    replicate.replicate(lab.connections, ["SearchQueries"])
    lab.collection("SearchQueries").drop()
    if made_again:
        lab.collection("SearchQueries").insert_one({"a": 1})
    with pytest.raises(SnapshotError, match=r"SearchQueries was dropped or renamed; run etl replicate"):
        verify.verify(lab.connections, ["SearchQueries"])
    replicate.replicate(lab.connections, allow_missing=True)


def test_what_was_never_replicated_is_named(lab: Lab, copied: None) -> None:
    with lab.another() as other:
        other.postgres.execute("DELETE FROM etl.published WHERE collection = 'ModerationQueue'")
        other.postgres.connection.commit()
    with pytest.raises(UsageError, match=r"ModerationQueue: not replicated yet; run etl replicate"):
        verify.verify(lab.connections, ["ModerationQueue"])
    assert "ModerationQueue" not in {one.collection for one in verify.verify(lab.connections, targets=["postgres"])}
    with pytest.raises(UsageError, match="Nobody"):
        verify.verify(lab.connections, ["Nobody"])
    replicate.replicate(lab.connections, ["ModerationQueue"])


# --- When the moment has left the history window


@pytest.fixture(scope="module")
def short_history(settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield settings with a mongod of our own, which keeps no history."""
    home = tmp_path_factory.mktemp("short")
    uris = embedded.up(home, ["mongo"])
    yield settings.model_copy(update={"mongo_uri": SecretStr(uris.mongo)})
    embedded.down(home)


@pytest.fixture
def forgetful(lab: Lab, short_history: Any) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Yield a lab whose mongod forgets, and the function that makes it do so."""
    with lab.another(mongo_uri=short_history.mongo_uri) as connections:
        ours = type(lab)(connections, short_history)
        ours.fill(defects=0.1, UserSessions=50)
        ours.collection("UserSessions").insert_one({"_id": ID, **DOCUMENTS["UserSessions"]})
        run, _ = replicate.replicate(connections, ["UserSessions"], new_source=True)

        def forget() -> None:
            admin = connections.mongo.client.admin
            admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=0)
            for _ in range(100):
                connections.mongo.database["Other"].insert_one({})
                try:
                    connections.mongo.count("UserSessions", run.cluster_time, Range())
                except SnapshotError:
                    admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=3600)
                    return
                time.sleep(0.2)
            raise AssertionError("mongod forgets nothing")

        yield ours, forget


def test_beyond_the_window_untouched_collections_are_proven_now(forgetful: Any) -> None:
    lab, forget = forgetful
    forget()
    for one in verify.verify(lab.connections, ["UserSessions"]):
        assert one.proven
        assert (one.source, one.changed_since) == (51, 0)


def test_beyond_the_window_touched_documents_are_counted_and_the_rest_is_proven(forgetful: Any) -> None:
    lab, forget = forgetful
    sessions, refused = lab.collection("UserSessions"), lab.quarantine("UserSessions")
    stored = [one for (one,) in lab.postgres(f"SELECT _id FROM replica.user_sessions WHERE _id <> '{ID}'")]
    sessions.update_one({"_id": ID}, {"$set": {"user_id": "changed"}})
    sessions.update_one({"_id": ID}, {"$set": {"user_id": "changed twice"}})
    sessions.update_one({"_id": ObjectId(stored[0])}, {"$set": {"user_id": 7}})  # unfit for its contract now
    sessions.delete_one({"_id": ObjectId(stored[1])})
    sessions.insert_one({"_id": "an id of another kind"})
    new = sessions.insert_one(dict(DOCUMENTS["UserSessions"])).inserted_id
    mended = next(row["_id"] for row in refused.values() if "$oid" in row["_id"]).split('"')[3]
    sessions.replace_one({"_id": ObjectId(mended)}, dict(DOCUMENTS["UserSessions"]))
    assert new
    forget()
    for one in verify.verify(lab.connections, ["UserSessions"]):
        assert one.changed_since == 6
        assert one.differences == []
        assert one.proven
        assert one.source == 51 - 4
        assert one.quarantined == len(refused) - 1
    lab.change_postgres(f"UPDATE replica.user_sessions SET device_os = 'x' WHERE _id IN ('{stored[2]}', '{ID}')")
    lab.change_clickhouse(
        f"ALTER TABLE replica.user_sessions__data UPDATE device_os = 'x' WHERE _id = '{stored[2]}' "
        "SETTINGS mutations_sync = 2"
    )
    for one in verify.verify(lab.connections, ["UserSessions"]):
        assert (one.missing, one.extra, one.different) == (0, 0, 1)
        assert [(difference.id, difference.column) for difference in one.differences] == [(stored[2], "device_os")]


def test_beyond_the_oplog_a_new_copy_is_asked_for(forgetful: Any) -> None:
    lab, _ = forgetful
    with lab.connections.mongo.client.start_session() as session:
        first = lab.connections.mongo.client.local["oplog.rs"].find_one({}, sort=[("$natural", 1)], session=session)
    before = ((first["ts"].time - 1000) << 32) | 1
    lab.change_postgres(f"UPDATE etl.published SET cluster_time = {before} WHERE collection = 'UserSessions'")
    with pytest.raises(SnapshotError, match="run etl replicate"):
        verify.verify(lab.connections, ["UserSessions"])


def test_no_error_of_the_driver_comes_through(lab: Lab, copied: None) -> None:
    """A table that somebody dropped is told in one sentence."""
    lab.fill(SearchQueries=5)
    replicate.replicate(lab.connections, ["SearchQueries"])
    lab.change_clickhouse("DROP VIEW replica.search_queries")
    try:
        with pytest.raises(Exception, match="search_queries") as error:
            verify.verify(lab.connections, ["SearchQueries"])
        assert type(error.value).__module__ == "pipeline.errors"
        assert not isinstance(error.value, PyMongoError)
        assert "\n" not in str(error.value)
    finally:
        replicate.replicate(lab.connections, ["SearchQueries"])
