"""Commands as people run them, each in a process of its own, which may be killed at any moment."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fire.servers import DATABASE, Servers

_CUT_SHORT = Path(__file__).parents[1] / "pipeline/cut_short.py"
_PATIENCE_S = 300.0  # no command may wait without an end
# What is run under fire, and how often.
COMMANDS: dict[tuple[str, ...], int] = {
    ("sync",): 8,
    ("replicate",): 3,
    ("verify",): 2,
    ("marts",): 1,
    ("quarantine", "replay"): 1,
    ("verify", "--repair"): 1,
    ("status",): 1,
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        words: The command.
        code: Its exit code; negative for a signal.
        said: What it printed.
        told: What it said on stderr.
        seconds: How long it took.
    """

    words: tuple[str, ...]
    code: int
    said: str
    told: str
    seconds: float = 0.0

    @property
    def wrong(self) -> list[str]:
        """What no command may do, whatever happens to it: show a traceback, or tell of differences."""
        name = f"etl {' '.join(self.words)} (exit {self.code})"
        wrong = [f"{name} showed a traceback: {self.told[-800:]}"] if "Traceback" in self.told else []
        if self.code not in (0, 1, 2, 130, 143, -signal.SIGKILL, -signal.SIGTERM):
            wrong.append(f"{name}: {self.told[-500:]}")
        unequal = [one for one in self._comparisons() if one["missing"] or one["extra"] or one["different"]]
        return [*wrong, *(f"{name} found {one}"[:800] for one in unequal)]

    def _comparisons(self) -> list[dict[str, Any]]:
        if self.words[0] != "verify" or self.code < 0 or not self.said.startswith("{"):
            return []
        return list(json.loads(self.said).get("comparisons", []))


class Command:
    """One command that runs.

    Args:
        servers: Where it works.
        words: What it is to do.
    """

    def __init__(self, servers: Servers, words: tuple[str, ...]) -> None:
        self.words = words
        self._started = time.monotonic()
        self._process = _start([sys.executable, "-m", "pipeline.cli", *words, "--json"], servers)

    def kill(self) -> None:
        """Kill it, as by kill -9."""
        self._process.kill()

    def end(self) -> Outcome:
        """Wait until it ends."""
        return _outcome(self.words, self._process, self._started)


def run(servers: Servers, *words: str) -> Outcome:
    """Run a command to its end."""
    return Command(servers, words).end()


def die_at(servers: Servers, command: str, moment: str) -> Outcome:
    """Run a command that kills itself at a boundary between two of its steps, if it comes there."""
    environment = servers.environment()
    uris = {f"{name}_uri": environment[f"ETL_{name.upper()}_URI"] for name in ("mongo", "postgres", "clickhouse")}
    given = {"settings": {**uris, "mongo_database": DATABASE, "contracts": []}}
    given |= {"command": command, "moment": moment, "arguments": {}}
    code = f"import json, runpy; runpy.run_path({str(_CUT_SHORT)!r}, {{'GIVEN': json.loads({json.dumps(given)!r})}})"
    process = _start([sys.executable, "-c", code], servers)
    return _outcome((command, f"to die {moment}"), process, time.monotonic())


def moments() -> list[str]:
    """Return the boundaries between steps that a command can die at."""
    table = _CUT_SHORT.read_text().partition("MOMENTS")[2].partition("}")[0]
    return [name for name in re.findall(r'^    "([^"]+)":', table, re.MULTILINE) if name != "never"]


def any_command(chance: random.Random) -> tuple[str, ...]:
    """Choose a command."""
    return chance.choices(list(COMMANDS), list(COMMANDS.values()))[0]


def _start(command: list[str], servers: Servers) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, env=servers.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _outcome(words: tuple[str, ...], process: "subprocess.Popen[str]", started: float) -> Outcome:
    try:
        said, told = process.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said, told = process.communicate()
        return Outcome(words, -1, said, f"it went on for {time.monotonic() - started:.0f} s: {told}")
    return Outcome(words, process.returncode, said, told, time.monotonic() - started)
