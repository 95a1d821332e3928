"""What a machine does to a command: a full disk, few file handles, folders that can't be written. One sentence each."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline import control
from pipeline.cli import app as cli
from pipeline.cli.output import failed
from pipeline.engines import embedded
from pipeline.errors import EngineError, EtlError, ServerError
from pipeline.marts.spill import spilling
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.runs import unrecorded
from pipeline.runs.lifecycle import abandon
from pipeline.settings import Settings
from tests.pipeline.lab import Lab

NAME = "SearchQueries"


@pytest.fixture
def environment(lab: Lab) -> dict[str, str]:
    """What a command needs to find the servers of this test."""
    given = {name: value for name, value in lab.settings if name.endswith(("_uri", "_database", "home"))}
    shown = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value) for name, value in given.items()
    }
    return {f"ETL_{name.upper()}": value for name, value in shown.items()}


@pytest.fixture
def etl(environment: dict[str, str]) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command in a process that may open some files; returns exit code and stderr."""

    def run(*arguments: str, files: int = 1024, **changes: str) -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", sys.executable, "-m", "pipeline.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **environment, **changes},
        )
        return done.returncode, done.stderr

    return run


# --- Why a run failed


def test_why_a_run_failed_is_told_by_the_next_command_if_the_books_could_not_be_reached(lab: Lab) -> None:
    lab.fill(**{NAME: 5})
    replicate(lab.connections, [NAME])
    with lab.another() as others:
        with others.postgres.transaction():
            moment = others.mongo.cluster_time()
            run_id = control.open_run(others.postgres, "sync", moment, ["postgres"], single_process=True)
        _end_session_of(lab, run_id)
        abandon(others, run_id, ["postgres"], "could not extend file: No space left on device")
    query = "SELECT status, message FROM etl.runs WHERE run_id = $1::text"
    assert lab.postgres(query, run_id) == [("running", None)]
    sync(lab.connections, [NAME])
    assert lab.postgres(query, run_id) == [("failed", "could not extend file: No space left on device")]
    assert unrecorded.take(lab.connections.home, run_id) is None


def _end_session_of(lab: Lab, run_id: str) -> None:
    """End the session that is at work on a run, as a server does that restarts."""
    ended = lab.postgres(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid() AND "
        "(classid::bigint << 32 | objid::bigint) = hashtextextended($1::text, 0)",
        run_id,
    )
    assert ended == [(True,)]


def test_a_reason_that_can_be_written_nowhere_is_lost_without_an_error(tmp_path: Path) -> None:
    (tmp_path / "unsaid").write_text("in the way")
    unrecorded.keep(tmp_path, "run", "why")
    assert unrecorded.take(tmp_path, "run") is None


def test_a_note_is_for_its_owner_alone_and_read_once(tmp_path: Path) -> None:
    unrecorded.keep(tmp_path / "home", "run", "why")
    assert (tmp_path / "home" / "unsaid" / "run").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "home" / "unsaid").stat().st_mode & 0o777 == 0o700
    assert [unrecorded.take(tmp_path / "home", "run") for _ in range(2)] == ["why", None]


def test_an_engine_that_ends_since_its_disk_is_full_is_named(tmp_path: Path, engine_uris: embedded.Uris) -> None:
    log = tmp_path / "log" / "postgres.log"
    settings = Settings.load(home=tmp_path, mongo_uri=engine_uris.mongo, clickhouse_uri=engine_uris.clickhouse)

    def work() -> None:
        with embedded.engines(settings):
            with log.open("a") as file:
                file.write('PANIC:  could not write to file "pg_wal/xlogtemp.1": No space left on device\n')
            assert embedded.full_disk(tmp_path) is not None
            os.utime(log, (0, 0))
            assert embedded.full_disk(tmp_path) is None
            os.utime(log)
            raise ServerError("gone")

    with pytest.raises(EngineError, match=r"gone; the disk of .* is full: so say the logs of the embedded PostgreSQL"):
        work()


# --- Folders and handles


def test_no_folder_for_temporary_files_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    with pytest.raises(EtlError, match=r"no temporary folder can be made .*let TMPDIR name"), spilling(2**30):
        raise AssertionError("entered")


@pytest.mark.parametrize("files", [16, 63])
def test_too_few_file_handles_are_one_sentence(etl: Any, files: int) -> None:
    code, told = etl("status", files=files)
    assert (code, told.count("\n")) == (2, 1)
    assert f"this process may open {files} files only, and needs 64; raise that by ulimit -n 4096" in told


def test_sixty_four_file_handles_are_enough_for_a_copy_and_too_few_for_an_engine(etl: Any, tmp_path: Path) -> None:
    code, told = etl("replicate", NAME, files=64)
    assert code == 0, told
    code, told = etl("up", files=64, ETL_HOME=str(tmp_path))
    assert (code, told.count("\n")) == (2, 1)
    assert "it may open 64 files only, and needs 256; raise that by ulimit -n 4096" in told


def test_an_error_of_the_system_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for error, wanted in (
        (OSError(30, "Read-only file system", "/x"), "the system refuses /x: Read-only file system"),
        (OSError(24, "Too many open files"), f"this process may open {resource.getrlimit(resource.RLIMIT_NOFILE)[0]};"),
    ):
        assert failed(error, as_json=False, debug=False) == 2
        assert wanted in capsys.readouterr().err


def test_a_home_with_a_line_break_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ETL_HOME", f"{tmp_path}/a\nb")
    for command in ("up", "down", "status", "replicate"):
        assert cli.run([command]) == 2
        told = capsys.readouterr().err
        assert "error: ETL_HOME must be a path without line breaks and other control characters" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(None, "ca.pem: No such file or directory"), ("no certificate", "a file of TLS can't be read as one")],
)
def test_a_bad_file_of_certificates_is_one_sentence(
    etl: Any, environment: dict[str, str], tmp_path: Path, content: str | None, wanted: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    uri = f"{environment['ETL_MONGO_URI']}&tls=true&tlsCAFile={file}"
    code, told = etl("sync", ETL_MONGO_URI=uri)
    assert (code, told.count("\n")) == (2, 1)
    assert re.search(wanted, told)
