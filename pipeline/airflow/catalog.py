"""What collections and marts there are, read from the text of contracts and transforms.

To import them would make each DAG file slow, and Airflow reads those very often.
"""

import ast
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


def collections() -> list[str]:
    """Return the names of all collections that have a contract, those of ``ETL_CONTRACTS`` included."""
    folders = [Path(one) for one in os.environ.get("ETL_CONTRACTS", "").split(os.pathsep) if one]
    return sorted({*_names("ENTITY", "collection", _folder("contracts"), *folders)})


def marts() -> list[str]:
    """Return the names of all marts."""
    return sorted({*_names("MART", "name", _folder("contracts") / "marts")})


def marts_read() -> dict[str, list[str]]:
    """Return which marts each mart reads: they are among the parameters of the function that computes it."""
    known = marts()
    return {mart: [name for name in _parameters(mart) if name in known] for mart in known}


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _names(variable: str, option: str, *folders: Path) -> Iterator[str]:
    """Yield what contracts are called."""
    for file in (file for folder in folders for file in folder.glob("*.py")):
        for one in _statements(file):
            if isinstance(one, ast.Assign) and [*map(ast.unparse, one.targets)] == [variable]:
                given = {word.arg: word.value for word in getattr(one.value, "keywords", ())}
                if isinstance(value := given.get(option), ast.Constant):
                    yield str(value.value)


def _parameters(mart: str) -> list[str]:
    """Return the tables that a mart reads."""
    for one in _statements(_folder("transforms") / "marts" / f"{mart}.py"):
        if isinstance(one, ast.FunctionDef) and one.name == mart:
            return [parameter.arg for parameter in one.args.args]
    return []


def _statements(file: Path) -> list[ast.stmt]:
    """Return what a file says; what can't be read is told by the task that imports it."""
    try:
        return ast.parse(file.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return []
