"""The source on a real server: ranges that leave out nothing, moments, and errors of one sentence."""

import inspect
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from contracts.schema.entity import Entity
from contracts.schema.fields import identifier, omit, text
from pipeline import control
from pipeline.engines import embedded
from pipeline.errors import EtlError, LostError, ServerError, SnapshotError, UsageError
from pipeline.marts.build import build
from pipeline.replication import replicate
from pipeline.replication.replicate import Partition
from pipeline.stores.mongo.errors import translated
from pipeline.stores.mongo.listing import listed
from pipeline.stores.mongo.measured import FAR_DATES, Extent
from pipeline.stores.mongo.session import RAW
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.selection import Ids, Range
from tests.ports import free_port
from transforms.bson.documents import make_document, split_documents

THINGS = Entity("Things", "Things.", "thing_id", (identifier("thing_id", "Key."), text("padding", "Padding.")))
OMITTING = Entity("Things", "Things.", "thing_id", (identifier("thing_id", "Key."), omit("padding")))
ODD_IDS: list[Any] = [
    bson.MinKey(),
    None,
    float("nan"),
    float("-inf"),
    Decimal128("-1E+10"),
    -0.0,
    7,
    Decimal128("7.5"),
    Int64(2**53 + 1),
    1e300,
    "",
    "text",
    "\U0001f600",
    {},
    {"a": 1},
    {"a": Int64(1), "b": 1},
    bson.DBRef("X", 1),
    b"",
    b"bytes",
    bson.Binary(b"1" * 16, 4),
    bson.Binary(b"2" * 16, 3),
    ObjectId("000000000000000000000000"),
    ObjectId("ffffffffffffffffffffffff"),
    False,
    True,
    bson.DatetimeMS(-(10**15)),
    datetime(2020, 1, 1, tzinfo=UTC),
    bson.DatetimeMS(568_971_820_800_000),
    Timestamp(1, 2),
    bson.Code("f()"),
    bson.Code("f()", {"x": 1}),
    bson.MaxKey(),
]


@pytest.fixture(scope="module")
def mongo(connections: Any) -> Mongo:
    source: Mongo = connections.mongo
    return source


@pytest.fixture(scope="module")
def odd(mongo: Mongo) -> list[bytes]:
    """Fill a collection with documents of every kind of id and return them, in their order."""
    things = mongo.database[THINGS.collection]
    things.drop()
    for one in ODD_IDS:
        things.insert_one({"_id": one, "thing_id": "x", "padding": "-" * 200})
    raw = bson.encode({"_id": "????", "thing_id": 7, "padding": ""}).replace(b"????", b"\xff\xfe\xc3\x28")
    things.insert_one(RawBSONDocument(raw))
    things.insert_many({"thing_id": 5 if n % 3 else "x", "padding": "-" * 200} for n in range(100))
    return [one.raw for one in things.with_options(codec_options=RAW).find().sort("_id", 1)]


def _admitted(mongo: Mongo, at: Timestamp, selection: Range) -> list[bytes]:
    return [one for batch in mongo.admitted(THINGS, at, selection) for one in split_documents(batch)]


def _read(mongo: Mongo, at: Timestamp, selection: Range) -> list[bytes]:
    """Read a range as a copy does: what passes the gate and what does not."""
    return [*_admitted(mongo, at, selection), *mongo.refused(THINGS, at, selection)]


def _bounds() -> Iterator[dict[str, Any]]:
    for one in ODD_IDS:
        yield {"_id": one}
    yield {"_id": "between"}
    yield {"_id": Decimal128("NaN")}
    yield {"_id": bson.Regex("^a")}
    yield {"_id": {"$gt": 1}}  # must not be read as an operator
    yield {"_id": "$thing_id"}  # nor as a field


def _ranges(mongo: Mongo, collection: str, partition_bytes: int) -> list[Range]:
    return mongo.ranges(collection, mongo.extent(collection), partition_bytes)


def test_a_range_and_its_complement_have_every_document_once(mongo: Mongo, odd: list[bytes]) -> None:
    at = mongo.cluster_time()
    for bound in _bounds():
        below, above = Range(None, bound), Range(bound, None)
        found = [_read(mongo, at, one) for one in (below, above)]
        assert sorted(found[0] + found[1]) == sorted(odd), bound
        assert [mongo.count(THINGS.collection, at, one) for one in (below, above)] == list(map(len, found)), bound
        assert [len(list(mongo.ids(THINGS.collection, at, one))) for one in (below, above)] == list(map(len, found))


