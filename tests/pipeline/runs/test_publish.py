"""Publishing: readers see the old state or the new one, users' objects survive, and a kill at any moment is mended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import polars as pl
import pytest
from bson import ObjectId

from pipeline import control
from pipeline.connections import Connections
from pipeline.errors import EtlError, ServerError, SnapshotError
from pipeline.marts import build as marts
from pipeline.replication import replicate
from pipeline.runs import lifecycle, reconcile
from pipeline.runs import publish as publishing
from pipeline.runs.recovery import recover
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.postgres import indexes
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.lab import Lab

NAMES = ["SupportTickets", "UserSessions"]
TABLES = ("support_tickets", "user_sessions")
ROWS = 60
BEFORE_THE_COMMIT = (
    "after the run was opened",
    "half staged",
    "staged and not committed",
    "after staging",
    "in the middle of a load",
    "after a load",
    "after all loads",
    "prepared",
    "before the commit",
)
AFTER_THE_COMMIT = (
    "after the commit",
    "before the second exchange",
    "between an exchange and its view",
    "before the intent is finished",
    "before the sweep",
)

State = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def copied(lab: Lab) -> None:
    lab.fill(defects=0.1, **dict.fromkeys(NAMES, ROWS))
    replicate.replicate(lab.connections, NAMES)


def _next_round(lab: Lab, name: str) -> None:
    """Change every document, and add and remove some."""
    for collection in NAMES:
        source = lab.collection(collection)
        source.update_many({}, {"$set": {"user_id": name}})
        source.delete_one({})
        some = source.find_one({"user_id": name, "undeclared": {"$exists": False}})
        source.insert_one(some | {"_id": ObjectId()})


def _same(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(left[name].equals(right[name], null_equal=True) for name in left)


# --- Killed anywhere


@pytest.mark.parametrize("moment", [*BEFORE_THE_COMMIT, *AFTER_THE_COMMIT])
def test_a_run_killed_anywhere_is_mended_by_the_next_command(
    lab: Lab, copied: None, cut_short: Callable[..., int], moment: str
) -> None:
    before, shown = lab.everything(NAMES), control.publications(lab.connections.postgres)
    _next_round(lab, moment)
    assert cut_short("replicate", moment, collections=NAMES) == -9
    in_postgres = {name: frame for name, frame in lab.everything(NAMES).items() if name.startswith("postgres")}
    old_in_postgres = {name: before[name] for name in in_postgres}
    committed = moment in AFTER_THE_COMMIT
    assert _same(in_postgres, old_in_postgres) != committed

    recover(lab.connections)
    assert lab.leftovers() == []
    assert lab.postgres("SELECT count(*) FROM etl.runs WHERE status = 'running'") == [(0,)]
    assert lab.postgres("SELECT count(*) FROM etl.refused") == [(0,)]
    if committed:
        lab.assert_replicated(NAMES)
        assert all(one.finished for one in control.publications(lab.connections.postgres))
        assert not _same(lab.everything(NAMES), before)
    else:
        assert _same(lab.everything(NAMES), before)
        assert control.publications(lab.connections.postgres) == shown

    replicate.replicate(lab.connections, NAMES)
    lab.assert_replicated(NAMES)
    assert lab.leftovers() == []


@pytest.mark.parametrize("moment", ["before the second rename", "between an exchange and its view"])
def test_a_first_publish_that_was_killed_is_finished(
    lab: Lab, copied: None, cut_short: Callable[..., int], moment: str
) -> None:
    name = {"before the second rename": "ProductPriceHistory"}.get(moment, "EventLogs")
    other = "SearchQueries" if name == "EventLogs" else name
    names = sorted({name, other})
    lab.fill(**dict.fromkeys(names, 30))
    assert cut_short("replicate", moment, collections=names) == -9
    replicate.replicate(lab.connections, NAMES)  # not the same collections: the next command is any command
    lab.assert_replicated(names)
    assert lab.leftovers() == []


def test_marts_that_were_killed_are_finished(lab: Lab, copied: None, cut_short: Callable[..., int]) -> None:
    lab.fill(SupportTickets=40)
    replicate.replicate(lab.connections, NAMES)
    marts.build(lab.connections, ["ticket_resolution"])
    lab.collection("SupportTickets").update_many({}, {"$set": {"user_id": "somebody"}})
    replicate.replicate(lab.connections, NAMES)
    assert cut_short("marts", "after the commit", names=["ticket_resolution"]) == -9
    users = "SELECT DISTINCT user_id FROM marts.ticket_resolution"
    assert lab.postgres(users) == [("somebody",)]
    assert lab.clickhouse(users) != [("somebody",)]
    recover(lab.connections)
    assert lab.clickhouse(users) == [("somebody",)]
    assert lab.leftovers() == []


def test_what_fails_after_the_commit_is_finished_later(lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _next_round(lab, "clickhouse was away")
    with monkeypatch.context() as patched:

        def away(*_: object) -> None:
            raise EtlError("away")

        patched.setattr(ClickHouse, "publish", away)
        with pytest.raises(EtlError, match="away"):
            replicate.replicate(lab.connections, NAMES)
    assert lab.postgres("SELECT status FROM etl.runs ORDER BY started_at DESC LIMIT 1") == [("published",)]
    recover(lab.connections)
    lab.assert_replicated(NAMES)
    assert lab.leftovers() == []


def test_a_publish_done_again_finishes_what_was_cut_short(
    lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _next_round(lab, "again")
    run = replicate.open_run(lab.connections, NAMES, ("postgres", "clickhouse"), single_process=False)
    for partition in replicate.plan(lab.connections, run):
        replicate.load(lab.connections, run, partition)
    with monkeypatch.context() as patched:
        patched.setattr(replicate, "recover", lambda *_: {})
        replicate.publish(lab.connections, run)
    assert not all(one.finished for one in control.publications(lab.connections.postgres))
    replicate.publish(lab.connections, run)
    assert all(one.finished for one in control.publications(lab.connections.postgres))
    lab.assert_replicated(NAMES)


@pytest.mark.parametrize("builds", [0, 1, 2])
def test_a_publish_that_failed_while_keys_were_built_is_done_again(
    lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch, builds: int
) -> None:
    """Keys are built ahead of the publish, table by table, and then the references; each only once."""
    name = "ProductPriceHistory"
    lab.fill(**{name: 30})
    replicate.replicate(lab.connections, [name])
    keys = _keys(lab)
    lab.change_postgres("DROP TABLE replica.product_price_history, replica.product_price_history_price_changes CASCADE")
    run = replicate.open_run(lab.connections, [name], ("postgres", "clickhouse"), single_process=False)
    for partition in replicate.plan(lab.connections, run):
        replicate.load(lab.connections, run, partition)
    build, begun = indexes.build, count()

    def few(session: Any, statements: Any) -> None:
        if next(begun) >= builds:
            raise EtlError("away")
        build(session, statements)

    with monkeypatch.context() as patched:
        patched.setattr(indexes, "build", few)
        with pytest.raises(EtlError, match="away"):
            replicate.publish(lab.connections, run)
    replicate.publish(lab.connections, run)
    lab.assert_replicated([name])
    assert _keys(lab) == keys
    assert lab.leftovers() == []


@pytest.mark.parametrize("moment", ["while keys are built", "before the references"])
def test_a_run_killed_while_keys_are_built_is_harmless(
    lab: Lab, copied: None, cut_short: Callable[..., int], moment: str
) -> None:
    name = "ProductPriceHistory"
    lab.fill(**{name: 30})
    replicate.replicate(lab.connections, [name])
    keys = _keys(lab)
    lab.change_postgres("DROP TABLE replica.product_price_history, replica.product_price_history_price_changes CASCADE")
    assert cut_short("replicate", moment, collections=[name]) == -9
    recover(lab.connections)
    assert lab.leftovers() == []
    replicate.replicate(lab.connections, [name])
    lab.assert_replicated([name])
    assert _keys(lab) == keys


def _keys(lab: Lab) -> list[tuple[Any, ...]]:
    """Return the primary keys, references and indexes of one collection's tables, whatever they are called."""
    constraints = (
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('p', 'f') "
        "AND conrelid::regclass::text LIKE 'replica.product_price_history%' ORDER BY 1, 2"
    )
    indexes = (
        "SELECT tablename::text, regexp_replace(indexdef, 'INDEX \\S+ ON', '') FROM pg_indexes "
        "WHERE schemaname = 'replica' AND tablename LIKE 'product_price_history%' ORDER BY 1, 2"
    )
    found: list[tuple[Any, ...]] = lab.postgres(constraints) + lab.postgres(indexes)
    assert len(found) >= 5
    return found


