"""Of two commands at once one waits: it says for whom, not for ever, and can be interrupted."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bson import Timestamp

from pipeline import control
from pipeline.cli import app as cli
from pipeline.cli.interrupt import install_sigint
from pipeline.control import locks
from pipeline.runs.recovery import recover
from pipeline.stores.postgres.errors import LockedError
from tests.pipeline.lab import Lab


@contextmanager
def _publishing(lab: Lab) -> Iterator[str]:
    """Publish in another command, and never come to an end; yields its run."""
    with lab.another() as other:
        control.ensure_schema(other.postgres)
        with other.postgres.transaction():
            run_id = control.open_run(other.postgres, "replicate", Timestamp(1, 1), ["postgres"], single_process=True)
        with other.postgres.transaction():
            control.lock_publishing(other.postgres)
            yield run_id
        control.release_run(other.postgres, run_id)


def test_who_is_waited_for_is_said_and_the_wait_ends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "SAID_AFTER_S", 0.1)
    with _publishing(lab) as run_id, lab.another(wait=0.5) as waiting:
        with pytest.raises(LockedError, match=rf"run {run_id} is publishing since \d+-.* UTC .*; gave up after 0.5 s"):
            recover(waiting)
        (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert said.startswith(f"run {run_id} is publishing since 2") and said.endswith("at most 0.5 s")
        assert waiting.postgres.rows("SELECT 1") == [(1,)]
    with lab.another(wait=0.0) as patient:
        recover(patient)


def test_the_wait_is_over_when_the_other_one_is(lab: Lab) -> None:
    with lab.another() as waiting:
        done = threading.Thread(target=recover, args=(waiting,))
        with _publishing(lab):
            done.start()
            done.join(0.5)
            assert done.is_alive()
        done.join(60)
        assert not done.is_alive()


def test_ctrl_c_ends_the_wait(lab: Lab) -> None:
    install_sigint()  # as every command that opens servers
    with _publishing(lab), lab.another() as waiting:
        threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            recover(waiting)


def test_no_lock_is_waited_for_without_an_end(lab: Lab) -> None:
    """Neither one of a table or a row."""
    with lab.another() as other, lab.another(wait=1.0) as waiting:
        other.postgres.execute("LOCK TABLE etl.published")
        with pytest.raises(LockedError, match="--wait, ETL_WAIT"):
            recover(waiting)


@pytest.mark.parametrize("command", [["sync"], ["replicate"], ["marts"], ["quarantine", "replay"]])
def test_commands_say_for_whom_they_do_not_wait(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    for name, value in lab.settings:
        if name.endswith("_uri"):
            monkeypatch.setenv(f"ETL_{name.upper()}", value.get_secret_value())
    monkeypatch.setenv("ETL_MONGO_DATABASE", lab.settings.mongo_database)
    with _publishing(lab) as run_id:
        assert cli.run([*command, "--wait", "0"]) == 2
    assert f"error: run {run_id} is publishing since" in capsys.readouterr().err