def test_ranges_between_any_two_ids_count_what_they_read(mongo: Mongo, odd: list[bytes]) -> None:
    at = mongo.cluster_time()
    ids = [{"_id": one} for one in ODD_IDS]
    for place, lower in enumerate(ids):
        for upper in ids[place::5]:
            selection = Range(lower, upper)
            found = _read(mongo, at, selection)
            assert mongo.count(THINGS.collection, at, selection) == len(found)
            assert (len(found) == 0) == (lower is upper)


def test_the_gate_divides_each_range(mongo: Mongo, odd: list[bytes]) -> None:
    at = mongo.cluster_time()
    for selection in _ranges(mongo, THINGS.collection, 3000):
        assert not set(mongo.refused(THINGS, at, selection)) & set(_admitted(mongo, at, selection))
    refused = list(mongo.refused(THINGS, at, Range()))
    # Ids of another kind than the contract's are refused as well.
    assert len(refused) == len(odd) - 2 - 34


@pytest.mark.parametrize("size", [500, 2_000, 10_000, 10**9])
def test_planned_ranges_are_complete_and_travel_as_json(mongo: Mongo, odd: list[bytes], size: int) -> None:
    at = mongo.cluster_time()
    for _ in range(5):  # each from another sample
        planned = _ranges(mongo, THINGS.collection, size)
        told = json.dumps([Partition("Things", n, one, "").as_json() for n, one in enumerate(planned)])
        heard = [Partition.from_json(one).selection for one in json.loads(told)]
        assert (len(heard) == 1) == (size == 10**9)
        assert heard[0].lower is None
        assert heard[-1].upper is None
        found = [one for selection in heard for one in _read(mongo, at, selection)]
        assert sorted(found) == sorted(odd)
        assert sum(mongo.count(THINGS.collection, at, selection) for selection in heard) == len(odd)


KINDS: dict[str, Callable[[int], Any]] = {
    "ObjectId": lambda n: ObjectId(f"{n * 7919 % 9973:024x}"),
    "text": lambda n: f"é{n * 7919 % 9973}",
    "number": lambda n: [n, n + 0.5, Int64(n * 2**40), Decimal128(f"{n}.25")][n % 4],
    "number and no number": lambda n: [float("nan"), float("inf"), float("-inf")][n] if n < 3 else n,
    "date": lambda n: bson.DatetimeMS((n - 1000) * 10**9),
    "binary": lambda n: n.to_bytes(2, "big"),
    "UUID": lambda n: bson.Binary(n.to_bytes(16, "little"), 4),
    "document": lambda n: {"a": n % 7, "b": n},
    "mixed": lambda n: [n, str(n), {"n": n}, bson.DatetimeMS(n), n.to_bytes(2, "big"), ObjectId()][n % 6],
}


