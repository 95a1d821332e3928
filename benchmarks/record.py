"""The results on disk: a measurement replaces what it has measured anew, and leaves everything else as it is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
Result = dict[str, Any]


def read(name: str) -> Result:
    """Return a result, or nothing if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def speeds() -> list[Result]:
    """Return what was measured of speed, the largest number of documents first."""
    found = [read(path.stem) for path in RESULTS.glob("speed-*.json")]
    return sorted(found, key=lambda one: -int(one["rows"]))


def save(name: str, values: Result) -> None:
    """Write a result; it is small and kept with the source."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")


def save_speed(rows: int, collection: str, sessions: Sequence[Result]) -> None:
    """Write the sessions of one collection; those of the others stay.

    Args:
        rows: Documents per collection.
        collection: Which one.
        sessions: What was measured of it, session by session, the latest last: ratios hold only within a session.
    """
    collections = read(f"speed-{rows}").get("collections", {})
    save(f"speed-{rows}", {"rows": rows, "collections": {**collections, collection: list(sessions)}})


def and_then(earlier: Sequence[Result], session: Result) -> list[Result]:
    """Return the sessions of a collection after one more.

    Those are gone of which it has measured everyone anew, and in as many rounds.
    """
    anew, times = contenders(session), rounds(session)
    return [*(one for one in earlier if not (contenders(one) <= anew and rounds(one) <= times)), session]


def rounds(session: Result) -> int:
    """Return how many rounds there were."""
    return max((len(one["runs"]) for one in session["contenders"].values()), default=0)


def contenders(session: Result) -> set[str]:
    """Return who has come through in a session."""
    return {name for name, one in session["contenders"].items() if any(run["exit_code"] == 0 for run in one["runs"])}
