"""Whether MongoDB, as it is named now, is where what is published was copied from."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Publication
from pipeline.errors import SnapshotError, UsageError
from pipeline.stores.source import Source, told_apart

log = logging.getLogger(__name__)


def read_sources(connections: Connections, names: Iterable[str]) -> dict[str, Source]:
    """Return where collections are now; one that isn't there has no UUID."""
    wanted, where = list(names), connections.mongo.database_of
    here, uuids = connections.mongo.source(), connections.mongo.uuids(wanted)
    return {name: replace(here, database=where(name), uuid=uuids.get(name)) for name in wanted}


def check_same_source(connections: Connections, now: Mapping[str, Source], targets: Iterable[str]) -> None:
    """Refuse to touch what was copied from elsewhere: its changes are not known here, and its rows are not there.

    Within the caller's transaction. Books that don't tell where a collection was copied from take what is there now.

    Args:
        connections: The open connections.
        now: Where the collections are now, as :func:`read_sources` returned it.
        targets: Names of the targets that count.

    Raises:
        UsageError: A collection is published from another server or database.
    """
    wanted, untold = set(targets), defaultdict(list)
    for one in control.publications(connections.postgres, now):
        if one.target in wanted:
            if one.source is None:
                untold[one.name].append(one.target)
            elif one.source.is_other(now[one.name]):
                raise UsageError(_two_sources(one, one.source, now[one.name]))
    for name, where in untold.items():
        control.record_source(connections.postgres, name, where, now[name])
    if untold:
        log.warning(
            "the books did not tell where %s was copied from; from now on it is %s",
            ", ".join(untold),
            next(iter(now.values())),
        )


def check_sources(
    connections: Connections, names: Iterable[str], targets: Iterable[str] = TARGETS
) -> dict[str, Source]:
    """Refuse to go on with published collections that are not there as they were copied; return where they are.

    In a transaction of its own.

    Args:
        connections: The open connections.
        names: Names of the collections.
        targets: Names of the targets that count.

    Raises:
        UsageError: A collection is published from another server or database.
        SnapshotError: A collection was dropped or renamed, and another one bears its name.
    """
    now, wanted = read_sources(connections, names), set(targets)
    with connections.postgres.transaction():
        check_same_source(connections, now, wanted)
        for one in control.publications(connections.postgres):
            counts = one.name in now and one.target in wanted
            if counts and one.source and one.source.is_made_anew(now[one.name]):
                raise SnapshotError(f"the collection {one.name} was dropped or renamed; run etl replicate")
    return now


def _two_sources(one: Publication, was: Source, now: Source) -> str:
    there, here = told_apart(was, now)
    return (
        f"{one.name} in {one.target} was copied from {there}, but ETL_MONGO_URI and ETL_MONGO_DATABASE name {here}; "
        "nothing was done; set them right, or take the new source over on purpose by etl replicate --new-source"
    )