@pytest.mark.parametrize("large", [0, 30_000])
@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_every_kind_are_cut_without_a_scan(mongo: Mongo, kind: str, large: int) -> None:
    """Of many documents a few are drawn; of few large ones only the ids are read."""
    number = 60 if large else 4_000
    things = mongo.database["Kinds"]
    things.drop()
    things.insert_many({"_id": KINDS[kind](n), "padding": "-" * large} for n in range(number))
    mongo.database.command("profile", 2)
    planned = _ranges(mongo, "Kinds", mongo.extent("Kinds").size // 6)
    mongo.database.command("profile", 0)
    profile = list(mongo.database["system.profile"].find({"ns": f"{mongo.database.name}.Kinds"}))
    mongo.database["system.profile"].drop()
    assert sum(one.get("docsExamined", 0) for one in profile) < number / 20
    assert 6 <= len(planned) <= 7
    at = mongo.cluster_time()
    counts = [mongo.count("Kinds", at, one) for one in planned]
    assert sum(counts) == number
    assert max(counts) < number / 2
    assert sorted(len(list(mongo.ids("Kinds", at, one))) for one in planned) == sorted(counts)
    things.drop()


def test_ranges_are_of_about_equal_size(mongo: Mongo) -> None:
    even = mongo.database["Even"]
    even.drop()
    even.insert_many({"padding": "-" * 100} for _ in range(20_000))
    at = mongo.cluster_time()
    size = even.with_options(codec_options=RAW).find_one().raw  # type: ignore[union-attr]
    planned = _ranges(mongo, "Even", len(size) * 2_000)
    assert 9 <= len(planned) <= 11
    counts = [mongo.count("Even", at, one) for one in planned]
    assert sum(counts) == 20_000
    assert max(counts) < 3 * 2_000
    even.drop()


def test_a_clustered_collection_is_read_as_well(connections: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 2_000)
    database = connections.mongo.database
    database["SearchQueries"].drop()
    searches = database.create_collection("SearchQueries", clusteredIndex={"key": {"_id": 1}, "unique": True})
    about = {"query_id": "q", "user_id": "u", "query_text": "", "filters": {}, "results_count": 0}
    searches.insert_many(about | {"timestamp": datetime(2024, 1, 1, tzinfo=UTC)} for _ in range(100))
    labels: set[str] = set()
    _, accounts = replicate.replicate(connections, ["SearchQueries"], progress=lambda one, *_: labels.add(one.label))
    assert {(one.source, one.loaded) for one in accounts} == {(100, 100)}
    assert len(labels) > 2


def test_a_capped_collection_is_told(connections: Any) -> None:
    """MongoDB can't read it at a cluster time."""
    database = connections.mongo.database
    database["SearchQueries"].drop()
    database.create_collection("SearchQueries", capped=True, size=10**6)
    with pytest.raises(UsageError, match="SearchQueries is a capped collection"):
        replicate.replicate(connections, ["SearchQueries"])
    replicate.replicate(connections, ["SearchQueries"], without_snapshot=True, new_source=True, allow_shrink=True)
    with pytest.raises(UsageError, match=r"SearchQueries was read without a snapshot.*etl marts --without-snapshot"):
        build(connections, ["search_facts"])
    build(connections, ["search_facts"], without_snapshot=True)
    with connections.postgres.transaction():
        shown = {one.name: one.is_pinned for one in control.publications(connections.postgres)}
    assert (shown["SearchQueries"], shown["search_facts"]) == (False, False)
    database["SearchQueries"].drop()


def test_a_view_s_fields_are_not_taken_for_what_it_reads() -> None:
    """It may have one called ``from``, and match it against its own name or that of a capped collection."""

    def of(name: str, on: str, *stages: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "type": "view", "options": {"viewOn": on, "pipeline": list(stages)}}

    def plain(name: str, **options: Any) -> dict[str, Any]:
        info = {"uuid": bson.Binary(bytes(16), 4)}
        return {"name": name, "type": "collection", "options": options, "info": info}

    found = listed(
        [
            plain("posts"),
            plain("log", capped=True),
            of("facebook", "posts", {"$match": {"from": "facebook", "coll": "log", "$or": [{"from": "log"}]}}),
            of("counted", "facebook", {"$group": {"_id": "$from", "coll": {"$first": "log"}}}),
            of("joined", "posts", {"$lookup": {"from": "log", "as": "l", "localField": "a", "foreignField": "b"}}),
            of("united", "facebook", {"$unionWith": "joined"}),
            of("both", "posts", {"$unionWith": {"coll": "posts", "pipeline": [{"$unionWith": {"coll": "log"}}]}}),
            of("faceted", "posts", {"$facet": {"from": [{"$graphLookup": {"from": "united"}}]}}),
            of("circle", "posts", {"$unionWith": "circle"}),
        ]
    )
    unpinned = {name for name, one in found.items() if not one.is_pinned}
    assert unpinned == {"log", "joined", "united", "both", "faceted"}


def test_a_view_that_is_made_otherwise_is_another_one(connections: Any) -> None:
    """A view has no identity of its own, so how it was made stands for that."""
    database = connections.mongo.database
    database["Seen"].drop()
    found = []
    for pipeline in ([], [], [{"$match": {"a": 1}}]):
        database.create_collection("Seen", viewOn="Behind", pipeline=pipeline)
        found.append(connections.mongo.uuids(["Seen"])["Seen"])
        database["Seen"].drop()
    assert found[0] == found[1] != found[2]


# --- Moments


def test_a_moment_is_read_by_several_clients(mongo: Mongo, settings: Any) -> None:
    some = mongo.database["Some"]
    some.insert_many({"n": n} for n in range(10))
    at = mongo.cluster_time()
    some.delete_many({"n": {"$lt": 5}})
    some.insert_one({"n": 99})
    other = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    assert [one.count("Some", at, Range()) for one in (mongo, other)] == [10, 10]
    now = other.cluster_time()
    assert now > at
    assert mongo.count("Some", now, Range()) == 6
    other.close()


def test_ids_touched_between_two_moments(mongo: Mongo, odd: list[bytes]) -> None:
    things = mongo.database[THINGS.collection]
    before = mongo.cluster_time()
    raw = things.with_options(codec_options=RAW)
    for document in odd:
        if b"\xff\xfe\xc3" not in document:
            raw.delete_one({"_id": bson.decode(document, FAR_DATES)["_id"]})
    middle = mongo.cluster_time()
    for document in odd:
        if b"\xff\xfe\xc3" not in document:
            things.insert_one(RawBSONDocument(document))
    mongo.database["Other"].insert_one({"_id": "not ours"})
    after = mongo.cluster_time()
    wanted = [document for document in odd if b"\xff\xfe\xc3" not in document]
    for begin, end in ((before, middle), (middle, after), (before, after)):
        touched = {element for _, element in mongo.touched({THINGS.collection: begin}, end)}
        assert len(touched) == len(wanted)
        assert all(any(document[4:].startswith(element) for element in touched) for document in wanted)
    assert list(mongo.touched({THINGS.collection: after}, after)) == []
    assert list(mongo.touched({THINGS.collection: after}, mongo.cluster_time())) == []


def test_changes_of_several_collections_come_together_each_from_its_own_moment(mongo: Mongo) -> None:
    first = mongo.cluster_time()
    mongo.database["One"].insert_one({"_id": 1})
    mongo.database["Another"].insert_one({"_id": 2})
    mongo.database["Another"].drop()  # before the moment that it is followed from
    second = mongo.cluster_time()
    mongo.database["One"].insert_one({"_id": 3})
    mongo.database["Another"].insert_one({"_id": 4})
    found = mongo.touched({"One": first, "Another": second}, mongo.cluster_time())
    assert [(name, bson.decode(make_document(element))["_id"]) for name, element in found] == [
        ("One", 1),
        ("One", 3),
        ("Another", 4),
    ]


def test_changes_of_a_dropped_collection_can_not_be_followed(mongo: Mongo) -> None:
    mongo.database["Gone"].insert_one({})
    before = mongo.cluster_time()
    mongo.database["Gone"].drop()
    with pytest.raises(SnapshotError, match="Gone was dropped or renamed; run etl replicate"):
        list(mongo.touched({"Gone": before}, mongo.cluster_time()))


def test_an_identity_changes_with_the_collection(mongo: Mongo) -> None:
    one = mongo.database["Identified"]
    one.insert_one({})
    before = mongo.uuids(["Identified"])["Identified"]
    one.insert_one({})
    assert mongo.uuids(["Identified"])["Identified"] == before
    one.drop()
    assert "Identified" not in mongo.uuids(["Identified"])
    one.insert_one({})
    assert mongo.uuids(["Identified"])["Identified"] != before


# --- Errors


def test_a_server_that_is_away_is_told_without_the_password() -> None:
    mongo = Mongo("mongodb://me:s3cret@127.0.0.1:9/?serverSelectionTimeoutMS=200", "x")
    with pytest.raises(ServerError, match="can't be reached") as error:
        mongo.cluster_time()
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)
    mongo.close()