def test_two_commands_do_not_finish_one_publish_twice(lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is exchanged twice shows the old rows again."""
    _next_round(lab, "twice")
    with monkeypatch.context() as patched:
        patched.setattr(replicate, "recover", lambda *_: {})
        replicate.replicate(lab.connections, NAMES)
    execute, threads = lab.connections.clickhouse.execute, []
    with lab.another() as other:

        def while_another_finishes(*statements: str) -> None:
            if not threads and any(one.startswith("EXCHANGE") for one in statements):
                threads.append(threading.Thread(target=recover, args=(other,)))
                threads[0].start()
                threads[0].join(timeout=0.5)
            execute(*statements)

        monkeypatch.setattr(lab.connections.clickhouse, "execute", while_another_finishes)
        recover(lab.connections)
        threads[0].join()
    lab.assert_replicated(NAMES)
    assert lab.leftovers() == []


# --- What is not ours stays


def test_other_peoples_schemas_that_are_named_like_staging_stay(lab: Lab, copied: None) -> None:
    lab.change_postgres("CREATE SCHEMA staging_sales", "CREATE TABLE staging_sales.mine AS SELECT 1 AS x")
    lab.change_clickhouse("CREATE DATABASE staging_sales", "CREATE TABLE staging_sales.mine (x Int8) ENGINE = Log")
    replicate.replicate(lab.connections, NAMES)
    assert lab.postgres("SELECT x FROM staging_sales.mine") == [(1,)]
    assert lab.clickhouse("SELECT count() FROM staging_sales.mine") == [(0,)]
    lab.change_postgres("DROP SCHEMA staging_sales CASCADE")
    lab.change_clickhouse("DROP DATABASE staging_sales SYNC")


def test_a_living_run_is_left_alone(lab: Lab, copied: None) -> None:
    with lab.another() as other:
        run = replicate.open_run(other, NAMES, ("postgres", "clickhouse"))
        partitions = replicate.plan(other, run)
        recover(lab.connections)
        assert set(lab.leftovers()) == {run.id}
        for partition in partitions:
            replicate.load(other, run, partition)
        recover(lab.connections)
        assert all(one.closed for one in replicate.publish(other, run))
    assert lab.leftovers() == []


def test_a_run_of_many_processes_lives_a_day_from_its_last_sign_of_life(
    lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def age(table: str, column: str) -> None:
        lab.change_postgres(f"UPDATE etl.{table} SET {column} = now() - interval '25 hours' WHERE run_id = '{run.id}'")

    def is_swept() -> bool:
        recover(lab.connections)
        return run.id not in lab.leftovers()

    with lab.another() as other:
        run = replicate.open_run(other, NAMES, ("postgres", "clickhouse"), single_process=False)
        partitions = replicate.plan(other, run)
    with lab.another() as worker:
        for partition in partitions:
            replicate.load(worker, run, partition)
    age("runs", "started_at")
    assert not is_swept()
    age("ledger", "loaded_at")

    def take_long(*_: Any) -> None:
        assert not is_swept()
        raise ServerError("gone")

    # Loading, counting and building keys may each take days.
    for owner, step, work in (
        (Mongo, "count", lambda by: replicate.load(by, run, partitions[0])),
        (Postgres, "staged", lambda by: reconcile.close_books(by, run)),
        (publishing, "prepare_publish", lambda by: replicate.publish(by, run)),
    ):
        source = "NULL" if owner is Mongo else "1"  # a partition that is loaded is left alone
        lab.change_postgres(f"UPDATE etl.ledger SET source = {source} WHERE run_id = '{run.id}' AND partition = 0")
        with lab.another() as worker, monkeypatch.context() as patched:
            patched.setattr(owner, step, take_long)
            with pytest.raises(ServerError, match="gone"):
                work(worker)
    assert is_swept()
    assert lab.leftovers() == []
    assert lab.postgres("SELECT status FROM etl.runs WHERE run_id = $1::text", run.id) == [("failed",)]


def test_an_older_moment_is_not_published_over_a_later_one(lab: Lab, copied: None) -> None:
    old = replicate.open_run(lab.connections, NAMES, ("postgres", "clickhouse"), single_process=False)
    for partition in replicate.plan(lab.connections, old):
        replicate.load(lab.connections, old, partition)
    _next_round(lab, "later")
    replicate.replicate(lab.connections, NAMES)
    with pytest.raises(SnapshotError, match=f"later moment already .*{old.id} was not published"):
        replicate.publish(lab.connections, old)
    lab.assert_replicated(NAMES)
    lifecycle.abandon(lab.connections, old.id, old.targets, "too old")
    assert lab.leftovers() == []


# --- Readers


class Reader(threading.Thread):
    """Asks both stores again and again what users a table shows; all rows of a state have the same user."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections
        self.seen: dict[str, list[tuple[Any, ...]]] = {"postgres": [], "clickhouse": [], "both": [], "all": []}
        self.longest = 0.0
        self.error: BaseException | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        one = "SELECT count(*), count(DISTINCT user_id), min(user_id) FROM replica.user_sessions"
        both = (
            "SELECT (SELECT count(*) FROM replica.user_sessions), (SELECT min(user_id) FROM replica.user_sessions), "
            "(SELECT count(*) FROM replica.support_tickets), (SELECT min(user_id) FROM replica.support_tickets), "
            "(SELECT count(*) FROM replica.support_tickets_messages m LEFT JOIN replica.support_tickets t USING (_id) "
            "WHERE t._id IS NULL)"
        )
        users = [f"SELECT count(*), min(user_id), max(user_id) FROM replica.{name}" for name in TABLES]
        postgres, clickhouse = self._connections.postgres, self._connections.clickhouse
        try:
            postgres.execute("SET lock_timeout = '10s'")
            while not self.stopped.wait(0.005):  # or it would take a processor of its own
                started = time.monotonic()
                self.seen["postgres"] += postgres.rows(one)
                self.seen["both"] += postgres.rows(both)
                postgres.connection.commit()
                postgres.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                self.seen["all"].append(tuple(row for query in users for row in postgres.rows(query)))
                postgres.connection.commit()
                self.longest = max(self.longest, time.monotonic() - started)
                self.seen["clickhouse"] += clickhouse.rows(one)
        except BaseException as error:
            self.error = error


def test_readers_never_see_an_empty_half_or_mixed_table(lab: Lab, copied: None) -> None:
    lab.fill(**dict.fromkeys(NAMES, 300))
    for name in NAMES:
        lab.collection(name).update_many({}, {"$set": {"user_id": "round 0"}})
    replicate.replicate(lab.connections, NAMES)
    with lab.another() as connections:
        reader = Reader(connections)
        reader.start()
        try:
            for number in range(1, 5):
                for name in NAMES:
                    lab.collection(name).update_many({}, {"$set": {"user_id": f"round {number}"}})
                replicate.replicate(lab.connections, NAMES)
        finally:
            reader.stopped.set()
            reader.join()
    assert reader.error is None
    for store in ("postgres", "clickhouse"):
        assert {(rows, users) for rows, users, _ in reader.seen[store]} == {(300, 1)}
        rounds = [name for *_, name in reader.seen[store]]
        assert rounds == sorted(rounds)  # never back
        assert len(set(rounds)) > 2
    for tables in reader.seen["all"]:  # by several statements of one transaction
        assert len({(low, high) for _, low, high in tables}) == 1
        assert all(rows == 300 and low == high for rows, low, high in tables)
    assert reader.longest < 10.0  # four queries, on a machine that has more to do
    for sessions, of_sessions, tickets, of_tickets, orphans in reader.seen["both"]:
        assert (sessions, tickets, orphans) == (300, 300, 0)
        assert of_sessions == of_tickets


def test_nobody_is_locked_out_while_a_publish_is_under_way(
    lab: Lab, copied: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads, and even changes of other people's tables that refer to ours, go on beside an open publish."""
    _next_round(lab, "under way")
    enter = control.record_publication
    seen: list[tuple[Any, ...]] = []

    def look_first(*arguments: Any, **options: Any) -> None:  # all differences are applied, and nothing is committed
        with lab.another() as other:
            other.postgres.execute("SET lock_timeout = '1s'")
            seen.extend(other.postgres.rows("SELECT DISTINCT user_id FROM replica.user_sessions"))
            seen.extend(other.postgres.rows("SELECT count(*) FROM replica.support_tickets_messages"))
        enter(*arguments, **options)

    monkeypatch.setattr(control, "record_publication", look_first)
    replicate.replicate(lab.connections, NAMES)
    assert seen
    assert ("under way",) not in seen
    lab.assert_replicated(NAMES)


# --- What users built


@contextmanager
def _users_objects(lab: Lab) -> Iterator[None]:
    lab.change_postgres(
        "CREATE ROLE an_analyst",
        "CREATE SCHEMA users",
        "CREATE VIEW users.by_user AS SELECT user_id, count(*) AS n FROM replica.user_sessions GROUP BY 1",
        "CREATE MATERIALIZED VIEW users.stored AS SELECT * FROM replica.support_tickets",
        "GRANT USAGE ON SCHEMA replica TO an_analyst",
        "GRANT SELECT ON replica.user_sessions TO an_analyst",
        "CREATE INDEX users_own ON replica.user_sessions (device_os)",
        "CREATE TABLE users.notes "
        '(session text COLLATE "C" CONSTRAINT notes_on_sessions REFERENCES replica.user_sessions)',
    )
    lab.change_clickhouse(
        "CREATE DATABASE users",
        "CREATE VIEW users.by_user AS SELECT user_id, count() AS n FROM replica.user_sessions GROUP BY user_id",
        "CREATE MATERIALIZED VIEW users.stored REFRESH EVERY 1 YEAR ENGINE = MergeTree ORDER BY user_id AS "
        "SELECT user_id, count() AS n FROM replica.user_sessions GROUP BY user_id",
    )
    try:
        yield
    finally:
        lab.change_postgres(
            "DROP SCHEMA users CASCADE",
            "DROP INDEX replica.users_own",
            "DROP OWNED BY an_analyst",
            "DROP ROLE an_analyst",
        )
        lab.change_clickhouse("DROP DATABASE users SYNC")


def test_what_users_built_on_the_tables_survives(lab: Lab, copied: None) -> None:
    with _users_objects(lab):
        kept = lab.postgres("SELECT _id FROM replica.user_sessions LIMIT 1")[0][0]
        lab.change_postgres(f"INSERT INTO users.notes VALUES ('{kept}')")
        lab.collection("UserSessions").update_many({}, {"$set": {"user_id": "seen through views"}})
        lab.collection("UserSessions").delete_one({"_id": {"$ne": ObjectId(kept)}})
        replicate.replicate(lab.connections, NAMES)
        lab.assert_replicated(NAMES)
        rows = lab.postgres("SELECT count(*) FROM replica.user_sessions")[0][0]
        for ask in (lab.postgres, lab.clickhouse):
            assert ask("SELECT user_id, n FROM users.by_user") == [("seen through views", rows)]
        lab.change_clickhouse("SYSTEM REFRESH VIEW users.stored", "SYSTEM WAIT VIEW users.stored")
        assert lab.clickhouse("SELECT user_id, n FROM users.stored") == [("seen through views", rows)]
        lab.change_postgres("REFRESH MATERIALIZED VIEW users.stored", "SET LOCAL ROLE an_analyst")
        assert lab.postgres("SELECT has_table_privilege('an_analyst', 'replica.user_sessions', 'SELECT')") == [(True,)]
        assert lab.postgres("SELECT count(*) FROM pg_indexes WHERE indexname = 'users_own'") == [(1,)]
        assert lab.postgres("SELECT count(*) FROM pg_constraint WHERE conname = 'notes_on_sessions'") == [(1,)]


@pytest.mark.parametrize("deferred", ["", " DEFERRABLE INITIALLY DEFERRED"])
def test_a_users_reference_that_would_break_fails_the_publish(lab: Lab, copied: None, deferred: str) -> None:
    victim = lab.postgres("SELECT _id FROM replica.user_sessions LIMIT 1")[0][0]
    lab.change_postgres(
        'CREATE TABLE public.notes (session text COLLATE "C" CONSTRAINT notes_on_sessions '
        f"REFERENCES replica.user_sessions{deferred})",
        f"INSERT INTO public.notes VALUES ('{victim}')",
    )
    before, shown = lab.everything(NAMES), control.publications(lab.connections.postgres)
    lab.collection("UserSessions").delete_one({"_id": ObjectId(victim)})
    with pytest.raises(EtlError, match="notes_on_sessions") as error:
        replicate.replicate(lab.connections, NAMES)
    assert "\n" not in str(error.value)
    assert _same(lab.everything(NAMES), before)
    assert control.publications(lab.connections.postgres) == shown
    assert lab.leftovers() == []
    lab.change_postgres("DROP TABLE public.notes")
    replicate.replicate(lab.connections, NAMES)
    lab.assert_replicated(NAMES)


def test_rows_that_somebody_changed_in_a_store_are_put_right(lab: Lab, copied: None) -> None:
    lab.change_postgres(
        "UPDATE replica.user_sessions SET user_id = 'vandal' WHERE _id = (SELECT min(_id) FROM replica.user_sessions)",
        "DELETE FROM replica.support_tickets_messages WHERE _position = 0",
    )
    lab.change_clickhouse("TRUNCATE TABLE replica.user_sessions__data")
    replicate.replicate(lab.connections, NAMES)
    lab.assert_replicated(NAMES)
