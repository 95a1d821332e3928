"""What passes is tried again, partition by partition, and nothing is doubled; what lasts is told at once."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
from adbc_driver_postgresql import dbapi
from pydantic import SecretStr

from pipeline import control
from pipeline.connections import connect
from pipeline.engines import embedded
from pipeline.engines.embedded import ClickHouse, Postgres
from pipeline.errors import BusyError, EtlError, LostError, ServerError
from pipeline.marts import build as marts
from pipeline.replication import replicate
from pipeline.replication.sync import follow, sync
from pipeline.replication.verify import verify
from pipeline.runs import publish as publishing
from pipeline.runs.recovery import recover
from pipeline.runtime import retries
from pipeline.runtime.memory import MemoryBudget
from pipeline.settings import Settings
from pipeline.stores.mongo.store import Mongo
from tests.pipeline.lab import Lab

ENGINES = {"postgres": Postgres, "clickhouse": ClickHouse}
NAMES = ["SupportTickets", "UserSessions"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_FIRST_S", 0.2)
    monkeypatch.setattr(retries, "_JITTER_S", 0.1)


@pytest.fixture(scope="module")
def home(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mortal engines")
    yield folder
    embedded.down(folder)


@pytest.fixture(scope="module")
def mortal(home: Path, lab: Lab) -> Iterator[Any]:
    """Return a lab whose stores may be killed."""
    uris = embedded.up(home)
    given = {f"{name}_uri": SecretStr(getattr(uris, name)) for name in ("mongo", "postgres", "clickhouse")}
    settings = Settings.load(home=home, mongo_database="mortal", max_shrink=1.0, **given)
    with connect(settings) as connections:
        ours = type(lab)(connections, settings)
        ours.fill(defects=0.1, **dict.fromkeys(NAMES, 60))
        yield ours


def _restart(home: Path, name: str) -> None:
    """Kill a server, as by kill -9; it is back a moment later."""
    process = ENGINES[name](home).find()
    assert process is not None
    family = [process, *process.children(recursive=True)] if name == "postgres" else [process]
    for one in family:
        os.kill(one.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    threading.Timer(0.5, embedded.up, [home]).start()


def _once(act: Callable[[], Any], when: Callable[[int, int], bool]) -> Callable[[Any, int, int], None]:
    """Return a progress that does something in the middle of one load."""
    done: list[bool] = []

    def progress(_partition: Any, source: int, loaded: int) -> None:
        if not done and when(source, loaded):
            done.append(True)
            act()

    return progress


def _in_the_middle(source: int, loaded: int) -> bool:
    return bool(loaded) and loaded == source


@pytest.mark.parametrize("victim", ENGINES)
@pytest.mark.parametrize("when", ["load", "publish", "sync"])
def test_a_store_that_is_killed_and_comes_back_ends_no_run(
    mortal: Any, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, victim: str, when: str
) -> None:
    connections = mortal.connections
    if when == "sync":
        replicate.replicate(connections, NAMES)
    for name in NAMES:
        mortal.collection(name).update_many({}, {"$set": {"user_id": f"{victim} {when}"}})
    before = len(mortal.postgres("SELECT 1 FROM etl.runs")) if when == "sync" else None
    progress = _once(lambda: _restart(home, victim), _in_the_middle)
    if when == "publish":
        prepare, calls = publishing.prepare_publish, []

        def dying(*arguments: Any) -> None:
            if not calls:
                calls.append(_restart(home, victim))
            prepare(*arguments)

        monkeypatch.setattr(publishing, "prepare_publish", dying)
        progress = lambda *_: None  # noqa: E731
    if when == "sync":
        run_id = next(one.run_id for one in sync(connections, NAMES, progress) if one.run_id)
        assert len(mortal.postgres("SELECT 1 FROM etl.runs")) == before + 1
    else:
        run_id = replicate.replicate(connections, NAMES, progress=progress)[0].id
    mortal.assert_replicated(NAMES)
    with connections.postgres.transaction():
        number = control.retries(connections.postgres, run_id)
        assert all(one.closed for one in control.accounts(connections.postgres, run_id))
    said = [one.getMessage() for one in caplog.records if "is tried again in" in one.getMessage()]
    assert number == len(said) >= 1
    assert ("publish" if when == "publish" else "load SupportTickets 1/") in said[0]
    assert mortal.leftovers() == []


def test_a_lost_connection_to_mongodb_is_read_over(mortal: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its cursors go as in a failover."""
    mortal.collection("UserSessions").insert_many([{"n": number, "text": "x" * 320_000} for number in range(120)])
    client = mortal.connections.mongo.client
    act = _once(lambda: client.admin.command({"killAllSessions": []}), lambda _source, loaded: loaded > 0)
    replicate.replicate(replace(mortal.connections, memory=MemoryBudget(256 * 2**20)), ["UserSessions"], progress=act)
    mortal.assert_replicated(["UserSessions"])
    assert any("load UserSessions 1/1 is tried again" in one.getMessage() for one in caplog.records)
    mortal.collection("UserSessions").delete_many({"n": {"$exists": True}})


