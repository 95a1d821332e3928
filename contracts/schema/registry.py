"""The registry is the file system: a module that defines ``ENTITY`` is a contract."""

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import contracts
import contracts.marts
from contracts import DEMO
from contracts.schema import fields, kinds
from contracts.schema.entity import ContractError, Entity
from contracts.schema.history import check_histories_apart
from contracts.schema.mart import Mart
from contracts.schema.mistakes import sentence
from contracts.schema.names import check_apart

_DEFINES = re.compile(rb"^(ENTITY|MART)\b", re.MULTILINE)


def entities(folders: Iterable[Path] = ()) -> dict[str, Entity]:
    """Return every contract of a collection, by the collection's name.

    Args:
        folders: Folders of contract modules, ``DEMO`` for those of this package; they are all there are if none is.

    Raises:
        ContractError: A module can't be derived or imported, or two contracts claim one name.
    """
    found: dict[str, Entity] = {}
    folders = tuple(folders) or (DEMO,)
    owners = {name: f"the mart {name}" for name in marts()} if DEMO in folders else {}
    for path, module in _modules(folders):
        entity = getattr(module, "ENTITY", None)
        if entity is None:
            continue
        if not isinstance(entity, Entity):
            raise ContractError(f"{path}: ENTITY is no Entity, but {type(entity).__name__}")
        _check_stem(path, entity.collection, entity.table)
        _claim(entity, owners)
        found[entity.collection] = entity
    check_apart((entity.collection, table.name) for entity in found.values() for table in entity.tables)
    check_histories_apart(found.values())
    return found


def files(folders: Iterable[Path] = ()) -> dict[str, Path]:
    """Return the file of each contract of a collection, by the collection's name.

    Args:
        folders: As :func:`entities` takes them; it has read them, so that nothing is wrong with them.
    """
    found = ((getattr(module, "ENTITY", None), path) for path, module in _modules(tuple(folders) or (DEMO,)))
    return {entity.collection: path for entity, path in found if isinstance(entity, Entity)}


def by_name(known: Iterable[Entity]) -> dict[str, Entity]:
    """Return contracts by what people call them: the collection's name and the table's."""
    return {name: entity for entity in known for name in (entity.collection, entity.table)}


def marts() -> dict[str, Mart]:
    """Return every contract of a mart, by its name.

    Raises:
        ContractError: A module is not named as its mart, or can't be derived or imported.
    """
    found: dict[str, Mart] = {}
    for path, module in _package_modules(contracts.marts):
        mart = getattr(module, "MART", None)
        if mart is None:
            continue
        _check_stem(path, mart.name, mart.name)
        found[mart.name] = mart
    check_apart((f"the mart {name}", name) for name in found)
    return found


def _check_stem(path: Path, who: str, stem: str) -> None:
    if path.stem != stem:
        way_out = "" if _can_be_a_file(stem) else "; no file can be, so say what else it is called by table='...' in it"
        raise ContractError(f"{who}: its contract must be named {stem}.py, not {path.stem}.py ({path}){way_out}")


def _can_be_a_file(stem: str) -> bool:
    return "/" not in stem and not stem.startswith(".")


def _claim(entity: Entity, owners: dict[str, str]) -> None:
    """Enter the names of a collection and its tables, by which people and marts call them, as its own.

    Raises:
        ContractError: Another collection or mart has one of them.
    """
    tables = [table.name for table in entity.tables]
    for name in (*tables, entity.collection):
        if owner := owners.get(name):
            both = f"{owner} and {entity.collection}"
            what = f"both make a table {name!r}" if name in tables else f"are both called {name!r}"
            raise ContractError(
                f"{both} {what}; call the tables of one of them otherwise: by table='...' in its contract, "
                "and its file that name too"
            )
    owners |= dict.fromkeys((*tables, entity.collection), entity.collection)


def _modules(folders: tuple[Path, ...]) -> Iterator[tuple[Path, ModuleType]]:
    if DEMO in folders:
        yield from _package_modules(contracts)
    yield from _folder_modules(folder for folder in folders if folder != DEMO)


def _package_modules(package: ModuleType) -> Iterator[tuple[Path, ModuleType]]:
    for path in _contracts_in(Path(package.__path__[0])):
        if path.stem.isidentifier():
            with _telling(path):
                module = import_module(f"{package.__name__}.{path.stem}")
            yield path, module
        else:
            yield path, _load(path)


def _folder_modules(folders: Iterable[Path]) -> Iterator[tuple[Path, ModuleType]]:
    for folder in folders:
        if not folder.is_dir():
            raise ContractError(f"the folder of contracts {str(folder)!r} does not exist")
        for path in _contracts_in(folder):
            yield path, _load(path)


def _contracts_in(folder: Path) -> Iterator[Path]:
    """Yield the modules of a folder; what begins with an underscore is private, unless it defines a contract."""
    for path in sorted(folder.glob("[!.]*.py")):
        if not path.name.startswith("_") or _DEFINES.search(path.read_bytes()):
            yield path


def _load(path: Path) -> ModuleType:
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
