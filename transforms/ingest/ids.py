"""The ``_id``s of documents as the stores have them, found out in the way that the copy takes with whole documents."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import bson
import polars as pl

from contracts.schema.entity import ID, Entity
from contracts.schema.kinds import ANY_ID, OBJECT_ID
from transforms.bson.canonical_ids import text_to_id
from transforms.bson.identity import cut_id, decode_id
from transforms.bson.layouts import Layouts
from transforms.ingest.admission import layouts_of, sort_documents
from transforms.ingest.batch import transform_batch
from transforms.ingest.type_check import find_type_violations


def to_stored_ids(raws: Iterable[bytes], entity: Entity) -> pl.Series:
    """Return the ``_id``s of documents as the stores have them, without those that no store can have.

    Args:
        raws: The BSON of each; of its ``_id`` alone is enough.
        entity: Their contract, as the stores must hold its values that are meant.
    """
    (bare, layouts), only = _of_ids_alone(entity), map(cut_id, raws)
    if layouts is None:
        lawful = b"".join(_lawful(only, bare))
    else:  # of most their bytes tell, many at once
        lawful = sort_documents(b"".join(only), layouts, lambda doubtful: {*_lawful(doubtful, bare)}).admitted
    return transform_batch(lawful, bare).frames[bare.root.name][ID]


@cache
def _of_ids_alone(entity: Entity) -> tuple[Entity, Layouts | None]:
    """Return the contract of documents of an ``_id`` alone, for the same stores, and what tells them by their bytes."""
    bare = replace(entity, fields=(), key=ID, rules=(), indexes=())
    return bare.within(entity.stores), layouts_of(replace(bare, whole=""))


def to_source_ids(ids: Iterable[Any], entity: Entity) -> list[Any]:
    """Return the ``_id``s that documents of these stored ones may bear in MongoDB.

    Args:
        ids: As the stores have them. Those that no document can bear are left out: a column of text holds any.
        entity: Their contract.
    """
    if entity.id_kind is OBJECT_ID:
        return [bson.ObjectId(one) for one in ids if bson.ObjectId.is_valid(one) and one == one.lower()]
    if isinstance(entity.id_kind.frame, pl.Decimal):
        return [bson.Decimal128(one) for one in ids]
    if entity.id_kind is ANY_ID:
        return [value for one in ids for value in _told(one)]
    return list(ids)


def _told(text: str) -> Iterator[Any]:
    with suppress(Exception):  # a column of text holds anything, and the parser knows many ways to say so
        yield text_to_id(text)


def _lawful(only: Iterable[bytes], bare: Entity) -> Iterator[bytes]:
    """Yield those of some documents of an ``_id`` alone that are of the declared kind."""
    for raw in only:
        for value in decode_id(raw):
            if next(find_type_violations({ID: value}, bare), None) is None:
                yield raw
