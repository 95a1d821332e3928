"""Measure one command, run as a whole process, and the servers that worked for it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.engines.clickhouse import ClickHouse
from pipeline.engines.mongo import Mongo
from pipeline.engines.postgres import Postgres

LAUNCHER = Path(__file__).with_name("launch.py")
ENGINES = (Mongo, Postgres, ClickHouse)
ETL = str(Path(sys.executable).with_name("etl"))


@dataclass(frozen=True)
class Measurement:
    """What one run took.

    Attributes:
        wall_s: Seconds from start to exit, imports included.
        cpu_s: Processor seconds of the command's processes.
        peak_rss_mib: Peak memory of its largest single process.
        servers_cpu_s: Processor seconds of the database servers meanwhile.
        others_cpu_s: Processor seconds that the rest of the machine took meanwhile: how much the run was disturbed.
        exit_code: 0 if all went well.
    """

    wall_s: float
    cpu_s: float
    peak_rss_mib: float
    servers_cpu_s: float
    others_cpu_s: float
    exit_code: int


def measure(command: Sequence[str], variables: Mapping[str, str], home: Path) -> tuple[Measurement, str]:
    """Run a command and return what it took and the end of what it said.

    Args:
        command: Program and arguments.
        variables: Added to the environment.
        home: Folder of the embedded engines, whose processor time is counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        before, busy_before = servers_cpu_s(home), _busy_s()
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(result), str(log), *command]
        _run(launcher, os.environ | dict(variables), folder)
        servers, busy = servers_cpu_s(home) - before, _busy_s() - busy_before
        taken = json.loads(result.read_text())
        others = max(0.0, busy - servers - taken["cpu_s"])
        said = log.read_text(errors="replace")[-4000:]
        return Measurement(servers_cpu_s=servers, others_cpu_s=others, **taken), said


def measure_etl(arguments: Sequence[str], variables: Mapping[str, str], home: Path) -> Measurement:
    """Run a command of ours and return what it took; if it fails, that is the end of all."""
    measured, said = measure([ETL, *arguments, "--json"], variables, home)
    if measured.exit_code:
        raise SystemExit(f"etl {' '.join(arguments)} failed:\n{said}")
    return measured


def _run(launcher: Sequence[str], variables: Mapping[str, str], folder: str) -> None:
    """Run the launcher to its end; if we are told to end before, what it has started ends as well."""
    with subprocess.Popen(launcher, env=variables, cwd=folder, start_new_session=True) as process:
        try:
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    if code:
        raise subprocess.CalledProcessError(code, launcher)


def _busy_s() -> float:
    """Return the processor time that all processes of the machine have had."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def servers_cpu_s(home: Path) -> float:
    """Return the processor time of all engines so far; a backend that has ended counts in its parent's children."""
    running = [process for kind in ENGINES if (process := kind(home.resolve()).find())]
    everyone = [*running, *(child for process in running for child in process.children(recursive=True))]
    total = 0.0
    for process in everyone:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total
