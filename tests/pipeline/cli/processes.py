"""``etl`` as a process of its own, and what a command left."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cli import app as cli
from tests.pipeline.outcomes import check_outcome

ROOT = Path(cli.__file__).parents[2]


@dataclass
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


def start(home: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "ETL_HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(home: Path, *arguments: str, **environment: str) -> Result:
    process = start(home, *arguments, **environment)
    out, err = process.communicate(timeout=300)
    check_outcome(arguments, out)
    return Result(process.returncode, out, err)
