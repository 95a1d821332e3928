"""Modules of contracts, found in folders and loaded; what is wrong in one is told with its file and line."""

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from contracts.schema import fields, kinds
from contracts.schema.entity import ContractError, Entity
from contracts.schema.mart import Mart
from contracts.schema.mistakes import sentence

_DEFINES = re.compile(rb"^(ENTITY|MART)\b", re.MULTILINE)


def package_modules(package: ModuleType) -> Iterator[tuple[Path, ModuleType]]:
    """Yield the contracts' modules of a package, with their files."""
    for path in contracts_in(Path(package.__path__[0])):
        if path.stem.isidentifier():
            with _telling(path):
                module = import_module(f"{package.__name__}.{path.stem}")
            yield path, module
        else:
            yield path, load(path)


def check_folders(folders: Iterable[Path], what: str) -> Iterator[Path]:
    """Yield folders that are there.

    Args:
        folders: What the environment names.
        what: What they are to hold, as people call it.

    Raises:
        ContractError: One is not there.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ContractError(f"the folder of {what} {str(folder)!r} does not exist")
        yield folder


def contracts_in(folder: Path, pattern: str = "[!.]*.py") -> Iterator[Path]:
    """Yield the modules of a folder; what begins with an underscore is private, unless it defines a contract."""
    for path in sorted(folder.glob(pattern)):
        if not path.name.startswith("_") or _DEFINES.search(path.read_bytes()):
            yield path


def load(path: Path) -> ModuleType:
    """Load a file as a module.

    Raises:
        ContractError: It can't be; one sentence with file and line.
    """
    # A name of its own, so that a user's module never shadows one that is installed.
    name = f"etl_contracts.{path.stem.replace('.', '%')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _telling(path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Load a contract inside; whatever is wrong in it is told with its file and line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        words = {**vars(fields), **vars(kinds), "Entity": Entity, "Mart": Mart}
        raise ContractError(sentence(error, path, words)) from error