def test_the_first_look_for_changes_is_tried_again(
    mortal: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While nothing is changed it is the only one, and a replica set may have no primary then."""
    replicate.replicate(mortal.connections, NAMES)
    touched, calls = Mongo.touched, []

    def interrupted(*arguments: Any) -> Iterator[Any]:
        calls.append(arguments)
        if len(calls) == 1:
            raise LostError("there is no primary")
        yield from touched(*arguments)

    monkeypatch.setattr(Mongo, "touched", interrupted)
    assert {one.changed for one in sync(mortal.connections, NAMES)} == {0}
    assert len(calls) == 2
    assert any("to read the changes is tried again" in one.getMessage() for one in caplog.records)


def test_a_deadlock_is_survived(mortal: Any) -> None:
    """Another session has what the publish needs and waits for what it has."""
    replicate.replicate(mortal.connections, NAMES)
    uri = mortal.settings.postgres_uri.get_secret_value()
    with closing(dbapi.connect(uri)) as other, other.cursor() as cursor:
        cursor.execute("SET deadlock_timeout = '1min'")  # so that it is ours that is given up
        cursor.execute("UPDATE etl.published SET marked = marked")

        def wait() -> None:
            cursor.execute(f"SELECT pg_advisory_xact_lock({control.LOCK})::text")
            cursor.fetchall()
            other.commit()

        waiting = threading.Thread(target=wait)
        queued = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        enter = control.record_publication

        def entering(*arguments: Any, **options: Any) -> None:
            if not waiting.ident:
                waiting.start()
                with mortal.another() as third:  # it must be the one that waits first
                    while not third.postgres.rows(queued):
                        assert waiting.is_alive()
            enter(*arguments, **options)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(control, "record_publication", entering)
            run, _ = replicate.replicate(mortal.connections, NAMES)
        waiting.join(60)
    mortal.assert_replicated(NAMES)
    assert mortal.postgres("SELECT count(*) FROM etl.receipts WHERE run_id = $1::text AND stage ~ 'retry'", run.id) == [
        (1,)
    ]


def test_a_run_that_another_command_gave_up_is_not_gone_on_with(mortal: Any) -> None:
    """With the connection the run's lock is lost, and for a moment the run counts as dead."""
    with mortal.another() as other:

        def lose() -> None:
            pid = mortal.connections.postgres.rows("SELECT pg_backend_pid()")[0][0]
            with other.postgres.transaction():
                other.postgres.rows("SELECT pg_terminate_backend($1::bigint::int, 5000)", pid)
            recover(other)

        with pytest.raises(EtlError, match=r"was given up by another command .* nothing of it was published"):
            replicate.replicate(mortal.connections, NAMES, progress=_once(lose, _in_the_middle))
    replicate.replicate(mortal.connections, NAMES)
    mortal.assert_replicated(NAMES)
    assert mortal.leftovers() == []


def test_marts_and_proofs_survive_a_lost_connection(mortal: Any, home: Path) -> None:
    replicate.replicate(mortal.connections, NAMES)
    act = _once(lambda: _restart(home, "postgres"), lambda _source, through: True)
    assert all(one.proven for one in verify(mortal.connections, NAMES, progress=act))
    done: list[str] = []

    def progress(mart: str, _rows: int, _done: int) -> None:
        if not done:
            _restart(home, "postgres")
        done.append(mart)

    *_, one = marts.build(mortal.connections, ["ticket_resolution"], progress=progress)
    assert one.rows == len(mortal.stored("postgres", mortal.connections.entities["SupportTickets"].root))


def test_changes_are_followed_on_after_postgresql_was_started_anew(mortal: Any, home: Path) -> None:
    replicate.replicate(mortal.connections, NAMES)
    following = follow(mortal.connections, NAMES, rest=0.0)
    next(following)
    _restart(home, "postgres")
    assert {one.collection for one in next(following)} == set(NAMES)


def test_who_finds_no_connection_free_waits_for_one(mortal: Any) -> None:
    mortal.change_postgres("CREATE ROLE one LOGIN PASSWORD 'one' CONNECTION LIMIT 1")
    parts = urlsplit(mortal.settings.postgres_uri.get_secret_value())
    uri = urlunsplit(parts._replace(netloc=f"one:one@{parts.netloc.rpartition('@')[2]}"))
    first = dbapi.connect(uri)
    with pytest.raises(BusyError, match="too many connections"), mortal.another(postgres_uri=SecretStr(uri), retry=0.0):
        pass
    threading.Timer(0.3, first.close).start()
    with mortal.another(postgres_uri=SecretStr(uri)) as other:
        assert other.postgres.answers()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        *((state, BusyError) for state in ("40001", "40P01", "53200", "53300")),
        *((state, LostError) for state in ("57P01", "57P02", "08006")),
        *((state, EtlError) for state in ("53100", "23505", "57014", "42501")),
    ],
)
def test_postgresql_s_passing_errors_are_told_from_lasting_ones(mortal: Any, state: str, kind: type[EtlError]) -> None:
    statement = f"DO $$BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{state}'; END$$"
    with pytest.raises(EtlError, match="so it is") as error:
        mortal.change_postgres(statement)
    assert isinstance(error.value, (LostError, BusyError)) == (kind is not EtlError)
    assert isinstance(error.value, kind)