_NOW = Timestamp(1, 1)
_QUESTIONS: dict[str, Callable[[Mongo], Any]] = {
    "admitted": lambda mongo: list(mongo.admitted(THINGS, _NOW, Range())),
    "all_of": lambda mongo: mongo.all_of("y"),
    "bounds": lambda mongo: list(mongo.bounds("Things", _NOW, [1])),
    "cluster_time": lambda mongo: mongo.cluster_time(),
    "count": lambda mongo: mongo.count("Things", _NOW, Range()),
    "databases": lambda mongo: mongo.databases(),
    "documents": lambda mongo: list(mongo.documents(THINGS, [1])),
    "exact": lambda mongo: mongo.exact("Things", _NOW, Ids((b"",))),
    "extent": lambda mongo: mongo.extent("Things"),
    "has_ids": lambda mongo: mongo.has_ids("Things", "string"),
    "snapshot_window": lambda mongo: mongo.snapshot_window(),
    "id_bounds": lambda mongo: mongo.id_bounds("Things"),
    "ids": lambda mongo: list(mongo.ids("Things", _NOW, Range())),
    "in_any_order": lambda mongo: list(mongo.in_any_order("Things", _NOW)),
    "in_order": lambda mongo: list(mongo.in_order(THINGS, _NOW)),
    "is_pinned": lambda mongo: mongo.is_pinned("Things"),
    "is_plain": lambda mongo: mongo.is_plain("Things"),
    "listed": lambda mongo: mongo.listed(),
    "omitted": lambda mongo: list(mongo.omitted(OMITTING, _NOW, Range())),
    "passing": lambda mongo: mongo.passing(THINGS, _NOW, [bson.encode({"_id": 1})]),
    "ranges": lambda mongo: mongo.ranges("Things", Extent(1_000_000, 1_000_000), 1),
    "read": lambda mongo: list(mongo.read(THINGS, _NOW, Ids((b"",)))),
    "refused": lambda mongo: list(mongo.refused(THINGS, _NOW, Range())),
    "repeated_ids": lambda mongo: mongo.repeated_ids("Things", _NOW),
    "source": lambda mongo: mongo.source(),
    "spooled": lambda mongo: mongo.spooled("Things", _NOW),
    "touched": lambda mongo: list(mongo.touched({"Things": _NOW}, _NOW)),
    "ungated": lambda mongo: list(mongo.ungated(THINGS, _NOW, Range())),
    "uuids": lambda mongo: mongo.uuids(["Things"]),
}


