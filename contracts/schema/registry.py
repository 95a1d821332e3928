"""The registry is the file system: a public module that defines ``ENTITY`` is a contract."""

import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import contracts
import contracts.marts
from contracts.schema.entity import ContractError, Entity
from contracts.schema.mart import Mart


def entities(folders: Iterable[Path] = ()) -> dict[str, Entity]:
    """Return every contract of a collection, by the collection's name.

    Args:
        folders: Further folders of contract modules, beside the ones of this package.

    Raises:
        ContractError: A module can't be derived or imported, or two contracts claim one name.
    """
    found: dict[str, Entity] = {}
    owners: dict[str, str] = {}
    for module in (*_package_modules(contracts), *_folder_modules(folders)):
        entity = getattr(module, "ENTITY", None)
        if entity is None:
            continue
        if not isinstance(entity, Entity):
            raise ContractError(f"{module.__name__}: ENTITY is no Entity, but {type(entity).__name__}")
        stem = module.__name__.rpartition(".")[2]
        if stem != entity.table:
            raise ContractError(f"{entity.collection}: its contract must be named {entity.table}.py, not {stem}.py")
        for table in entity.tables:
            if owner := owners.get(table.name):
                raise ContractError(f"{owner} and {entity.collection} both make a table {table.name!r}")
            owners[table.name] = entity.collection
        found[entity.collection] = entity
    return found


def marts() -> dict[str, Mart]:
    """Return every contract of a mart, by its name.

    Raises:
        ContractError: A module is not named as its mart.
    """
    found: dict[str, Mart] = {}
    for module in _package_modules(contracts.marts):
        mart = getattr(module, "MART", None)
        if mart is None:
            continue
        stem = module.__name__.rpartition(".")[2]
        if stem != mart.name:
            raise ContractError(f"{mart.name}: its contract must be named {mart.name}.py, not {stem}.py")
        found[mart.name] = mart
    return found


def _package_modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(package.__path__):
        if not info.ispkg and not info.name.startswith("_"):
            yield import_module(f"{package.__name__}.{info.name}")


def _folder_modules(folders: Iterable[Path]) -> Iterator[ModuleType]:
    for folder in folders:
        if not folder.is_dir():
            raise ContractError(f"the folder of contracts {str(folder)!r} does not exist")
        for path in sorted(folder.glob("[!_]*.py")):
            yield _load(path)


def _load(path: Path) -> ModuleType:
    # A name of its own, so that a user's module never shadows one that is installed.
    name = f"etl_contracts.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(f"{path}: {type(error).__name__}: {error}") from error
    return module
