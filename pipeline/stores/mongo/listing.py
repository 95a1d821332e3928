"""What a MongoDB database has by each name: plain collections, and those that can't be treated as such."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import bson

from transforms.bson.identity import hash_id

_SOURCES = ("from", "coll", "$unionWith")  # by which the stages of a view name what else they read


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
    """Tell whether it is capped, or a view that reads one that is, at whatever remove; MongoDB allows no circles."""
    options = told.get(name, {}).get("options", {})
    read = [options["viewOn"], *_sources(options.get("pipeline"))] if "viewOn" in options else []
    return bool(options.get("capped")) or any(_is_capped(one, told) for one in read)


def _sources(stages: Any) -> Iterator[str]:
    """Yield the names of the collections that the stages of a view read, such as by ``$lookup``."""
    if isinstance(stages, list):
        for one in stages:
            yield from _sources(one)
    elif isinstance(stages, Mapping):
        for name, value in stages.items():
            if name in _SOURCES and isinstance(value, str):
                yield value
            yield from _sources(value)


def _identity(options: Mapping[str, Any]) -> str:
    """Return what stands for the UUID of a view or a time series collection, which have none: how it was made."""
    return hash_id(bson.encode(options)).hex()[:32]
