"""What is not there: collections that MongoDB lacks, or that are no plain ones and so can't be copied or followed."""

import logging
from collections.abc import Container, Iterable, Mapping

from pipeline import control
from pipeline.connections import Connections
from pipeline.control import Publication, quarantine
from pipeline.errors import UsageError
from pipeline.runs.published import REPLICA
from pipeline.stores.source import Source

_UNPINNED = (
    ", which MongoDB can't read at one moment; etl replicate {} --without-snapshot copies it all the same, each "
    "document as it is at some moment of the read"
)
log = logging.getLogger(__name__)


def find_unpinned(
    connections: Connections, names: Iterable[str], *, named: bool, accepted: Container[str] = ()
) -> dict[str, UsageError | None]:
    """Return which collections MongoDB can't read at one moment, such as capped ones, and why they are left alone.

    Args:
        connections: The open connections.
        names: Names of the collections.
        named: Whether the user has named them; then one that is left alone is an error, and not a warning.
        accepted: Those of which it is accepted that they are read without a snapshot: these are not left alone.

    Raises:
        UsageError: A named collection can't be read at one moment, and that is not accepted.
    """
    listed, where = connections.mongo.listed(), connections.mongo.database_of
    found: dict[str, UsageError | None] = {}
    for name in names:
        if name not in listed or listed[name].is_pinned:
            continue
        told = f"{name} is {listed[name].special} in the MongoDB database {where(name)!r}"
        found[name] = None if name in accepted else UsageError(f"{told}{_UNPINNED.format(name)}")
    for error in filter(None, found.values()):
        if named:
            raise UsageError(f"{error}; nothing was done")
        log.warning("%s; it was left out", error)
    return found


def find_unfollowed(connections: Connections, names: Iterable[str], *, named: bool) -> list[str]:
    """Return the collections that sync does not follow, though they are copied: views, time series, capped ones.

    Args:
        connections: The open connections.
        names: Names of the collections.
        named: Whether the user has named them; then one is an error, and not left out with a word.

    Raises:
        UsageError: A named one can't be followed.
    """
    listed = connections.mongo.listed()
    found = [name for name in names if name in listed and listed[name].special]
    for name in found:
        is_pinned = listed[name].is_pinned
        why = "which has no change stream" if is_pinned else "whose documents can't be read at one moment"
        told, again = f"{name} is {listed[name].special}, {why}", "" if is_pinned else " --without-snapshot"
        if named:
            raise UsageError(f"{told}; nothing was done; etl replicate {name}{again} copies it anew")
        log.warning("%s; it stays as it is until the next etl replicate%s", told, again)
    return found


def choose_copied(
    connections: Connections,
    found: Mapping[str, Source],
    targets: Iterable[str],
    *,
    named: bool,
    allow_missing: bool,
) -> list[str]:
    """Return which collections a full copy copies: those that are there, and as empty what is absent on purpose.

    What was published as empty is published as empty again, and what was never published is left out.
    Within the caller's transaction.

    Args:
        connections: The open connections.
        found: Where collections are now; one that is not there has no UUID.
        targets: Names of the targets.
        named: Whether the user has named the collections.
        allow_missing: Whether all that are not there are copied as empty.

    Raises:
        UsageError: A collection is not there that was named, or of which documents are published.
    """
    absent = [name for name, source in found.items() if not source.uuid]
    shown = [one for one in control.publications(connections.postgres, absent) if one.target in targets]
    if not allow_missing:
        _check_present(connections, absent if named else [one.name for one in shown if _holds(connections, one)], named)
    published = {one.name for one in shown}
    empty = [name for name in absent if allow_missing or name in published]
    left_out = [name for name in absent if name not in empty]
    for names, what in ((empty, "copied as empty"), (left_out, "left out")):
        if names:
            log.warning("%s, since they are %s", what, _not_there(connections, names))
    return [name for name in found if name not in left_out]


def _holds(connections: Connections, one: Publication) -> bool:
    """Return whether a document is published or in quarantine."""
    (target,), root = connections.targets([one.target]), connections.entities[one.name].root
    is_published = any(target.count_published(REPLICA, [root], 1).values())
    return is_published or bool(quarantine.size(connections.postgres, one.name))


def _check_present(connections: Connections, names: Iterable[str], named: bool) -> None:
    if absent := list(dict.fromkeys(names)):
        raise UsageError(
            f"{_not_there(connections, absent)}{'' if named else ', but their documents are published'}; nothing was "
            "copied; check ETL_MONGO_DATABASE and the contract, restore what was dropped or renamed, or publish it as "
            "empty by --allow-missing"
        )


def _not_there(connections: Connections, names: Iterable[str]) -> str:
    absent = list(names)
    databases = dict.fromkeys(map(connections.mongo.database_of, absent))
    within = f"the MongoDB database {next(iter(databases))!r}" if len(databases) == 1 else "their MongoDB databases"
    return f"not in {within}: {', '.join(absent)}"
