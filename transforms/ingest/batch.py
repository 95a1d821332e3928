"""One batch of BSON on its whole way: decoded, normalised, validated."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import polars as pl
import pyarrow as pa

from contracts.schema.entity import ID, Entity
from contracts.schema.kinds import ANY_ID
from transforms.bson.documents import decode_document, find_lossy_decoding, split_documents, undecodable
from transforms.bson.layouts import Located
from transforms.ingest.any_ids import to_id_texts
from transforms.ingest.decode import decode
from transforms.ingest.drift import Drift, find_new_values
from transforms.ingest.free_form import to_json_texts
from transforms.ingest.further_violations import find_further_violations
from transforms.ingest.held_alone import find_held_alone
from transforms.ingest.nan import restore_nan
from transforms.ingest.normalise import normalise
from transforms.ingest.type_check import find_type_violations
from transforms.ingest.validate import drop_documents, find_broken_rules, format_ids
from transforms.violations import Violation, limit_violations


@dataclass(frozen=True)
class Refused:
    """A document that can't be loaded.

    Attributes:
        raw: Its BSON as stored.
        reasons: Every rule that it broke.
    """

    raw: bytes
    reasons: list[Violation]


@dataclass(frozen=True)
class BatchResult:
    """What has become of a batch.

    Attributes:
        documents: How many there were.
        frames: The rows to load, by the table's name.
        refused: The documents that must not be loaded.
        size: Bytes of BSON.
        drift: In what the loaded documents go beyond their contract.
    """

    documents: int
    frames: dict[str, pl.DataFrame]
    refused: list[Refused]
    size: int
    drift: list[Drift]


@dataclass(frozen=True)
class DecodedBatch:
    """A batch as the typed reader sees it, and beside it the JSON fields, which the reader has no type for.

    Attributes:
        batch: The BSON of the documents that it can decode, one after the other.
        table: Those documents.
        texts: Their JSON fields, by table and column, and with them their ``_id``s, where those may be of any kind.
        refused: The documents that can't be decoded.
        size: Bytes of BSON of all of them.
    """

    batch: bytes
    table: pa.Table
    texts: dict[str, dict[str, pl.Series]]
    refused: list[Refused]
    size: int


def transform_batch(batch: bytes, entity: Entity) -> BatchResult:
    """Turn a batch of documents that passed the gate into rows, and set apart those that can't be.

    Args:
        batch: BSON documents, one after the other.
        entity: Their contract.
    """
    return validate_batch(decode_batch(batch, entity), entity)


def decode_batch(batch: bytes, entity: Entity, located: Located | None = None) -> DecodedBatch:
    """Do the first half of the way: decode the documents, and find those that can't be.

    Args:
        batch: BSON documents, one after the other.
        entity: Their contract.
        located: Where values begin, if that is known.
    """
    pieces, culprits = [], []
    for piece, table in _decode_or_halve(batch, entity, located):
        if table is None:
            culprits.append(Refused(piece, _why_undecodable(piece, entity)))
        else:
            pieces.append((piece, table))
    if len(pieces) == 1:
        ((whole, table),) = pieces
    else:
        whole = b"".join(piece for piece, _ in pieces)
        table = pa.concat_tables([decode(b"", entity), *(table for _, table in pieces)])
    texts, lossy = to_json_texts(whole, entity, None if culprits else located)
    if entity.id_kind is ANY_ID:
        texts.setdefault(entity.root.name, {})[ID], unknown = to_id_texts(split_documents(whole))
        lossy |= unknown
    if not lossy:
        return DecodedBatch(whole, table, texts, culprits, len(batch))
    raws = split_documents(whole)
    rest = decode_batch(b"".join(raw for number, raw in enumerate(raws) if number not in lossy), entity)
    found = _with_further([raws[number] for number in lossy], list(lossy.values()), entity)
    return replace(rest, refused=[*rest.refused, *culprits, *found], size=len(batch))


def validate_batch(found: DecodedBatch, entity: Entity) -> BatchResult:
    """Do the second half of the way: normalise the documents, and refuse those that break a rule.

    Args:
        found: The documents, decoded.
        entity: Their contract.
    """
    frames, refused = _validate(found, entity)
    refused += found.refused
    made = len(frames[entity.root.name]) + len(refused)
    drift = [*find_new_values(frames, entity.tables), *find_held_alone(frames, entity.tables)]
    return BatchResult(made, frames, refused, found.size, drift)


def _decode_or_halve(
    batch: bytes, entity: Entity, located: Located | None = None
) -> Iterator[tuple[bytes, pa.Table | None]]:
    """Yield the batch decoded or, if that fails, its halves, down to the documents that can't be decoded."""
    try:
        table = decode(batch, entity, located)
    except Exception:  # whatever a document holds, it must not take its neighbours down
        raws = split_documents(batch)
        if len(raws) == 1:
            yield batch, None
            return
        for half in (raws[: len(raws) // 2], raws[len(raws) // 2 :]):
            yield from _decode_or_halve(b"".join(half), entity)
    else:
        yield batch, table


def _validate(found: DecodedBatch, entity: Entity) -> tuple[dict[str, pl.DataFrame], list[Refused]]:
    """Normalise decoded documents, and set apart those whose values break a rule."""
    frames = restore_nan(normalise(found.table, entity, found.texts), found.batch, entity)
    ids = format_ids(frames[entity.root.name][ID])
    reasons = find_broken_rules(frames, entity)
    if not reasons:
        return frames, []
    raws = split_documents(found.batch)
    refused = [
        Refused(raw, limit_violations(reasons[key])) for raw, key in zip(raws, ids, strict=True) if key in reasons
    ]
    return drop_documents(frames, set(reasons)), refused


def _with_further(raws: Sequence[bytes], reasons: Sequence[Violation], entity: Entity) -> list[Refused]:
    """Return documents that can't be decoded without loss, with the rules that what is decoded of them breaks."""
    refused = [Refused(raw, [reason]) for raw, reason in zip(raws, reasons, strict=True)]
    suspects = []
    for one in refused:
        with suppress(Exception):  # whatever the decoder makes of damaged bytes
            suspects.append((decode_document(one.raw), one.reasons))
    for (_, known), further in zip(suspects, find_further_violations(suspects, entity), strict=True):
        known[:] = limit_violations([*known, *further])
    return refused


def _why_undecodable(raw: bytes, entity: Entity) -> list[Violation]:
    """Return why a document that passed the gate can't be decoded: it sees neither names twice nor binary subtypes."""
    try:
        document = decode_document(raw)
    except Exception as error:  # whatever the decoder makes of damaged bytes, the document must be accounted for
        return [undecodable(raw, error)]
    lossy = find_lossy_decoding(document, raw)
    found = [*([lossy] if lossy else []), *find_type_violations(document, entity)]
    return limit_violations(found) or [Violation("", "the typed reader can't decode it", None)]
