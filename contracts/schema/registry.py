"""The registry is the file system: a module that defines ``ENTITY`` is a contract."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import contracts
import contracts.marts
from contracts import DEMO, PAIR
from contracts.schema.entity import ContractError, Entity, Table
from contracts.schema.history import check_histories_apart
from contracts.schema.loading import check_folders, contracts_in, load, package_modules
from contracts.schema.mart import Mart
from contracts.schema.names import check_apart


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


def all_tables(known: Iterable[Entity]) -> dict[str, Table]:
    """Return the tables of contracts, by name."""
    return {table.name: table for entity in known for table in entity.tables}


def marts(folders: Iterable[Path] = ()) -> dict[str, Mart]:
    """Return every contract of a mart, by its name: those of this package, and of a user's own.

    Args:
        folders: Folders of pairs of files, ``NAME.contract.py`` and ``NAME.py``; a mart of theirs takes the place of
            the one of this package that has its name.

    Raises:
        ContractError: A file is not named as its mart, or can't be derived or imported, or two are of one name.
    """
    found: dict[str, Mart] = {}
    for path, module in package_modules(contracts.marts):
        mart = getattr(module, "MART", None)
        if mart is None:
            continue
        _check_stem(path, mart.name, mart.name)
        found[mart.name] = mart
    found |= _own_marts(folders)
    check_apart((f"the mart {name}", name) for name in found)
    return found


def _own_marts(folders: Iterable[Path]) -> dict[str, Mart]:
    found: dict[str, Mart] = {}
    for folder in check_folders(folders, "marts"):
        for path in contracts_in(folder, f"[!.]*{PAIR}"):
            mart = getattr(load(path), "MART", None)
            if not isinstance(mart, Mart):
                raise ContractError(f"{path}: it defines no MART = Mart(...)")
            if path.name != mart.name + PAIR:
                raise ContractError(f"{mart.name}: its contract must be named {mart.name}{PAIR}, not {path.name}")
            if mart.name in found:
                raise ContractError(f"two marts are called {mart.name}: in {found[mart.name].home} and in {folder}")
            found[mart.name] = replace(mart, home=folder)
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
        yield from package_modules(contracts)
    for folder in check_folders((folder for folder in folders if folder != DEMO), "contracts"):
        yield from ((path, load(path)) for path in contracts_in(folder))
