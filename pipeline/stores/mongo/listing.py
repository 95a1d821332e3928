"""What a MongoDB database has by each name: plain collections, and those that can't be treated as such."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import bson

from transforms.bson.identity import hash_id

_SOURCES = {"$lookup": "from", "$graphLookup": "from", "$unionWith": "coll"}  # what stages name another source by


@dataclass(frozen=True)
class Listed:
    """What MongoDB has by a name.

    Attributes:
        uuid: Its identity, which changes when it is dropped and made again.
        special: What it is, if it is no plain collection: sync does not follow it. A view and a time series
            collection have no change stream, and the documents of a capped one can't be read at one moment.
        is_pinned: Whether MongoDB can read it at one moment; a capped collection it can't, nor a view that reads one.
    """

    uuid: str
    special: str | None = None
    is_pinned: bool = True


def listed(found: Iterable[Mapping[str, Any]]) -> dict[str, Listed]:
    """Return what a database has by each name.

    Args:
        found: What ``listCollections`` tells of it.
    """
    told = {one["name"]: one for one in found}
    return {name: _listed(one, told) for name, one in told.items()}


def _listed(one: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> Listed:
    options, is_pinned = one.get("options", {}), not _is_capped(one["name"], told)
    if one["type"] == "view":
        return Listed(_identity(options), f"a view of {options['viewOn']}", is_pinned)
    if one["type"] == "timeseries":
        return Listed(_identity(options), "a time series collection")
    uuid = str(bson.Binary(one["info"]["uuid"], 4).as_uuid())
    return Listed(uuid, None if is_pinned else "a capped collection", is_pinned)


def _is_capped(name: str, told: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether it is capped, or a view that reads one that is, at whatever remove."""
    read, seen = [name], set()
    while read:
        if (one := read.pop()) in seen:
            continue
        seen.add(one)
        options = told.get(one, {}).get("options", {})
        if options.get("capped"):
            return True
        if "viewOn" in options:
            read += [options["viewOn"], *_sources(options.get("pipeline", ()))]
    return False


def _sources(pipeline: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of what the stages of a view read; a field may be called ``from`` as well, so only theirs."""
    for stage in pipeline:
        for name, what in stage.items():
            if name == "$unionWith" and isinstance(what, str):
                yield what
            elif name in _SOURCES:
                if isinstance(source := what.get(_SOURCES[name]), str):
                    yield source
                yield from _sources(what.get("pipeline", ()))
            elif name == "$facet":
                for inner in what.values():
                    yield from _sources(inner)


def _identity(options: Mapping[str, Any]) -> str:
    """Return what stands for the UUID of a view or a time series collection, which have none: how it was made."""
    return hash_id(bson.encode(options)).hex()[:32]
