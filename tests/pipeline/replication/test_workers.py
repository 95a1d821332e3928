"""Several processes make the same copy and the same proof as one, and nothing is lost when one of them is killed."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest

from pipeline import control
from pipeline.connections import Connections
from pipeline.errors import EtlError, UsageError
from pipeline.replication import replicate, sync, verify
from pipeline.runtime import workers
from tests.pipeline.lab import Lab
from tests.pipeline.runtime import chores

NAMES = ["SearchQueries", "UserSessions"]
ROWS = 300


@pytest.fixture(scope="module", autouse=True)
def _filled(lab: Lab) -> None:
    lab.fill(defects=0.05, **dict.fromkeys(NAMES, ROWS))


@pytest.fixture
def several(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    """Return connections whose work is shared by two processes, however little it is."""
    monkeypatch.setattr(workers, "SHARE_BYTES", 1)
    for module in (replicate, sync, verify):
        monkeypatch.setattr(module, "LEAST_BYTES", 10_000)
    monkeypatch.setattr(sync, "_NOTED", 20)
    with lab.another(workers=2) as found:
        yield found


def processes() -> list[psutil.Process]:
    alive = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "pipeline.runtime.worker" in one.cmdline()]


class Meddler:
    """Does something once, while processes are at work, and remembers how many there were and what was told."""

    def __init__(self, deed: Callable[[], None] = lambda: None) -> None:
        self.deed, self.seen, self.told = deed, 0, dict[str, tuple[int, int]]()

    def __call__(self, what: Any, total: int, done: int) -> None:
        if not self.seen:
            self.seen = len(processes())
            self.deed()
        self.told[getattr(what, "label", what)] = total, done


def kill_one() -> None:
    processes()[0].send_signal(signal.SIGKILL)


def books(connections: Connections, run: replicate.Run) -> list[control.Account]:
    with connections.postgres.transaction():
        return control.accounts(connections.postgres, run.id)


def test_two_processes_make_the_copy_of_one_though_one_of_them_is_killed(
    lab: Lab, several: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    alone, accounts = replicate.replicate(lab.connections, NAMES)
    stored, quarantined = lab.everything(NAMES), {name: lab.quarantine(name).keys() for name in NAMES}
    meddler = Meddler(kill_one)
    together, found = replicate.replicate(several, NAMES, progress=meddler)
    assert meddler.seen == 2
    assert re.search(r"the process that was at load \w+ \d+/\d+ ended by signal 9; another one does", caplog.text)
    assert found == accounts == books(lab.connections, together)
    assert len(meddler.told) > 4
    assert sum(total for total, _ in meddler.told.values()) == len(NAMES) * ROWS
    assert all(total == done for total, done in meddler.told.values())
    again = lab.everything(NAMES)
    assert all(again[name].equals(stored[name]) for name in stored)
    assert {name: lab.quarantine(name).keys() for name in NAMES} == quarantined
    stages = control.timings(lab.connections.postgres, alone.id).keys()
    assert control.timings(lab.connections.postgres, together.id).keys() == stages
    lab.assert_replicated(NAMES)
    assert (processes(), lab.leftovers()) == ([], [])


def test_ctrl_c_ends_all_processes_and_publishes_nothing(lab: Lab, several: Connections) -> None:
    replicate.replicate(lab.connections, NAMES)
    stored = lab.everything(NAMES)
    lab.collection("UserSessions").update_many({}, {"$set": {"user_id": "a third"}})
    with pytest.raises(KeyboardInterrupt):
        replicate.replicate(several, NAMES, progress=Meddler(lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert (processes(), lab.leftovers()) == ([], [])
    assert all(found.equals(stored[name]) for name, found in lab.everything(NAMES).items())
    replicate.replicate(lab.connections, NAMES)
    lab.assert_replicated(NAMES)


def test_an_error_of_one_process_is_told_as_of_one(lab: Lab, several: Connections) -> None:
    run = replicate.open_run(several, NAMES, ["postgres"])
    partitions = replicate.plan(several, run)
    lab.collection("UserSessions").rename("Elsewhere")
    try:
        with pytest.raises(replicate.SnapshotError, match="UserSessions was dropped, renamed or made again during"):
            replicate.load_all(several, run, partitions, lambda *_: None)
    finally:
        lab.collection("Elsewhere").rename("UserSessions")
        replicate.lifecycle.abandon(several, run.id, run.targets, "tried")
    assert (processes(), lab.leftovers()) == ([], [])


def test_a_large_sync_is_shared(lab: Lab, several: Connections) -> None:
    replicate.replicate(lab.connections, NAMES)
    for name in NAMES:
        lab.collection(name).update_many({}, {"$set": {"user_id": "synced"}})
    meddler = Meddler()
    found = sync.sync(several, NAMES, progress=meddler)
    assert meddler.seen == 2
    assert {one.collection: one.changed for one in found} == dict.fromkeys(NAMES, ROWS)
    # Of documents of about 400 bytes no 10,000 bytes are more than 30.
    partitions = [label for label in meddler.told if label.startswith("UserSessions")]
    assert len(partitions) >= ROWS / 30
    lab.assert_replicated(NAMES)


def test_several_processes_prove_what_one_proves(
    lab: Lab, several: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    replicate.replicate(lab.connections, NAMES)
    meddler = Meddler(kill_one)
    found = verify.verify(several, NAMES[1:], progress=meddler)
    assert meddler.seen == 2
    assert re.search(r"the process that was at verify UserSessions \d+/\d+ ended by signal 9", caplog.text)
    assert found == verify.verify(lab.connections, NAMES[1:])
    assert all(one.proven for one in found)
    assert {one.source for one in found} == {ROWS}
    assert any(one.quarantined for one in found)
    assert meddler.told == {"UserSessions": (ROWS, ROWS)}
    assert processes() == []


def test_ranges_that_are_not_the_whole_prove_nothing(
    lab: Lab, several: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicate.replicate(lab.connections, NAMES[1:])
    whole = verify.tiles
    monkeypatch.setattr(verify, "tiles", lambda *given: whole(*given)[:-1])
    with pytest.raises(EtlError, match=r"so nothing is proven; run etl verify UserSessions --workers 1"):
        verify.verify(several, NAMES[1:])
    assert all(one.proven for one in verify.verify(lab.connections, NAMES[1:]))


def test_no_damage_escapes_several_processes(lab: Lab, several: Connections) -> None:
    """Rows are changed, taken away and added everywhere: at both ends and where one range follows another, too."""
    replicate.replicate(lab.connections, NAMES)
    ids = [str(one["_id"]) for one in lab.collection("UserSessions").find({}, {"_id": 1}).sort("_id", 1)]
    for number in range(4):
        lab.change_postgres(
            "UPDATE replica.user_sessions SET user_id = 'bent' WHERE _id IN "
            f"(SELECT _id FROM replica.user_sessions ORDER BY _id OFFSET {number * 74} LIMIT 1)"
        )
    named = " ".join(row["_id"] for row in lab.quarantine("UserSessions").values())
    extra = ["0" * 24, *(one for one in ids if one in named), "f" * 24]
    columns = [column.name for column in lab.connections.entities["UserSessions"].root.columns]
    rest = ", ".join(f'"{name}"' for name in columns[1:])
    for one in extra:
        lab.change_postgres(
            f"INSERT INTO replica.user_sessions (_id, {rest}) SELECT '{one}', {rest} FROM replica.user_sessions LIMIT 1"
        )
    shared, alone = (verify.verify(one, ["UserSessions"]) for one in (several, lab.connections))
    for found, wanted in zip(shared, alone, strict=True):
        assert set(found.broken) == set(wanted.broken)
        assert replace(found, broken=[], differences=[]) == replace(wanted, broken=[], differences=[])
    assert shared[0].extra == len(extra) > 5
    assert shared[0].different == 4
    assert shared[1].proven


def test_all_processes_together_keep_to_the_memory(lab: Lab, several: Connections) -> None:
    settings = type(lab.settings)
    with pytest.raises(UsageError, match=r"ETL_WORKERS is 4, for which ETL_MEMORY=1.0GiB is too little: .* 1.2GiB"):
        settings.load(workers=4)
    assert settings.load(workers=4, memory="2GiB").of_one_process(4).memory == 448 * 2**20
    found = dict(several.workers.share([workers.Call(chores.limits, (), "limits", 2**30)] * 2, lambda *_: None))
    share = (int(lab.settings.memory) - 256 * 2**20) // 2
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    assert found == dict.fromkeys(range(2), (share, {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}))


def test_a_core_has_a_process_to_verify_and_two_have_one_to_copy(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    load = type(lab.settings).load
    monkeypatch.delenv("ETL_WORKERS", raising=False)

    def chosen(cores: int, **given: Any) -> tuple[int, int]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        settings = load(**given)
        return settings.processes, settings.verify_processes

    assert [chosen(cores, memory="8GiB") for cores in (1, 2, 3, 8)] == [(1, 1), (1, 2), (1, 3), (4, 8)]
    assert chosen(8, memory="1GiB") == (3, 3)
    assert chosen(8, memory="256MiB") == (1, 1)
    assert chosen(2, workers=3) == (3, 3)