def test_clickhouse_s_passing_errors_are_told_from_lasting_ones(mortal: Any) -> None:
    for statement, passes in (
        ("SELECT groupArray(number) FROM numbers(1e7) SETTINGS max_memory_usage = 100000", True),
        ("SELECT throwIf(1)", False),
    ):
        with pytest.raises(EtlError) as error:
            mortal.change_clickhouse(statement)
        assert isinstance(error.value, BusyError) == passes


@pytest.mark.parametrize(
    ("error", "calls"), [(LostError, 3), (BusyError, 3), (EtlError, 1), (ServerError, 1), (KeyboardInterrupt, 1)]
)
def test_only_what_passes_is_tried_again(
    error: type[BaseException], calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[tuple[float, ...]] = []

    def work(waits: tuple[float, ...]) -> str:
        made.append(waits)
        if len(made) < 3:
            raise error("gone")
        return "done"

    caplog.set_level(logging.WARNING)
    if calls == 3:
        assert retries.retry(work, "to work", 60.0) == "done"
        assert [len(waits) for waits in made] == [0, 1, 2]
        assert caplog.records[0].getMessage().startswith("gone; to work is tried again in 0.")
    else:
        with pytest.raises(error):
            retries.retry(work, "to work", 60.0)
    assert len(made) == calls


def test_there_is_an_end_and_nobody_begins_anew() -> None:
    made: list[int] = []

    def work(_waits: tuple[float, ...]) -> None:
        made.append(1)
        raise LostError("gone")

    with pytest.raises(LostError):
        retries.retry(lambda _: retries.retry(work, "this", 1.0), "that", 60.0)
    assert 2 <= len(made) <= 4
