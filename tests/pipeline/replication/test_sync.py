"""Following the changes: whatever happened to documents, the stores then equal MongoDB at one later moment."""

import itertools
import random
import textwrap
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.raw_bson import RawBSONDocument

from contracts import DEMO
from pipeline import control
from pipeline.connections import connect
from pipeline.control import changes
from pipeline.errors import BooksOpenError, QuarantineLimitError, SnapshotError, UsageError
from pipeline.marts import build as marts
from pipeline.replication import replicate, verify
from pipeline.replication.sync import Synced, follow, summed, sync
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.mongo.measured import FAR_DATES
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.lab import Lab
from transforms.bson.identity import cut_id

ROWS = 60
NUMBERED = """
    '''Things whose ids are numbers.'''

    from contracts.schema.entity import Entity
    from contracts.schema.fields import integer, text
    from contracts.schema.kinds import INTEGER

    FIELDS = (text("name", "Its name."), integer("n", "A number."))
    ENTITY = Entity("Numbered", "A thing.", "name", FIELDS, id_kind=INTEGER)
"""


@pytest.fixture(scope="module")
def copied(lab: Lab) -> Any:
    lab.fill(defects=0.2, **dict.fromkeys(lab.connections.entities, ROWS))
    replicate.replicate(lab.connections)
    return lab


