"""Folders and files of a home: for its owner alone, whoever made the home and whatever the umask."""

import os
from pathlib import Path
from typing import IO, Any

from pipeline.errors import EngineError

# What there may be in a home; the last one is on every disk of its own.
_OURS = {"mongo", "postgres", "clickhouse", "log", "airflow", "reports", "report.html", "unsaid"}
_OURS |= {"lock", "users", "kept.json", "mark", "lost+found"}


def open_private(file: Path, mode: str) -> IO[Any]:
    """Open a file that, if it is made, only its owner can read."""
    return open(file, mode, opener=lambda path, flags: os.open(path, flags, 0o600))


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, that only its owner can enter."""
    if not folder.is_dir():
        if not folder.parent.exists():
            make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def close_to_others(home: Path) -> None:
    """Take all rights on a home and what is in it from others; of a home that is closed nothing has to be done.

    Raises:
        EngineError: It holds what is not ours, whose rights are nobody's to take.
    """
    if not home.stat().st_mode & 0o077:
        return
    if strange := sorted(one.name for one in home.iterdir() if one.name not in _OURS):
        raise EngineError(
            f"The home {home} holds other things than embedded engines ({strange[0]!r} for one), and a home is closed "
            "to all other users: set ETL_HOME to a folder of its own."
        )
    home.chmod(0o700)
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o700)
