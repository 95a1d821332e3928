"""What was refused can be counted, shown, exported and retried, and its history is kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, Int64, MaxKey, Timestamp, json_util
from bson.raw_bson import RawBSONDocument
from pydantic import SecretStr

from contracts.schema.fields import integer
from contracts.schema.registry import entities
from pipeline.cli import app as cli
from pipeline.control import quarantine
from pipeline.errors import BooksOpenError, QuarantineLimitError, UsageError
from pipeline.replication import repair
from pipeline.replication.replicate import replicate
from pipeline.replication.verify import verify
from tests.pipeline.control.reviews import AT, REVIEWS, numbered, review
from tests.pipeline.lab import Lab

EVENTS = "EventLogs"
COLUMNS = (
    "review_id, user_id, product_id, review_text, rating, moderation_status, flags, flags_count, submitted_at, _extra"
)
DEEP = 100  # levels of documents in each other; MongoDB takes no more in all


def event(number: int, details: Any) -> dict[str, Any]:
    key = {"_id": numbered(number), "event_id": f"E{number}"}
    return key | {"timestamp": AT, "event_type": "login", "details": details}


def undecodable(document: dict[str, Any]) -> bytes:
    return bson.encode(document).replace(b"UNDECODABLE", b"\xff" * 11)


def fill(lab: Lab, collection: str, documents: list[Any]) -> None:
    lab.collection(collection).drop()
    lab.collection(collection).insert_many(
        [RawBSONDocument(one) if isinstance(one, bytes) else one for one in documents]
    )


def rules(lab: Lab, collection: str = REVIEWS) -> dict[str, set[tuple[str, str]]]:
    """Return path and rule of all reasons in quarantine, by the ``_id`` as text."""
    found = lab.quarantine(collection).values()
    return {one["_id"]: {(reason["path"], reason["rule"]) for reason in one["reasons"]} for one in found}


def assert_proven(lab: Lab, *collections: str) -> None:
    lab.assert_replicated(collections)
    for one in verify(lab.connections, collections):
        assert one.proven, one
        assert one.source == one.equal + one.quarantined


@pytest.fixture
def etl(lab: Lab, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> Callable[..., tuple[int, bytes, bytes]]:
    """Return a function that runs a command and returns its exit code, stdout and stderr."""
    for name, value in lab.settings:
        shown = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if name.endswith(("_uri", "_database", "home")):
            monkeypatch.setenv(f"ETL_{name.upper()}", shown)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, bytes, bytes]:
        capfdbinary.readouterr()
        return cli.run(list(arguments)), *capfdbinary.readouterr()

    return run


# Reasons ------------------------------------------------------------------------------------------------------------


def test_before_anything_is_refused_there_is_nothing_to_show(lab: Lab) -> None:
    with lab.connections.postgres.transaction():
        assert quarantine.counts(lab.connections.postgres) == []
        assert list(quarantine.export(lab.connections.postgres)) == []
        with pytest.raises(UsageError, match="no document with the _id x is in quarantine"):
            quarantine.find(lab.connections.postgres, "x")
        assert repair.replay(lab.connections) == []


def test_every_reason_is_told_with_path_and_value(lab: Lab) -> None:
    broken = review(1, rating=9, user_id="", submitted_at=DatetimeMS(2**62), flags=["spam", None, 7])
    del broken["product_id"]
    fill(lab, REVIEWS, [broken, review(2)])
    replicate(lab.connections, [REVIEWS])
    (found,) = lab.quarantine(REVIEWS).values()
    assert {(one["path"], one["rule"]): one["value"] for one in found["reasons"]} == {
        ("/product_id", "required field is missing"): None,
        ("/flags/1", "expected string, found null"): None,
        ("/flags/2", "expected string, found int"): 7,
        ("/rating", "rating_at_most"): 9,
        ("/user_id", "user_id_min_length"): "",
        ("/submitted_at", "submitted_at_in_clickhouse_range"): f"{2**62} ms since 1970",
    }
    assert_proven(lab, REVIEWS)


IDS = [
    "text",
    7,
    7.5,
    Int64(2**62),
    None,
    True,
    {"a": 1, "b": {"c": [1]}},
    Binary(b"\x00\x01", 128),
    DatetimeMS(2**62),
    Timestamp(1, 1),
    MaxKey(),
    "nul\0",
    "x" * 3000,
    float("nan"),
]


def test_ids_of_undeclared_types_are_refused_whole_and_proven(lab: Lab) -> None:
    raws = [bson.encode(review(1) | {"_id": value}) for value in IDS]
    raws.append(undecodable(review(2) | {"_id": "UNDECODABLE"}))
    fill(lab, REVIEWS, [*raws, review(3)])
    _, accounts = replicate(lab.connections, [REVIEWS])
    assert {(one.source, one.loaded, one.quarantined) for one in accounts} == {(len(IDS) + 2, 1, len(IDS) + 1)}
    assert set(lab.quarantine(REVIEWS)) == set(raws)
    assert_proven(lab, REVIEWS)
    (found,) = repair.replay(lab.connections, [REVIEWS])
    assert found == repair.Replayed(REVIEWS, len(raws), 0, len(raws), 0)
    assert_proven(lab, REVIEWS)


def test_a_large_and_a_deep_document_are_loaded_or_refused_whole(lab: Lab) -> None:
    deep: Any = {"end": 1.5}
    for _ in range(DEEP - 4):
        deep = {"d": deep}
    large = "é" * 7_700_000  # 15.4 MB
    fill(
        lab,
        EVENTS,
        [
            event(1, deep),
            event(2, {"text": large}),
            event(3, {"text": large, "nul": "\0"}) | {"event_id": ""},
            event(4, {}),
        ],
    )
    lab.collection(EVENTS).insert_one(event(5, {}) | {"undeclared": large})
    _, accounts = replicate(lab.connections, [EVENTS])
    assert {(one.loaded, one.quarantined) for one in accounts} == {(4, 1)}
    assert_proven(lab, EVENTS)
    fill(lab, EVENTS, [event(1, {})])
    replicate(lab.connections, [EVENTS])


def test_one_bad_document_among_many(lab: Lab) -> None:
    lab.fill(UserSessions=6_000)
    chosen = lab.collection("UserSessions").find_one({"session_id": "S000004321"})
    lab.collection("UserSessions").update_one({"_id": chosen["_id"]}, {"$set": {"device.os": 7}})
    _, accounts = replicate(lab.connections, ["UserSessions"])
    assert {(one.source, one.loaded, one.quarantined) for one in accounts} == {(6_000, 5_999, 1)}
    assert list(rules(lab, "UserSessions").values()) == [{("/device/os", "expected string, found int")}]
    assert_proven(lab, "UserSessions")
    lab.collection("UserSessions").drop()


def test_a_collection_of_nothing_but_bad_documents(lab: Lab) -> None:
    fill(lab, REVIEWS, [review(number, rating="five") for number in range(12_000)])
    _, accounts = replicate(lab.connections, [REVIEWS])
    assert {(one.source, one.loaded, one.quarantined) for one in accounts} == {(12_000, 0, 12_000)}
    assert_proven(lab, REVIEWS)
    with lab.connections.postgres.transaction():
        (counted,) = quarantine.counts(lab.connections.postgres, [REVIEWS])
    assert (counted.documents, counted.rule, counted.path) == (
        12_000,
        "expected int or long or double, found string",
        "/rating",
    )


# The limit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "passes"), [("2", True), ("1", False), ("0", False), ("50%", True), ("49.9%", False)]
)
def test_a_limit_stops_a_run_that_refuses_more(lab: Lab, limit: str, *, passes: bool) -> None:
    fill(lab, REVIEWS, [review(number) for number in range(4)])
    replicate(lab.connections, [REVIEWS])
    fill(lab, REVIEWS, [review(number, rating=number + 4) for number in range(4)])
    if passes:
        replicate(lab.connections, [REVIEWS], max_quarantined=limit)
    else:
        with pytest.raises(QuarantineLimitError, match=rf"2 of 4 .* limit of {limit}; .* nothing was published"):
            replicate(lab.connections, [REVIEWS], max_quarantined=limit)
    assert (len(lab.quarantine(REVIEWS)) == 2) is passes
    assert lab.postgres("SELECT max(rating) FROM replica.moderation_queue") == [(5,)]
    assert lab.postgres("SELECT count(*) FROM replica.moderation_queue") == [(2 if passes else 4,)]
    assert lab.leftovers() == []


def test_the_limit_of_the_command_line_ends_with_1_and_a_wrong_one_with_2(lab: Lab, etl: Any) -> None:
    fill(lab, REVIEWS, [review(1, rating=0), review(2)])
    code, _, told = etl("replicate", REVIEWS, "--max-quarantined", "0")
    assert code == 1 and b"1 of 2 documents were refused" in told
    code, _, told = etl("replicate", REVIEWS, "--max-quarantined", "few")
    assert code == 2 and b"such as 100 or 0.5%, not 'few'" in told
    code, out, told = etl("replicate", REVIEWS, "--max-quarantined", "1")
    assert code == 0 and b"1 document is in quarantine; etl quarantine list tells why" in out


# History ------------------------------------------------------------------------------------------------------------


def history(lab: Lab) -> dict[str, tuple[datetime, datetime | None, str]]:
    query = "SELECT _id, first_seen_at, resolved_at, run_id FROM etl.quarantine WHERE collection = $1::text"
    return {json.loads(one)["$oid"][-1]: tuple(rest) for one, *rest in lab.postgres(query, REVIEWS) if "$oid" in one}


def test_a_later_run_resolves_what_is_mended_and_the_history_stays_unless_the_document_is_gone(lab: Lab) -> None:
    lab.postgres("DELETE FROM etl.quarantine WHERE collection = $1::text RETURNING _id", REVIEWS)
    fill(lab, REVIEWS, [review(number, rating=0) for number in (1, 2, 3)])
    first, _ = replicate(lab.connections, [REVIEWS])
    begun = history(lab)
    assert {number: (resolved, run) for number, (_, resolved, run) in begun.items()} == dict.fromkeys(
        "123", (None, first.id)
    )
    lab.collection(REVIEWS).update_one({"_id": numbered(1)}, {"$set": {"rating": 1}})
    lab.collection(REVIEWS).delete_one({"_id": numbered(2)})
    lab.collection(REVIEWS).update_one({"_id": numbered(3)}, {"$set": {"user_id": 8}})
    second, _ = replicate(lab.connections, [REVIEWS])
    after = history(lab)
    assert {number: seen for number, (seen, _, _) in after.items()} == {n: begun[n][0] for n in ("1", "3")}
    assert after["1"][1] is not None
    assert after["3"][1:] == (None, second.id)
    assert rules(lab)[json_util.dumps(numbered(3)).replace(" ", "")] == {
        ("/rating", "rating_at_least"),
        ("/user_id", "expected string, found int"),
    }
    lab.collection(REVIEWS).update_one({"_id": numbered(1)}, {"$set": {"rating": 0}})
    replicate(lab.connections, [REVIEWS])
    assert history(lab)["1"][:2] == (begun["1"][0], None)
    lab.collection(REVIEWS).update_one({"_id": numbered(1)}, {"$set": {"rating": 1}})
    replicate(lab.connections, [REVIEWS])
    with lab.connections.postgres.transaction():
        (resolved,) = quarantine.find(lab.connections.postgres, str(numbered(1)))
    assert resolved.resolved_at is not None
    assert_proven(lab, REVIEWS)


def test_a_run_of_another_collection_leaves_the_quarantine_alone(lab: Lab) -> None:
    fill(lab, REVIEWS, [review(1, rating=0)])
    replicate(lab.connections, [REVIEWS])
    fill(lab, EVENTS, [event(1, "no document")])
    replicate(lab.connections, [EVENTS])
    assert len(lab.quarantine(REVIEWS)) == len(lab.quarantine(EVENTS)) == 1


# Replay -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lenient(lab: Lab) -> Any:
    """The same connections under a contract that allows six stars."""
    entity = lab.connections.entities[REVIEWS]
    stars = integer("rating", "Stars.", minimum=1, maximum=6)
    fields = tuple(stars if field.name == "rating" else field for field in entity.fields)
    changed = replace(lab.connections, entities=lab.connections.entities | {REVIEWS: replace(entity, fields=fields)})
    return type(lab)(changed, lab.settings)


@pytest.mark.parametrize("rows", [1, 5_000])
def test_replay_loads_what_the_contract_now_allows_and_closes_the_books(
    lab: Lab, lenient: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr("transforms.bson.documents.CHUNK_ROWS", rows)
    monkeypatch.setattr("pipeline.control.quarantine._EXPORT_ROWS", 2)
    made = [review(1), *(review(number, rating=number) for number in range(5, 12))]
    fill(lab, REVIEWS, [*made, undecodable(review(12, review_text="UNDECODABLE", rating=6))])
    replicate(lab.connections, [REVIEWS])
    assert len(lab.quarantine(REVIEWS)) == 7
    lab.collection(REVIEWS).update_one({"_id": numbered(7)}, {"$set": {"rating": 1}})
    assert repair.replay(lenient.connections, [REVIEWS]) == [repair.Replayed(REVIEWS, 7, 1, 6, 1)]
    (run_id, kind, status) = lab.postgres("SELECT run_id, kind, status FROM etl.runs ORDER BY started_at DESC LIMIT 1")[
        0
    ]
    assert (kind, status) == ("replay", "published")
    ledger = "SELECT source, loaded, quarantined FROM etl.ledger WHERE run_id = $1::text"
    assert lab.postgres(ledger, run_id) == [(7, 1, 6), (7, 1, 6)]
    for one in verify(lenient.connections, [REVIEWS]):
        assert one.proven, one
    replicate(lenient.connections, [REVIEWS])
    assert len(lab.quarantine(REVIEWS)) == 5
    assert_proven(lenient, REVIEWS)
    replicate(lab.connections, [REVIEWS])


def test_replay_from_the_command_line(lab: Lab, etl: Any) -> None:
    fill(lab, REVIEWS, [review(1, rating=0), review(2)])
    replicate(lab.connections, allow_missing=True)
    code, out, _ = etl("quarantine", "replay", "moderation_queue", "--json")
    wanted = {"collection": REVIEWS, "retried": 1, "loaded": 0, "refused": 1, "changed": 0}
    assert (code, json.loads(out)) == (0, {"replayed": [wanted]})
    lab.collection(REVIEWS).delete_one({"_id": numbered(1)})
    code, out, _ = etl("quarantine", "replay")
    assert code == 0 and b"etl sync takes over what was changed in MongoDB" in out
    replicate(lab.connections, [REVIEWS])
    code, out, _ = etl("quarantine", "replay", REVIEWS)
    assert (code, out) == (0, b"the quarantine is empty\n")


# Looking at it ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(lab: Lab) -> dict[str, bytes]:
    """The bytes of some refused documents, by what they are."""
    documents: dict[str, Any] = {
        "zero": review(1, rating=0),
        "zero and empty": review(2, rating=0, user_id=""),
        "undecodable": undecodable(review(3, review_text="UNDECODABLE")),
        "text id": review(4) | {"_id": "a text"},
        "number id": review(5) | {"_id": 5},
    }
    raws = {name: one if isinstance(one, bytes) else bson.encode(one) for name, one in documents.items()}
    fill(lab, REVIEWS, list(raws.values()))
    fill(lab, EVENTS, [event(1, "no document")])
    replicate(lab.connections, [REVIEWS, EVENTS])
    return raws


def test_list_counts_by_collection_and_rule(lab: Lab, refused: Any, etl: Any) -> None:
    code, out, _ = etl("quarantine", "list", REVIEWS, "--json")
    found = json.loads(out)["rules"]
    assert code == 0
    assert [(one["rule"], one["path"], one["documents"]) for one in found] == [
        ("rating_at_least", "/rating", 2),
        ("expected objectId, found int", "/_id", 1),
        ("expected objectId, found string", "/_id", 1),
        ("undecodable BSON", "/review_text", 1),
        ("user_id_min_length", "/user_id", 1),
    ]
    assert found[0]["sample"] == '{"$oid":"000000000000000000000001"}'
    code, out, _ = etl("quarantine", "list")
    assert code == 0 and b"000000000000000000000001" in out and b"rating_at_least" in out and EVENTS.encode() in out
    assert etl("quarantine")[1] == out
    assert etl("quarantine", "--json")[1] == etl("quarantine", "list", "--json")[1]
    code, out, _ = etl("quarantine", "list", "search_queries")
    assert (code, out) == (0, b"the quarantine is empty\n")
    code, _, told = etl("quarantine", "list", "Nope")
    assert code == 2 and b"there is no collection 'Nope'; there are EventLogs," in told


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("000000000000000000000002", "zero and empty"),
        ('{"$oid":"000000000000000000000002"}', "zero and empty"),
        ("a text", "text id"),
        ('"a text"', "text id"),
        ('{"$numberInt":"5"}', "number id"),
        ("5", "number id"),
        ("000000000000000000000003", "undecodable"),
    ],
)
def test_show_prints_document_and_reasons(lab: Lab, refused: Any, etl: Any, identity: str, name: str) -> None:
    code, out, _ = etl("quarantine", "show", identity, "--json")
    assert code == 0
    found = next(one for one in json.loads(out)["documents"] if one["collection"] == REVIEWS)
    assert found["resolved_at"] is None and found["first_seen_at"]
    if name == "undecodable":
        assert found["document"] == {"$bson": refused[name].hex()}
        assert [one["rule"] for one in found["reasons"]] == ["undecodable BSON"]
    else:
        assert bson.encode(json_util.loads(json.dumps(found["document"]))) == refused[name]
    if name == "zero and empty":
        assert {one["rule"] for one in found["reasons"]} == {"rating_at_least", "user_id_min_length"}
        code, out, _ = etl("quarantine", "show", identity)
        assert code == 0 and b"rating_at_least" in out and b"user_id_min_length" in out and b"refused" in out


def test_show_of_an_unknown_id_is_one_sentence(lab: Lab, refused: Any, etl: Any) -> None:
    code, out, told = etl("quarantine", "show", "nope")
    assert (code, out) == (2, b"")
    assert told == b"error: no document with the _id nope is in quarantine; etl quarantine list shows samples\n"


def test_export_gives_the_bytes_as_stored(lab: Lab, refused: Any, etl: Any, tmp_path: Path) -> None:
    file = tmp_path / "refused.bson"
    code, out, told = etl("quarantine", "export", REVIEWS, "--format", "bson", "-o", str(file))
    assert (code, out, told) == (0, b"", b"5 documents exported\n")
    assert {bytes(one.raw) for one in bson.decode_iter(file.read_bytes(), RAW)} == set(refused.values())
    code, out, _ = etl("quarantine", "export", REVIEWS, "-o", str(file), "--json")
    assert (code, json.loads(out)) == (0, {"exported": 5, "output": str(file), "format": "ndjson"})
    code, _, told = etl("quarantine", "export", "--json")
    assert code == 2 and b"add --output FILE" in told
    code, out, _ = etl("quarantine", "export", "--format", "bson")
    assert code == 0 and len(list(bson.decode_iter(out, RAW))) == 6


def test_export_gives_canonical_json_a_line_each(lab: Lab, refused: Any, etl: Any) -> None:
    code, out, _ = etl("quarantine", "export", "moderation_queue")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 5
    assert {"$bson": refused["undecodable"].hex()} in lines
    found = {bson.encode(json_util.loads(json.dumps(one))) for one in lines if "$bson" not in one}
    assert found == {raw for name, raw in refused.items() if name != "undecodable"}


def test_export_into_what_can_not_be_written_is_one_sentence(lab: Lab, refused: Any, etl: Any, tmp_path: Path) -> None:
    code, out, told = etl("quarantine", "export", "-o", str(tmp_path))
    assert (code, out) == (2, b"")
    assert told.decode() == f"error: {tmp_path} can't be written: Is a directory\n"
    assert etl("quarantine", "export", "Nope")[0] == 2


RAW: Any = bson.codec_options.CodecOptions(document_class=RawBSONDocument)


# Repair -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["postgres", "clickhouse"])
def test_verify_repair_reads_again_what_differs(lab: Lab, etl: Any, target: str) -> None:
    fill(lab, REVIEWS, [*(review(number) for number in range(1, 6)), review(6, rating=0)])
    replicate(lab.connections, [REVIEWS])
    if target == "postgres":
        lab.change_postgres(
            f"UPDATE replica.moderation_queue SET rating = 4 WHERE _id = '{numbered(1)}'",
            f"DELETE FROM replica.moderation_queue WHERE _id = '{numbered(2)}'",
            f"INSERT INTO replica.moderation_queue (_id, {COLUMNS}) SELECT '{numbered(6)}', {COLUMNS} "
            "FROM replica.moderation_queue LIMIT 1",
        )
    else:
        data, columns = "replica.moderation_queue__data", f"{COLUMNS}, _version"
        lab.change_clickhouse(
            f"ALTER TABLE {data} UPDATE rating = 4 WHERE _id = '{numbered(1)}' SETTINGS mutations_sync = 2",
            f"ALTER TABLE {data} DELETE WHERE _id = '{numbered(2)}' SETTINGS mutations_sync = 2",
            f"INSERT INTO {data} (_id, {columns}) SELECT '{numbered(6)}' AS _id, {columns} FROM {data} LIMIT 1",
        )
    code, out, told = etl("verify", REVIEWS, "--json")
    assert code == 1 and b"etl verify --repair" in told
    broken = next(one for one in json.loads(out)["comparisons"] if one["target"] == target)
    assert (broken["missing"], broken["extra"], broken["different"]) == (1, 1, 1)
    code, _, told = etl("verify", REVIEWS, "--repair")
    assert code == 0 and b"3 documents were read again" in told
    assert_proven(lab, REVIEWS)
    assert etl("verify", REVIEWS, "--repair")[0] == 0


def test_too_much_to_repair_asks_for_a_new_copy(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lab, REVIEWS, [review(number) for number in range(1, 6)])
    replicate(lab.connections, [REVIEWS])
    lab.change_postgres("DELETE FROM replica.moderation_queue")
    monkeypatch.setattr(repair, "BROKEN", 5)
    with pytest.raises(UsageError, match="5 or more documents of ModerationQueue are broken; run etl replicate"):
        repair.repair(lab.connections, verify(lab.connections, [REVIEWS]))
    replicate(lab.connections, [REVIEWS])
    assert_proven(lab, REVIEWS)


def test_an_amendment_that_fails_changes_nothing(lab: Lab, lenient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lab, REVIEWS, [review(1), review(2, rating=6)])
    replicate(lab.connections, [REVIEWS])
    before = lab.everything([REVIEWS])
    monkeypatch.setattr(quarantine, "size", lambda *_: 2)
    with pytest.raises(BooksOpenError, match="the books of ModerationQueue in postgres are open"):
        repair.replay(lenient.connections, [REVIEWS])
    after = lab.everything([REVIEWS])
    assert all(frame.equals(after[name]) for name, frame in before.items())
    assert lab.leftovers() == []
    assert len(lab.quarantine(REVIEWS)) == 1


def test_the_quarantine_of_a_contract_that_is_gone_can_still_be_named(lab: Lab) -> None:
    fill(lab, REVIEWS, [review(1, rating=0)])
    replicate(lab.connections, [REVIEWS])
    others = [entity for name, entity in entities().items() if name != REVIEWS]
    with lab.connections.postgres.transaction():
        assert quarantine.chosen(lab.connections.postgres, others, [REVIEWS, "event_logs"]) == [REVIEWS, EVENTS]
