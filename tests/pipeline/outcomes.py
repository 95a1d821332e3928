"""Whatever a test has a command print with ``--json`` is held against the schema that is documented."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[2] / "docs" / "json"


@cache
def _validator(name: str) -> Draft202012Validator | None:
    file = SCHEMAS / f"{name}.schema.json"
    return Draft202012Validator(json.loads(file.read_text())) if file.exists() else None


def check_outcome(arguments: Sequence[str], out: str) -> None:
    """Hold what a command printed against its schema.

    Args:
        arguments: Those of ``etl``.
        out: What it printed on stdout.
    """
    if "--json" not in arguments or "--help" in arguments or not out.strip():
        return
    names = [one for one in arguments if not one.startswith("-")][:2]
    same = {"history-list": "history", "quarantine-list": "quarantine", "marts-build": "marts"}
    for words in (names, names[:1]):
        name = "-".join(words)
        if validator := _validator(same.get(name, name)):
            errors = [f"{one.json_path}: {one.message}"[:300] for one in validator.iter_errors(json.loads(out))]
            told = [cause for one in validator.iter_errors(json.loads(out)) for cause in one.context or ()]
            found = [f"{one.json_path}: {one.message}"[:300] for one in told] or errors
            assert not errors, (
                f"etl {name} gives other keys than pipeline/cli/outcomes.py says (make reference): {found}"
            )
            return
    assert "error" in json.loads(out), f"docs/json has no schema of etl {' '.join(names)}"
