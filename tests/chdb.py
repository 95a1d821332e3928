"""The embedded ClickHouse's server, as the tests start it by themselves."""

import sys
from pathlib import Path


def command(folder: Path, port: int, password: str, *options: str) -> list[str]:
    """Return how to start it, with its data and its password's file in a folder."""
    (folder / "password").write_text(password)
    where = ["--path", str(folder / "data"), "--port", str(port), "--password-file", str(folder / "password")]
    return [sys.executable, "-m", "pipeline.engines.chdb_server", *where, *options]
