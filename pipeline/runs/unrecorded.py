"""Why runs failed that could not tell the books, since PostgreSQL was gone or full: noted for the next command."""

import os
from contextlib import suppress
from pathlib import Path

_FOLDER = "unsaid"  # under the home


def keep(home: Path, run_id: str, reason: str) -> None:
    """Note why a run failed; where not even that can be written, it is lost.

    Args:
        home: Folder of what commands keep on this machine.
        run_id: The run.
        reason: One sentence without secrets.
    """
    note = home / _FOLDER / run_id
    with suppress(OSError):
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(reason)


def take(home: Path, run_id: str) -> str | None:
    """Return why a run failed, if that was noted on this machine, and drop the note."""
    note = home / _FOLDER / run_id
    try:
        reason = note.read_text(errors="replace")
        note.unlink()
    except OSError:
        return None
    return reason or None