def _change_at_random(lab: Lab, chance: random.Random, names: Iterable[str] = ()) -> None:
    """Insert, change, replace, delete, break and mend documents, some of them several times."""
    for name in names or lab.connections.entities:
        collection = lab.collection(name)
        documents = list(collection.with_options(codec_options=FAR_DATES).find())
        for document in chance.sample(documents, len(documents) // 3):
            one = {"_id": document["_id"]}
            match chance.randrange(7):
                case 0:
                    collection.delete_one(one)
                case 1:
                    collection.update_one(one, {"$set": {"undeclared": chance.random()}})
                case 2:
                    collection.update_one(one, {"$set": {chance.choice(list(document)[1:]): object.__name__}})
                case 3:
                    collection.replace_one(one, chance.choice(documents) | one)
                case 4:
                    collection.insert_one(chance.choice(documents) | {"_id": ObjectId()})
                case 5:
                    collection.delete_one(one)
                    collection.insert_one(document)
                case 6:
                    new = {"_id": ObjectId()}
                    collection.insert_one(document | new)
                    collection.delete_one(new)


def _numbers(found: list[Synced]) -> dict[str, tuple[int, int, int, int]]:
    return {one.collection: (one.changed, one.loaded, one.deleted, one.quarantined) for one in found if one.changed}


def _of(name: str, lab: Lab) -> tuple[int, int, int, int]:
    return _numbers(sync(lab.connections)).get(name, (0, 0, 0, 0))


def _id_of(raw: bytes) -> Any:
    return bson.decode(cut_id(raw))["_id"]


# --- Everything arrives


def test_whatever_is_changed_arrives_in_both_stores(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, chance = copied, random.Random(11)
    monkeypatch.setattr(changes, "_PAGE_BYTES", 1_000)  # several pages a collection
    for _ in range(2):
        _change_at_random(lab, chance)
        found = sync(lab.connections)
        assert _numbers(found).keys() == lab.connections.entities.keys()
        assert {one.cluster_time for one in found} == {
            one.cluster_time for one in control.publications(lab.connections.postgres)
        }
        lab.assert_replicated()
    assert all(one.proven for one in verify.verify(lab.connections))
    assert lab.leftovers() == []
    assert lab.postgres("SELECT count(*) FROM etl.touched") == [(0,)]


def test_a_document_counts_once_however_often_it_is_changed(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(copied.connections)
    monkeypatch.setattr("pipeline.replication.sync._NOTED", 2)
    tickets = copied.collection("SupportTickets")
    first, second, third = (one["_id"] for one in tickets.find({}, {"_id": 1}).limit(3))
    for number in range(5):
        tickets.update_one({"_id": first}, {"$set": {"number": number}})
        tickets.update_one({"_id": second}, {"$set": {"number": number}})
    tickets.delete_one({"_id": third})
    changed, loaded, deleted, quarantined = _of("SupportTickets", copied)
    assert (changed, loaded + quarantined, deleted) == (3, 2, 1)


def test_where_nothing_was_changed_the_moment_moves_and_no_run_is_opened(copied: Any) -> None:
    lab = copied
    sync(lab.connections)
    runs = lab.postgres("SELECT count(*) FROM etl.runs")
    lab.collection("NotOurs").insert_one({})
    earlier = {one.cluster_time for one in control.publications(lab.connections.postgres)}
    found = sync(lab.connections)
    assert not any(one.changed or one.run_id for one in found)
    (moment,) = {one.cluster_time for one in control.publications(lab.connections.postgres)}
    assert {moment} == {one.cluster_time for one in found}
    assert moment > max(earlier)
    assert lab.postgres("SELECT count(*) FROM etl.runs") == runs
    assert all(one.proven for one in verify.verify(lab.connections))


def test_all_changes_of_a_transaction_arrive(copied: Any) -> None:
    """They bear one moment, which here is the very moment that is read."""
    sync(copied.connections)
    mongo = copied.connections.mongo
    with mongo.client.start_session() as session, session.start_transaction():
        for name in ("SearchQueries", "SupportTickets"):
            some = [one["_id"] for one in copied.collection(name).find({}, {"_id": 1}, limit=20)]
            for one in some:
                copied.collection(name).update_one({"_id": one}, {"$set": {"n": 1}}, session=session)
    assert {name: numbers[0] for name, numbers in _numbers(sync(copied.connections)).items()} == {
        "SearchQueries": 20,
        "SupportTickets": 20,
    }
    copied.assert_replicated()


def test_marts_can_be_built_of_what_was_followed(copied: Any) -> None:
    copied.collection("SupportTickets").delete_one({})
    found = sync(copied.connections)
    built = marts.build(copied.connections)
    assert {one.cluster_time for one in built} == {found[0].cluster_time}


def test_stores_that_show_two_moments_come_to_the_same(copied: Any) -> None:
    lab = copied
    for target in ("postgres", "clickhouse"):
        lab.collection("UserSessions").delete_one({})
        replicate.replicate(lab.connections, ["UserSessions"], [target])
    lab.collection("UserSessions").delete_one({})
    assert _of("UserSessions", lab)[0] >= 2  # one is no news to ClickHouse
    lab.assert_replicated()


def test_a_collection_in_one_store_is_followed_there(copied: Any) -> None:
    lab = copied
    lab.change_postgres("DELETE FROM etl.published WHERE collection = 'UserSessions' AND target = 'clickhouse'")
    before = lab.everything(["UserSessions"], ["clickhouse"])
    lab.collection("UserSessions").delete_one({})
    lab.collection("SearchQueries").delete_one({})
    found = {one.collection: one for one in sync(lab.connections)}
    assert found["UserSessions"].targets == ("postgres",)
    assert found["SearchQueries"].targets == ("postgres", "clickhouse")
    assert len({one.cluster_time for one in found.values()}) == 1
    lab.assert_replicated(["UserSessions"], ["postgres"])
    lab.assert_replicated(["SearchQueries"])
    after = lab.everything(["UserSessions"], ["clickhouse"])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    replicate.replicate(lab.connections, ["UserSessions"])


def test_large_documents_arrive(copied: Any) -> None:
    sessions = copied.collection("UserSessions")
    lawful = sessions.find_one({"user_id": {"$type": "string"}, "device.type": {"$exists": True}})
    copied_before = sync(copied.connections)
    assert copied_before
    large = lawful | {"_id": ObjectId(), "pages_visited": ["/" + "x" * 1000] * 15_500}
    sessions.insert_one(large)
    sessions.update_one({"_id": large["_id"]}, {"$set": {"more": "x" * 100_000}})
    assert _of("UserSessions", copied) == (1, 1, 0, 0)
    copied.assert_replicated(["UserSessions"])
    sessions.delete_one({"_id": large["_id"]})
    assert _of("UserSessions", copied) == (1, 0, 1, 0)


# --- The quarantine


def test_the_quarantine_follows(copied: Any) -> None:
    lab, queries = copied, copied.collection("SearchQueries")
    sync(lab.connections)
    refused = lab.quarantine("SearchQueries")
    mended, deleted, changed, *untouched = map(_id_of, refused)
    fine = bson.decode(next(raw for raw in lab.raw_documents("SearchQueries") if raw not in refused))
    queries.replace_one({"_id": mended}, fine | {"_id": mended})
    queries.delete_one({"_id": deleted})
    queries.update_one({"_id": changed}, {"$set": {"user_id": 17}})
    queries.update_one({"_id": fine["_id"]}, {"$set": {"user_id": 17}})
    assert _of("SearchQueries", lab) == (4, 1, 1, 2)
    after = {_id_of(raw): row for raw, row in lab.quarantine("SearchQueries").items()}
    assert after.keys() == {changed, fine["_id"], *untouched}
    runs = {_id: row["run_id"] for _id, row in after.items()}
    assert runs[changed] == runs[fine["_id"]] > max(runs[_id] for _id in untouched)
    lab.assert_replicated()


def test_too_much_in_quarantine_publishes_nothing(copied: Any) -> None:
    lab = copied
    sync(lab.connections)
    before, shown = lab.everything(["SearchQueries"]), control.publications(lab.connections.postgres)
    some = [one["_id"] for one in lab.collection("SearchQueries").find({"user_id": {"$type": "string"}}, limit=3)]
    lab.collection("SearchQueries").update_many({"_id": {"$in": some}}, {"$set": {"user_id": 1}})
    with pytest.raises(QuarantineLimitError, match="3 of 3 documents were refused"):
        sync(lab.connections, max_quarantined="50%")
    assert control.publications(lab.connections.postgres) == shown
    after = lab.everything(["SearchQueries"])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    assert lab.leftovers() == []
    assert lab.postgres("SELECT count(*) FROM etl.touched") == [(0,)]
    assert _of("SearchQueries", lab) == (3, 0, 0, 3)


# --- Ids of any type


@pytest.fixture(scope="module")
def numbered(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "numbered.py").write_text(textwrap.dedent(NUMBERED))
    settings = lab.settings.model_copy(update={"contracts": (folder, DEMO)})
    with connect(settings) as connections:
        yield type(lab)(connections, settings)


@pytest.mark.parametrize("page_bytes", [1, 2**21])
def test_an_id_that_came_back_as_an_equal_one_is_one_document(
    numbered: Any, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    """MongoDB finds 1, 1.0, Int64 and Decimal128 by each other; the change stream tells them apart."""
    monkeypatch.setattr(changes, "_PAGE_BYTES", page_bytes)
    things = numbered.collection("Numbered")
    things.drop()
    things.insert_many({"_id": number, "name": "x", "n": 1} for number in range(-3, 12))
    replicate.replicate(numbered.connections, ["Numbered"])
    kinds: list[Callable[[int], Any]] = [float, Int64, lambda value: Decimal128(str(value)), int]
    for number, kind in zip(range(-3, 12), itertools.cycle(kinds)):
        things.delete_one({"_id": number})
        if number % 3:
            things.insert_one({"_id": kind(number), "name": "new", "n": 2})
    for odd in (2.5, "text", None, {"a": 1}, {"a": 1.5}, float("nan"), float("inf"), -0.0, bson.MaxKey(), True):
        things.replace_one({"_id": odd}, {"name": "odd", "n": 3}, upsert=True)
    things.delete_one({"_id": {"a": 1}})
    things.insert_one({"_id": {"a": 1.0}, "name": "odd", "n": 3})
    sync(numbered.connections, ["Numbered"])
    numbered.assert_replicated(["Numbered"])
    assert all(one.proven for one in verify.verify(numbered.connections, ["Numbered"]))


def test_ids_that_can_not_be_decoded_are_followed(copied: Any) -> None:
    sessions = copied.collection("UserSessions")
    raw = bson.encode({"_id": "????", "session_id": "s"}).replace(b"????", b"\xff\xfe\xc3\x28")
    sessions.insert_one(RawBSONDocument(raw))
    sessions.insert_one({"_id": bson.DatetimeMS(10**17), "session_id": "s"})
    assert _of("UserSessions", copied) == (2, 0, 0, 2)
    assert raw in copied.quarantine("UserSessions")
    sessions.delete_many({"session_id": "s"})
    assert _of("UserSessions", copied) == (2, 0, 2, 0)
    assert raw not in copied.quarantine("UserSessions")


# --- What can't be followed


def test_what_is_not_replicated_can_not_be_followed(numbered: Any) -> None:
    numbered.change_postgres("DELETE FROM etl.published WHERE collection = 'Numbered'")
    with pytest.raises(UsageError, match="Numbered: not replicated yet; run etl replicate"):
        sync(numbered.connections, ["Numbered"])
    assert "Numbered" not in {one.collection for one in sync(numbered.connections)}
    with pytest.raises(UsageError, match="no contract of 'Nothing'"):
        sync(numbered.connections, ["Nothing"])


LOSSES: dict[str, Callable[[Any, Any], None]] = {
    "dropped": lambda database, rest: database["SearchQueries"].drop(),
    "dropped and made again": lambda database, rest: (
        database["SearchQueries"].drop(),
        database["SearchQueries"].insert_many(rest),
    ),
    "renamed": lambda database, rest: database["SearchQueries"].rename("Elsewhere"),
    "replaced by renaming": lambda database, rest: (
        database["Other"].insert_many(rest),
        database["Other"].rename("SearchQueries", dropTarget=True),
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_collection_that_was_dropped_or_renamed_wants_a_new_copy(copied: Any, loss: str) -> None:
    lab = copied
    sync(lab.connections)
    before = lab.everything(["SearchQueries"])
    rest = list(lab.collection("SearchQueries").find(limit=30))
    lab.collection("UserSessions").delete_one({})
    LOSSES[loss](lab.connections.mongo.database, rest)
    lab.collection("UserSessions").delete_one({})
    with pytest.raises(SnapshotError, match="SearchQueries was dropped or renamed; run etl replicate"):
        sync(lab.connections)
    after = lab.everything(["SearchQueries"])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    assert lab.leftovers() == []
    lab.collection("Elsewhere").drop()
    lab.collection("SearchQueries").drop()
    lab.collection("SearchQueries").insert_many(rest)
    replicate.replicate(lab.connections, ["SearchQueries"])
    sync(lab.connections)  # the others begin before it was dropped
    lab.assert_replicated()


def test_a_collection_that_is_dropped_while_it_is_read_publishes_nothing(copied: Any) -> None:
    """At an earlier moment a dropped collection reads as empty, without an error."""
    lab = copied
    sync(lab.connections)
    rest = list(lab.collection("SearchQueries").find())
    before = lab.everything(["SearchQueries"])
    lab.collection("SearchQueries").update_many({}, {"$set": {"n": 1}})

    def drop(*_: Any) -> None:
        lab.collection("SearchQueries").drop()

    with pytest.raises(SnapshotError, match=r"SearchQueries|dropped"):
        sync(lab.connections, progress=drop)
    after = lab.everything(["SearchQueries"])
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    lab.collection("SearchQueries").insert_many(rest)
    replicate.replicate(lab.connections, ["SearchQueries"])
    lab.assert_replicated()


def test_a_later_publish_is_not_undone(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody replicates while the changes are read."""
    lab = copied
    sync(lab.connections)
    lab.collection("SearchQueries").update_many({}, {"$set": {"n": 2}})

    def meanwhile(*_: Any) -> None:
        monkeypatch.undo()
        lab.collection("SearchQueries").update_many({}, {"$set": {"n": 3}})
        with lab.another() as other:
            replicate.replicate(other, ["SearchQueries"])

    monkeypatch.setattr(
        "pipeline.replication.sync.publish", lambda *arguments: (meanwhile(), replicate.publish(*arguments))[1]
    )
    with pytest.raises(SnapshotError, match=r"SearchQueries in .* shows a later moment already"):
        sync(lab.connections)
    lab.assert_replicated()
    assert lab.leftovers() == []


# --- Open books


def _losing_a_row(load: Callable[..., Any]) -> Callable[..., Any]:
    def copy(self: Any, schema: Any, table: Any, frame: Any) -> None:
        load(self, schema, table, frame.slice(1) if table.parent is None else frame)

    return copy


def test_open_books_publish_nothing(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = copied
    sync(lab.connections)
    shown = control.publications(lab.connections.postgres)
    fine = lab.stored("postgres", lab.connections.entities["SearchQueries"].root)["_id"].to_list()
    lab.collection("SearchQueries").update_many(
        {"_id": {"$in": [ObjectId(one) for one in fine[:5]]}}, {"$set": {"n": 4}}
    )
    with monkeypatch.context() as patched:
        patched.setattr(Postgres, "_copy", _losing_a_row(Postgres._copy))
        with pytest.raises(BooksOpenError, match=r"MongoDB has 5 documents .* 4 were loaded.*unaccounted for: .*oid"):
            sync(lab.connections)
    assert control.publications(lab.connections.postgres) == shown
    assert _of("SearchQueries", lab) == (5, 5, 0, 0)
    lab.assert_replicated()


# --- Killed anywhere


@pytest.mark.parametrize(
    "moment",
    [
        "after the run was opened",
        "changes noted",
        "half staged",
        "staged and not committed",
        "in the middle of a load",
        "after a load",
        "prepared",
        "before the commit",
        "after the commit",
        "half applied",
        "before the intent is finished",
        "before the sweep",
    ],
)
def test_a_sync_that_is_killed_anywhere_can_be_run_again(
    copied: Any, cut_short: Callable[..., int], moment: str
) -> None:
    lab = copied
    sync(lab.connections)
    names = ("SearchQueries", "SupportTickets")  # ClickHouse takes one after the other
    _change_at_random(lab, random.Random(moment), names)
    assert cut_short("sync", moment) == -9
    _change_at_random(lab, random.Random(moment + "!"), names)
    sync(lab.connections)
    lab.assert_replicated(names)
    assert lab.leftovers() == []
    assert lab.postgres("SELECT count(*) FROM etl.touched") == [(0,)]
    assert "running" not in control.statuses(lab.connections.postgres).values()
    lab.connections.postgres.connection.commit()


def test_clickhouse_follows_with_the_next_command(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its publish fails after PostgreSQL's commit; the next sync begins where that one ended."""
    lab = copied
    sync(lab.connections)
    lab.collection("SearchQueries").delete_one({})
    lab.collection("UserSessions").delete_one({})
    with monkeypatch.context() as patched:
        patched.setattr(ClickHouse, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sync(lab.connections)
    lab.assert_replicated(targets=["postgres"])
    assert _of("SearchQueries", lab) == (0, 0, 0, 0)
    lab.assert_replicated()


# --- What users built on the tables


def test_views_grants_and_references_of_users_survive(copied: Any) -> None:
    lab = copied
    lab.change_postgres(
        "CREATE VIEW public.queries AS SELECT count(*) AS n FROM replica.search_queries",
        "CREATE TABLE public.notes (ticket text REFERENCES replica.support_tickets (_id) DEFERRABLE)",
        "INSERT INTO public.notes SELECT _id FROM replica.support_tickets ORDER BY _id LIMIT 1",
    )
    kept = ObjectId(lab.postgres("SELECT ticket FROM public.notes")[0][0])
    lab.collection("SupportTickets").update_one({"_id": kept}, {"$set": {"n": 5}})
    lab.collection("SupportTickets").delete_many({"_id": {"$ne": kept}, "status": "open"})
    lab.collection("SearchQueries").delete_one({})
    sync(lab.connections)
    lab.assert_replicated()
    (number,) = lab.postgres("SELECT n FROM public.queries")[0]
    assert number == len(lab.stored("clickhouse", lab.connections.entities["SearchQueries"].root))
    lab.change_postgres("DROP TABLE public.notes", "DROP VIEW public.queries")


# --- Following on and on


def test_following_syncs_again_and_again(copied: Any) -> None:
    lab, total = copied, []
    sync(lab.connections)
    rounds = follow(lab.connections, ["SearchQueries"], rest=0.0)
    for number in range(3):
        lab.collection("SearchQueries").delete_one({})
        found = next(rounds)
        assert [one.deleted for one in found] == [1], number
        total = summed(total, found)
    rounds.close()
    ((one),) = total
    assert (one.changed, one.loaded, one.deleted) == (3, 0, 3)
    assert one.since < one.cluster_time == found[0].cluster_time
    assert one.run_id == found[0].run_id


def test_a_moment_that_moves_on_does_not_disturb_a_verification(copied: Any) -> None:
    sync(copied.connections)
    before = control.publications(copied.connections.postgres)

    def meanwhile(*_: Any) -> None:
        copied.collection("NotOurs").insert_one({})
        with copied.another() as other:
            sync(other)

    found = verify.verify(copied.connections, ["SearchQueries"], progress=meanwhile)
    assert all(one.proven for one in found)
    assert control.publications(copied.connections.postgres) != before


def test_the_checkpoints_are_told(copied: Any) -> None:
    found = sync(copied.connections)
    rows = copied.postgres(
        "SELECT collection, target, cluster_time, cluster_time_at FROM etl.checkpoints ORDER BY 1, 2"
    )
    assert {(collection, target) for collection, target, *_ in rows} == {
        (one.collection, target) for one in found for target in one.targets
    }
    moment = found[0].cluster_time
    assert {row[2] for row in rows} == {control.as_number(moment)}
    assert {row[3] for row in rows} == {datetime.fromtimestamp(moment.time, UTC)}
