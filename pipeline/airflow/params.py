"""What a DAG is told when it is triggered: the names it may be given, and the check before its first task works."""

import ast
import os
from collections.abc import Iterator, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError

TARGETS = ["postgres", "clickhouse"]


def collections() -> list[str]:
    """Return the names of all collections that have a contract, those of ``ETL_CONTRACTS`` included."""
    folders = [Path(one) for one in os.environ.get("ETL_CONTRACTS", "").split(os.pathsep) if one]
    return sorted({*_names("ENTITY", "collection", _contracts(), *folders)})


def marts() -> list[str]:
    """Return the names of all marts."""
    return sorted({*_names("MART", "name", _contracts() / "marts")})


def check_params(context: MutableMapping[str, Any]) -> None:
    """Refuse what a DAG does not know, and bring the rest into the form that its tasks take.

    Args:
        context: A task's, as Airflow hands it to ``pre_execute``.

    Raises:
        UsageError: A param is none of the DAG's, or is a limit that can't be read.
    """
    params, known = context["params"], context["dag"].params
    if unknown := sorted(set(params) - set(known)):
        there_are = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise UsageError(f"the DAG {context['dag'].dag_id} has no param {', '.join(map(repr, unknown))}; {there_are}")
    for name, value in {"collections": [], "marts": [], "targets": TARGETS}.items():
        if name in params:
            params[name] = params[name] or value  # the form says null where nothing is chosen
    if params.get("max_quarantined") is not None:
        from pipeline.runs.reconcile import allowed

        params["max_quarantined"] = str(params["max_quarantined"])
        allowed(params["max_quarantined"], 0)


def _contracts() -> Path:
    spec = find_spec("contracts")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _names(variable: str, option: str, *folders: Path) -> Iterator[str]:
    """Yield what contracts are called, read from their text: to import them would make each DAG file slow."""
    for file in (file for folder in folders for file in folder.glob("*.py")):
        try:
            statements = ast.parse(file.read_bytes()).body
        except (OSError, ValueError, SyntaxError):  # told by the task that imports it
            continue
        for one in statements:
            if isinstance(one, ast.Assign) and [*map(ast.unparse, one.targets)] == [variable]:
                given = {word.arg: word.value for word in getattr(one.value, "keywords", ())}
                if isinstance(value := given.get(option), ast.Constant):
                    yield str(value.value)
