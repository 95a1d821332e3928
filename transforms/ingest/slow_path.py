"""The slow path: documents that the gate refused, or that hold what the stores can't.

What can be held exactly is mended: undeclared fields, at any level, and values that their contract lets go aside move
into ``_extra`` by their JSON Pointer, and the rest of the document takes the same way as all others. Everything else is
refused whole, with every reason.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import polars as pl

from contracts.schema.entity import EXTRA, ID, Entity
from transforms.bson.documents import (
    TOGETHER,
    Document,
    decode_document,
    decode_documents,
    encode_documents,
    find_lossy_decoding,
    in_chunks,
    undecodable,
)
from transforms.gc_pause import gc_paused
from transforms.ingest.any_ids import shown_id
from transforms.ingest.batch import BatchResult, DecodedBatch, Refused, transform_batch, validate_batch
from transforms.ingest.drift import Key, count_drift, merge_drifts
from transforms.ingest.free_form import write_json
from transforms.ingest.further_violations import find_further_violations
from transforms.ingest.set_aside import SetAside, set_aside
from transforms.ingest.type_check import find_type_violations
from transforms.violations import KEPT, Violation, limit_violations

_TOGETHER_BYTES = 2**22  # of documents that are Python objects at one time


@dataclass(frozen=True)
class _Fit:
    """A document that fits its contract without what was set aside.

    Attributes:
        raw: Its BSON as stored.
        declared: The rest of it.
        aside: What was set aside.
    """

    raw: bytes
    declared: Document
    aside: SetAside


@dataclass(frozen=True)
class _Mended:
    """What must be known of a document that is loaded.

    Attributes:
        raw: Its BSON as stored.
        id: Its ``_id`` as the stores have it.
        drift: What was set aside, for reports.
        extra: What was set aside, as JSON.
    """

    raw: bytes
    id: str
    drift: list[Key]
    extra: str | None


@dataclass(frozen=True)
class _Unfit:
    """A document that can't be loaded.

    Attributes:
        raw: Its BSON as stored.
        reasons: Why not.
        declared: The declared part of it; None if its bytes can't be trusted.
    """

    raw: bytes
    reasons: list[Violation]
    declared: Document | None


@gc_paused()
def transform_slowly(raws: Sequence[bytes], entity: Entity, *, gated: bool = True) -> BatchResult:
    """Mend what can be mended of some documents, and refuse the others.

    Args:
        raws: The BSON of each, as stored.
        entity: Their contract.
        gated: Whether the gate refused them: then each must have a reason for that.
    """
    mended: dict[bytes, _Mended] = {}
    unfit: list[_Unfit] = []
    for some in in_chunks(raws, _TOGETHER_BYTES):
        outcomes = list(_examined(some, entity, gated=gated))
        unfit += [one for one in outcomes if isinstance(one, _Unfit)]
        fit = [one for one in outcomes if isinstance(one, _Fit)]
        mended |= zip(encode_documents([one.declared for one in fit]), _mended(fit, entity), strict=True)
    lawful = transform_batch(b"".join(mended), entity)
    # The quarantine keeps what the source has, not what became of it here.
    refused = [Refused(mended.pop(one.raw).raw, one.reasons) for one in lawful.refused]
    refused += [Refused(one.raw, one.reasons) for one in _with_further_reasons(unfit, entity)]
    frames = {**lawful.frames, entity.root.name: _with_extras(lawful.frames[entity.root.name], mended.values())}
    drift = count_drift((one.id, one.drift) for one in mended.values())
    return BatchResult(len(raws), frames, refused, sum(map(len, raws)), merge_drifts(chain(lawful.drift, drift)))


def transform_decoded(found: DecodedBatch, entity: Entity) -> BatchResult:
    """Do the second half of the way of documents that passed the gate, and mend those that hold what no store can.

    Args:
        found: The documents, decoded.
        entity: Their contract.
    """
    result = validate_batch(found, entity)
    broken = {one.raw for one in result.refused}  # also what only the reader minds, such as another binary subtype
    if not (broken and entity.keeps_misfits):
        return result
    careful = transform_slowly(list(broken), entity, gated=False)
    return BatchResult(
        result.documents,
        {name: pl.concat([frame, careful.frames[name]]) for name, frame in result.frames.items()},
        careful.refused,
        result.size,
        merge_drifts(chain(result.drift, careful.drift)),
    )


def _examined(raws: Sequence[bytes], entity: Entity, *, gated: bool) -> Iterator[_Fit | _Unfit]:
    """Yield each document with what was set aside, or the reasons against it."""
    for start in range(0, len(raws), TOGETHER):
        some = raws[start : start + TOGETHER]
        documents, _ = decode_documents(some)
        for raw, document in zip(some, documents, strict=True):
            if document is None:
                yield _Unfit(raw, _why_lost(raw, entity), None)
                continue
            declared, aside = set_aside(document, entity)
            if aside.is_broken or (gated and not aside.values):
                yield _Unfit(raw, _why_refused(document, entity), declared)
            else:
                yield _Fit(raw, declared, aside)


def _why_lost(raw: bytes, entity: Entity) -> list[Violation]:
    """Return what is wrong with a document whose bytes hold more than is decoded."""
    try:
        document = decode_document(raw)
    except Exception as error:  # whatever the decoder makes of damaged bytes, the document must be accounted for
        return [undecodable(raw, error)]
    lost = find_lossy_decoding(document, raw)
    return limit_violations([*([lost] if lost else []), *limit_violations(find_type_violations(document, entity))])


def _why_refused(document: Document, entity: Entity) -> list[Violation]:
    found = limit_violations(find_type_violations(document, entity))
    return found or [Violation("", "refused by the gate for a reason that the contract does not tell", None)]


def _with_further_reasons(unfit: Sequence[_Unfit], entity: Entity) -> Sequence[_Unfit]:
    """Return documents with the rules that they break as well."""
    suspects = [
        (one.declared, one.reasons)
        for one in unfit
        if one.declared is not None and len(one.reasons) < KEPT  # else nobody would see what else is wrong
    ]
    for (_, reasons), further in zip(suspects, find_further_violations(suspects, entity), strict=True):
        reasons[:] = limit_violations([*reasons, *further])
    return unfit


def _mended(fit: Sequence[_Fit], entity: Entity) -> Iterator[_Mended]:
    """Yield what must be known of each document, with what was set aside as JSON."""
    # Null, which no document is written as, where nothing was.
    texts = write_json([one.aside.values or None for one in fit], [one.raw for one in fit])
    for one, extra in zip(fit, texts, strict=True):
        yield _Mended(one.raw, shown_id(one.declared[ID], entity), one.aside.drift, extra)


def _with_extras(root: pl.DataFrame, mended: Iterable[_Mended]) -> pl.DataFrame:
    if EXTRA not in root.columns:  # documents are taken whole
        return root
    # By place, not by id: a result keeps the order of what is not refused, and 1.0 may be the id of row 1.
    return root.with_columns(pl.Series(EXTRA, [one.extra for one in mended], pl.String))
