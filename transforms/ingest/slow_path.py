"""The slow path: documents that the gate refused, one by one.

What can be held exactly is mended: undeclared fields, at any level, move into ``_extra`` by their JSON Pointer, and the
rest of the document takes the same way as all others. Everything else is refused whole, with every reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import bson
import polars as pl

from contracts.schema.entity import EXTRA, ID, Entity, Field
from transforms.bson.documents import Document, decode_document, find_lossy_decoding
from transforms.bson.extended_json import to_json_text
from transforms.gc_pause import gc_paused
from transforms.ingest.any_ids import shown_id
from transforms.ingest.batch import BatchResult, Refused, transform_batch
from transforms.ingest.drift import find_undeclared, merge_drifts
from transforms.ingest.further_violations import find_further_violations
from transforms.ingest.type_check import find_type_violations
from transforms.violations import KEPT, Violation, limit_violations, pointer_into


@dataclass(frozen=True)
class _Rebuilt:
    """A document whose undeclared fields were set aside.

    Attributes:
        raw: Its BSON as stored.
        declared: The BSON of its declared part.
        id: Its ``_id`` as the stores have it.
        extra: The undeclared part as JSON.
        undeclared: Where the undeclared fields stand.
    """

    raw: bytes
    declared: bytes
    id: str
    extra: str | None
    undeclared: list[str]


@gc_paused()
def transform_slowly(raws: Sequence[bytes], entity: Entity, *, gated: bool = True) -> BatchResult:
    """Mend what can be mended of some documents, and refuse the others.

    Args:
        raws: The BSON of each, as stored.
        entity: Their contract.
        gated: Whether the gate refused them: then each must have a reason for that.
    """
    mended: dict[bytes, _Rebuilt] = {}
    refused: list[Refused] = []
    suspects: list[tuple[Document, list[Violation]]] = []
    for raw in raws:
        outcome = _examine(raw, entity, gated=gated)
        if isinstance(outcome, _Rebuilt):
            mended[outcome.declared] = outcome
            continue
        document, reasons = outcome
        refused.append(Refused(raw, reasons))
        if document is not None and len(reasons) < KEPT:  # else nobody would see what else is wrong
            suspects.append((document, reasons))
    for (_, reasons), further in zip(suspects, find_further_violations(suspects, entity), strict=True):
        reasons[:] = limit_violations([*reasons, *further])
    lawful = transform_batch(b"".join(mended), entity)
    # The quarantine keeps what the source has, not what became of it here.
    refused += [Refused(mended.pop(one.raw).raw, one.reasons) for one in lawful.refused]
    root = _with_extras(lawful.frames[entity.root.name], mended.values())
    drift = (drift for one in mended.values() for drift in find_undeclared(one.undeclared, one.id))
    return BatchResult(
        len(raws),
        {**lawful.frames, entity.root.name: root},
        refused,
        sum(map(len, raws)),
        merge_drifts(chain(lawful.drift, drift)),
    )


def _examine(raw: bytes, entity: Entity, *, gated: bool) -> _Rebuilt | tuple[Document | None, list[Violation]]:
    """Return a document mended, or the reasons against it, and what it is if its bytes can be trusted."""
    try:
        document = decode_document(raw)
    except Exception as error:  # whatever the decoder makes of damaged bytes, the document must be accounted for
        return None, [Violation("", "undecodable BSON", str(error))]
    reasons: Iterable[Violation] = find_type_violations(document, entity)
    if changed := find_lossy_decoding(document, raw):
        return None, limit_violations([changed, *limit_violations(reasons)])
    aside: Document = {}
    fields = (entity.id_field, *entity.fields)
    declared = document if entity.whole else _declared_part(document, fields, "", aside)
    found = limit_violations(reasons)
    if gated and not found and not aside:
        found.append(Violation("", "refused by the gate for a reason that the contract does not tell", None))
    if found:
        return document, found
    extra = to_json_text(aside) if aside else None
    return _Rebuilt(raw, bson.encode(declared), shown_id(document[ID], entity), extra, list(aside))


def _declared_part(document: Document, fields: tuple[Field, ...], at: str, aside: Document) -> Document:
    """Return the declared fields of a document; the others are added to ``aside``, by their JSON Pointer."""
    known = {field.name: field for field in fields}
    declared: Document = {}
    for name, value in document.items():
        pointer = pointer_into(at, name)
        field = known.get(name)
        if field is None:
            aside[pointer] = value
        elif isinstance(value, dict) and field.fields:
            declared[name] = _declared_part(value, field.fields, pointer, aside)
        elif isinstance(value, list) and field.repeated:
            declared[name] = [
                _declared_part(item, field.fields, pointer_into(pointer, number), aside)
                if isinstance(item, dict)
                else item
                for number, item in enumerate(value)
            ]
        else:
            declared[name] = value
    return declared


def _with_extras(root: pl.DataFrame, mended: Iterable[_Rebuilt]) -> pl.DataFrame:
    if EXTRA not in root.columns:  # documents are taken whole
        return root
    # By place, not by id: a result keeps the order of what is not refused, and 1.0 may be the id of row 1.
    return root.with_columns(pl.Series(EXTRA, [one.extra for one in mended], pl.String))