def test_whatever_is_asked_of_a_server_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question fails as what passes does, never as the driver has it; also where the first of its own passes."""
    asking_nothing = {"close", "collection", "database_of", "know"}
    there = {name for name, one in inspect.getmembers(Mongo, inspect.isfunction) if not name.startswith("_")}
    assert there - asking_nothing == set(_QUESTIONS)
    with closing(Mongo("mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=1", "x")) as mongo:
        for name, ask in _QUESTIONS.items():
            with pytest.raises(EtlError, match="can't be reached"):
                pytest.fail(f"{name}: {ask(mongo)}")
        mongo._unpinned = set()
        monkeypatch.setattr(mongo, "extent", lambda _: Extent(1_000, 10))
        monkeypatch.setattr(mongo, "_described", lambda _: {"type": "collection", "options": {"collation": {}}})
        for name, ask in _QUESTIONS.items():
            if name not in ("extent", "is_plain", "is_pinned"):
                with pytest.raises(EtlError, match="can't be reached"):
                    pytest.fail(f"{name}: {ask(mongo)}")


@pytest.mark.parametrize("code", [189, 246])
def test_a_collection_may_be_called_capped(code: int) -> None:
    with pytest.raises((LostError, SnapshotError)), translated("it", lambda: None):
        raise OperationFailure("Executor error on x.capped_orders: so it is", code)


@pytest.mark.parametrize(
    "uri", ["mongodb://", "mongodb://a:b@c:d@e", "mongodb://127.0.0.1:99999", "mongodb://x/?w=a=b"]
)
def test_a_uri_that_makes_no_sense_is_told(uri: str) -> None:
    with pytest.raises(EtlError) as error:
        Mongo(uri, "x")
    assert "\n" not in str(error.value)
    assert "b@c" not in str(error.value)


def _alone(home: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a mongod that is in no replica set."""
    engine = embedded.Mongo(home)
    engine.prepare()
    port = free_port()
    command = engine.command(port)
    for flag, length in (("--replSet", 2), ("--auth", 3)):  # --auth is followed by --keyFile and its path
        at = command.index(flag)
        del command[at : at + length]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), port


def test_a_server_that_is_no_replica_set_is_told(starts_engines: None, tmp_path: Path) -> None:
    """The message says how to make it one."""
    process, port = _alone(tmp_path)
    try:
        with (
            closing(Mongo(f"mongodb://127.0.0.1:{port}/?directConnection=true", "x")) as mongo,
            pytest.raises(ServerError, match=r"is no replica set.*--replSet"),
        ):
            mongo.cluster_time()
    finally:
        process.terminate()
        process.wait(20)
