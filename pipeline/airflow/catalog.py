"""What collections and marts there are, read from the text of contracts and transforms.

To import them would make each DAG file slow, and Airflow reads those very often.
"""

import ast
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from contracts import DEMO, PAIR


def collections() -> list[str]:
    """Return the names of all collections that have a contract: those of ``ETL_CONTRACTS``, or of the demo."""
    return sorted({name for file in _contracts() if (name := _name(file, "ENTITY", "collection")) is not None})


def marts() -> list[str]:
    """Return the names of all marts whose sources have a contract."""
    return sorted(_sources())


def marts_read() -> dict[str, list[str]]:
    """Return which marts each mart reads: they are among the parameters of the function that computes it."""
    known = _sources()
    return {mart: [name for name in known[mart] if name in known] for mart in sorted(known)}


def tables_read() -> list[str]:
    """Return the tables of the collections that marts read."""
    known, stems = _sources(), _stems()
    read = {name for names in known.values() for name in names if name not in known}
    return sorted({_owner(name, stems) for name in read})


def _contracts() -> list[Path]:
    """Return the files of contracts, as ``contracts.schema.registry`` finds them."""
    folders = _folders("ETL_CONTRACTS") or [DEMO]
    places = [_folder("contracts") if one == DEMO else one.expanduser() for one in folders]
    return [file for place in places for file in place.glob("*.py")]


def _transforms() -> dict[str, Path]:
    """Return the file that computes each mart; a user's own pair of files goes before the package's."""
    package = (_folder("contracts") / "marts").glob("*.py")
    named = {name: _folder("transforms") / "marts" / f"{name}.py" for file in package if (name := _mart(file))}
    own = (file for folder in _folders("ETL_MARTS") for file in folder.expanduser().glob(f"*{PAIR}"))
    return named | {name: file.with_name(f"{name}.py") for file in own if (name := _mart(file))}


def _folders(variable: str) -> list[Path]:
    """Return the folders that a variable of the environment names; tasks read the settings as a whole."""
    return [Path(one) for one in os.environ.get(variable, "").split(os.pathsep) if one]


def _mart(file: Path) -> str | None:
    return _name(file, "MART", "name")


def _stems() -> set[str]:
    """Return the names of the tables of collections: a contract's file bears it."""
    return {file.stem for file in _contracts() if _name(file, "ENTITY", "collection") is not None}


def _owner(table: str, stems: Iterable[str]) -> str:
    """Return of which collection a table is, its own or a child; nothing if it is of none."""
    return max((one for one in stems if table == one or table.startswith(f"{one}_")), key=len, default="")


def _sources() -> dict[str, list[str]]:
    """Return what each mart reads, of those whose sources are all there."""
    stems = _stems()
    left = {name: _parameters(name, file) for name, file in _transforms().items() if name not in stems}
    while missing := [
        mart for mart, read in left.items() if not all(one in left or _owner(one, stems) for one in read)
    ]:
        for mart in missing:
            del left[mart]
    return left


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _name(file: Path, variable: str, option: str) -> str | None:
    """Return what a contract is called; None if the file is none."""
    for one in _statements(file):
        if not isinstance(one, ast.Assign | ast.AnnAssign) or not isinstance(one.value, ast.Call):
            continue
        target = one.target if isinstance(one, ast.AnnAssign) else one.targets[0]
        if ast.unparse(target) == variable:
            first = one.value.args[:1]  # which of an entity, and of a mart, is the name
            named = [word.value for word in one.value.keywords if word.arg == option]
            if isinstance(value := next(iter(first + named), None), ast.Constant):
                return str(value.value)
    return None


def _parameters(mart: str, file: Path) -> list[str]:
    """Return the tables that a mart reads."""
    for one in _statements(file):
        if isinstance(one, ast.FunctionDef) and one.name == mart:
            return [parameter.arg for parameter in one.args.args]
    return []


def _statements(file: Path) -> list[ast.stmt]:
    """Return what a file says; what can't be read is told by the task that imports it."""
    try:
        return ast.parse(file.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return []
