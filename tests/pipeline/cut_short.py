"""Run a command in a process of its own, and die at a given moment; the tests of killing run it by its path."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import control
from pipeline.connections import Connections, connect
from pipeline.errors import EtlError
from pipeline.marts import build as marts
from pipeline.replication import drop, replicate, sync
from pipeline.replication.replicate import Partition, Run
from pipeline.runs import recovery
from pipeline.settings import Settings
from pipeline.stores.clickhouse.history import History
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.postgres import indexes
from pipeline.stores.postgres.store import Postgres


def die(*_arguments: Any, **_options: Any) -> None:
    """Die as by kill -9: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(owner: Any, name: str) -> None:
    done = getattr(owner, name)
    setattr(owner, name, lambda *arguments, **options: (done(*arguments, **options), die()))


def die_before(owner: Any, name: str, number: int = 1) -> None:
    """Die instead of the nth call."""
    do, calls = getattr(owner, name), []

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        return die() if len(calls) == number else do(*arguments, **options)

    setattr(owner, name, counting)


def die_at_statement(begins: str, number: int, holds: str = "") -> None:
    """Die instead of running ClickHouse's nth statement that begins so, and holds a word."""
    execute, seen = ClickHouse.execute, []

    def counting(self: ClickHouse, *statements: str) -> None:
        for statement in statements:
            seen.append(statement.startswith(begins) and holds in statement)
            if sum(seen) == number and seen[-1]:
                die()
            execute(self, statement)

    ClickHouse.execute = counting  # type: ignore[method-assign]


MOMENTS: dict[str, Callable[[], None]] = {
    "never": lambda: None,
    "after the run was opened": lambda: die_after(control, "open_run"),
    "half staged": lambda: die_after(Postgres, "stage"),
    "staged and not committed": lambda: die_after(ClickHouse, "stage"),
    "after staging": lambda: die_after(replicate, "open_run"),
    "in the middle of a load": lambda: None,  # by the progress callback
    "changes noted": lambda: die_after(control, "cut_pages"),
    "after a load": lambda: die_after(replicate, "load"),
    "after all loads": lambda: die_before(replicate, "publish"),
    "while keys are built": lambda: die_before(indexes, "build", 2),
    "before the references": lambda: die_before(indexes, "build", 3),
    "prepared": lambda: die_after(ClickHouse, "prepare"),
    "before the commit": lambda: die_after(control, "record_publication"),
    "after the commit": lambda: die_before(ClickHouse, "publish"),
    "half applied": lambda: die_at_statement('INSERT INTO "replica"', 4),
    "a mart half applied": lambda: die_at_statement('INSERT INTO "marts"', 6),
    "before the second rename": lambda: die_at_statement("RENAME", 2),
    "before the second exchange": lambda: die_at_statement("EXCHANGE", 2),
    "between an exchange and its view": lambda: die_at_statement("CREATE OR REPLACE VIEW", 2),
    "before the changes are found": lambda: die_at_statement("CREATE OR REPLACE TABLE", 1, "_changing_"),
    "half kept": lambda: die_at_statement("INSERT INTO history", 2),
    "kept and not marked": lambda: die_at_statement("RENAME TABLE", 1, "_changed_"),
    "before it is told since when": lambda: die_at_statement("INSERT INTO history", 1, "__since"),
    "before the first exchange": lambda: die_at_statement("EXCHANGE", 1),
    "before the views of the history": lambda: die_before(History, "follow"),
    "before the intent is finished": lambda: die_before(control, "mark_finished"),
    "before ClickHouse drops": lambda: die_before(ClickHouse, "drop"),
    "a view dropped and its table not": lambda: die_at_statement("DROP TABLE", 1),
    "one table dropped": lambda: die_at_statement("DROP VIEW", 2),
    "before the books forget": lambda: die_before(control, "forget_collection"),
    "before the sweep": lambda: die_before(recovery, "_clean_up_stale_runs", 2),  # the first: at the beginning
}


def perform(connections: Connections, command: str, moment: str, arguments: dict[str, Any]) -> None:
    """Run one command."""

    def progress(_what: Any, _planned: int, done: int = 0) -> None:
        if moment == "in the middle of a load" and done:
            die()

    if command == "replicate":
        replicate.replicate(connections, **arguments, progress=progress)
    elif command == "sync":
        sync.sync(connections, **arguments, progress=progress)
    elif command == "load":
        run, partition = Run.from_json(arguments["run"]), Partition.from_json(arguments["partition"])
        replicate.load(connections, run, partition)
    elif command == "drop":
        drop.drop(connections, **arguments)
    elif command == "marts":
        marts.build(connections, **arguments)


def main(given: dict[str, Any]) -> None:
    """Run what is asked for, and exit as the command line would."""
    known = given["settings"]
    settings = Settings.load(**known | {"contracts": tuple(map(Path, known["contracts"]))})
    try:
        with connect(settings) as connections:
            MOMENTS[given["moment"]]()
            perform(connections, given["command"], given["moment"], given["arguments"])
    except EtlError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


main(GIVEN)  # noqa: F821 - given by runpy
