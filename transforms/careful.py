"""The careful lane: documents that the gate refused, one by one.

What can be held exactly is mended: undeclared fields, at any level, move into ``_extra`` by their JSON Pointer, and the
rest of the document takes the same way as all others. Everything else is refused whole, with every reason.
"""

from collections.abc import Sequence
from typing import Any

import bson
import polars as pl

from contracts.schema.entity import EXTRA, ID, Entity, Field
from transforms.digest import Digest, Refused, digest
from transforms.explain import explain
from transforms.free_form import DECODING, UnrepresentableError, json_text
from transforms.reasons import Reason, escaped

Document = dict[str, Any]


def careful(raws: Sequence[bytes], entity: Entity) -> Digest:
    """Mend what can be mended of some documents, and refuse the others.

    Args:
        raws: The BSON of each, as stored.
        entity: Their contract.
    """
    mended: dict[bytes, tuple[bytes, str | None]] = {}
    refused: list[Refused] = []
    for raw in raws:
        outcome = _examined(raw, entity)
        if isinstance(outcome, list):
            refused.append(Refused(raw, outcome))
        else:
            document, extra = outcome
            mended[document] = (raw, extra)
    lawful = digest(b"".join(mended), entity)
    # The quarantine keeps what the source has, not what became of it here.
    refused += [Refused(mended[one.raw][0], one.reasons) for one in lawful.refused]
    frames = dict(lawful.frames)
    frames[entity.root.name] = _with_extras(frames[entity.root.name], mended)
    return Digest(frames, refused, sum(map(len, raws)))


def _examined(raw: bytes, entity: Entity) -> tuple[bytes, str | None] | list[Reason]:
    """Return a document's declared part and its ``_extra``, or the reasons against it."""
    try:
        document = bson.decode(raw, DECODING)
    except Exception as error:  # whatever the decoder makes of damaged bytes, the document must be accounted for
        return [Reason("", "undecodable BSON", str(error))]
    reasons = explain(document, entity)
    if len(bson.encode(document)) != len(raw):
        return [*reasons, Reason("", "duplicate field names", None)]
    undeclared: Document = {}
    declared = _declared_part(document, (entity.id_field, *entity.fields), "", undeclared)
    try:
        extra = json_text(undeclared) if undeclared else None
    except UnrepresentableError as error:
        reasons.append(error.reason)
    if not reasons and not undeclared:
        reasons.append(Reason("", "refused by the gate for a reason that the contract does not tell", None))
    return reasons or (bson.encode(declared), extra)


def _declared_part(document: Document, fields: tuple[Field, ...], at: str, undeclared: Document) -> Document:
    """Return the declared fields of a document; the others are added to ``undeclared``, by their JSON Pointer."""
    known = {field.name: field for field in fields}
    declared: Document = {}
    for name, value in document.items():
        pointer = f"{at}/{escaped(name)}"
        field = known.get(name)
        if field is None:
            undeclared[pointer] = value
        elif isinstance(value, dict) and field.fields:
            declared[name] = _declared_part(value, field.fields, pointer, undeclared)
        elif isinstance(value, list) and field.repeated:
            declared[name] = [
                _declared_part(item, field.fields, f"{pointer}/{number}", undeclared)
                if isinstance(item, dict)
                else item
                for number, item in enumerate(value)
            ]
        else:
            declared[name] = value
    return declared


def _with_extras(root: pl.DataFrame, mended: dict[bytes, tuple[bytes, str | None]]) -> pl.DataFrame:
    extras = {str(bson.decode(document, DECODING)[ID]): extra for document, (_, extra) in mended.items()}
    if not extras:
        return root
    return root.with_columns(
        pl.col(ID).cast(pl.String).replace_strict(extras, default=None, return_dtype=pl.String).alias(EXTRA)
    )
