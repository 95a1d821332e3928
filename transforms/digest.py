"""One batch of BSON on its whole way: decoded, normalised, judged."""

from collections.abc import Iterator
from dataclasses import dataclass

import bson
import polars as pl
import pyarrow as pa

from contracts.schema.entity import ID, Entity
from contracts.schema.kinds import JSON
from transforms.decode import decode, documents
from transforms.free_form import DECODING, json_texts
from transforms.normalise import normalise
from transforms.reasons import Reason
from transforms.validate import broken_rules, without


@dataclass(frozen=True)
class Refused:
    """A document that can't be loaded.

    Attributes:
        raw: Its BSON as stored.
        reasons: Every rule that it broke.
    """

    raw: bytes
    reasons: list[Reason]


@dataclass(frozen=True)
class Digest:
    """What has become of a batch.

    Attributes:
        frames: The rows to load, by the table's name.
        refused: The documents that must not be loaded.
        size: Bytes of BSON.
    """

    frames: dict[str, pl.DataFrame]
    refused: list[Refused]
    size: int


def digest(batch: bytes, entity: Entity) -> Digest:
    """Turn a batch of documents that passed the gate into rows, and set apart those that can't be.

    Args:
        batch: BSON documents, one after the other.
        entity: Their contract.
    """
    if not batch:
        return Digest({table.name: table.frame_schema.to_frame() for table in entity.tables}, [], 0)
    parts = [_judged(piece, table, entity) for piece, table in _decoded(batch, entity)]
    frames = {table.name: pl.concat([part.frames[table.name] for part in parts]) for table in entity.tables}
    return Digest(frames, [refused for part in parts for refused in part.refused], len(batch))


def _decoded(batch: bytes, entity: Entity) -> Iterator[tuple[bytes, pa.Table | None]]:
    """Yield the batch decoded or, if that fails, its halves, down to the documents that can't be decoded."""
    try:
        table = decode(batch, entity)
    except Exception:  # whatever a document holds, it must not take its neighbours down
        raws = documents(batch)
        if len(raws) == 1:
            yield batch, None
            return
        for half in (raws[: len(raws) // 2], raws[len(raws) // 2 :]):
            yield from _decoded(b"".join(half), entity)
    else:
        yield batch, table


def _judged(batch: bytes, table: pa.Table | None, entity: Entity) -> Digest:
    if table is None:
        nothing = {one.name: one.frame_schema.to_frame() for one in entity.tables}
        return Digest(nothing, [Refused(batch, [_culprit(batch)])], len(batch))
    free_form = [column for column in entity.root.columns if column.kind is JSON and column.field is not None]
    texts, unrepresentable = (
        json_texts(documents(batch), [column.path for column in free_form]) if free_form else ([], {})
    )
    columns = {column.name: pl.Series(text, dtype=pl.String) for column, text in zip(free_form, texts, strict=True)}
    frames = normalise(table, entity, columns)
    ids = frames[entity.root.name][ID].cast(pl.String)
    reasons = broken_rules(frames, entity)
    for row, reason in unrepresentable.items():
        reasons.setdefault(ids[row], []).append(reason)
    raws = documents(batch) if reasons else []
    refused = [Refused(raw, reasons[key]) for raw, key in zip(raws, ids if raws else [], strict=True) if key in reasons]
    return Digest(without(frames, set(reasons)), refused, len(batch))


def _culprit(raw: bytes) -> Reason:
    """Return why a document that passed the gate can't be decoded: no schema sees names that stand twice."""
    try:
        bson.decode(raw, DECODING)
    except Exception as error:  # whatever the decoder makes of damaged bytes, the document must be accounted for
        return Reason("", "undecodable BSON", str(error))
    return Reason("", "duplicate field names", None)
