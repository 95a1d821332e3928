"""Every reason against documents whose types are wrong already: what else of them breaks a rule."""

from collections.abc import Sequence
from typing import Any

import bson
import polars as pl

from contracts.schema.entity import ID, Entity, Field
from contracts.schema.kinds import ANY_ID, INTEGER, NUMBER, OBJECT_ID, TIMESTAMP, Kind
from transforms.bson.documents import Document, split_documents
from transforms.ingest.any_ids import to_id_texts
from transforms.ingest.decode import decode
from transforms.ingest.free_form import to_json_texts
from transforms.ingest.normalise import normalise
from transforms.ingest.validate import find_broken_rules, format_ids
from transforms.violations import Violation, pointer_into


def find_further_violations(
    suspects: Sequence[tuple[Document, list[Violation]]], entity: Entity
) -> list[list[Violation]]:
    """Return the rules that documents break beside what is wrong with their types, one list per document.

    What is wrong is left out of each document, and the rest is read and judged as all others are.

    Args:
        suspects: Documents, decoded, with the reasons that are known.
        entity: Their contract.
    """
    fields = (entity.id_field, *entity.fields)
    bad = [{reason.path for reason in reasons} for _, reasons in suspects]
    rests = [_rest(document, fields, "", wrong) for (document, _), wrong in zip(suspects, bad, strict=True)]
    for number, rest in enumerate(rests):
        if ID not in rest:
            rest[ID] = _stand_in(entity.id_kind, number)
    try:
        batch = b"".join(map(bson.encode, rests))
        frames = normalise(decode(batch, entity), entity, _beside(batch, entity))
        found = find_broken_rules(frames, entity)
    except Exception:  # these documents are refused already: no further reason is worth a run
        return [[] for _ in suspects]
    ids = format_ids(frames[entity.root.name][ID])
    return [
        [reason for reason in found.get(key, ()) if not _within(reason.path, wrong)]
        for key, wrong in zip(ids, bad, strict=True)
    ]


def _rest(document: Document, fields: tuple[Field, ...], at: str, wrong: set[str]) -> Document:
    """Return the declared fields of a document without those at the places that are wrong."""
    rest: Document = {}
    for field in fields:
        pointer, value = pointer_into(at, field.name), document.get(field.name)
        if field.kind is not None and field.kind.is_json:
            rest[field.name] = {}  # what is wrong with it is known
            continue
        if value is None or pointer in wrong or field.omitted:
            continue
        if field.keyed:
            value = {key: _entry(item, field, pointer_into(pointer, key), wrong) for key, item in value.items()}
        elif field.repeated:
            # An item that is no document leaves its place, so that the others keep theirs.
            items = [item if pointer_into(pointer, number) not in wrong else {} for number, item in enumerate(value)]
            value = [
                _rest(item, field.fields, pointer_into(pointer, number), wrong) for number, item in enumerate(items)
            ]
        elif field.fields:
            value = _rest(value, field.fields, pointer, wrong)
        elif isinstance(value, list):
            value = [item for number, item in enumerate(value) if pointer_into(pointer, number) not in wrong]
        rest[field.name] = value
    return rest


def _entry(item: Any, field: Field, at: str, wrong: set[str]) -> Any:
    """Return the value of a map's entry without what is wrong with it."""
    if at in wrong:
        return None if field.bare else {}
    return item if field.bare else _rest(item, field.fields, at, wrong)


def _stand_in(kind: Kind, number: int) -> Any:
    """Return an ``_id`` that no other document has, in place of one that is of the wrong type."""
    if kind is OBJECT_ID:
        return bson.ObjectId(number.to_bytes(12, "big"))
    if kind is TIMESTAMP:
        return bson.DatetimeMS(number - 2**62)
    if kind is NUMBER:
        return -1e300 * (1 + number / 2**20)
    return bson.Int64(number - 2**63) if kind is INTEGER else f"\uf8ff{number}"


def _beside(batch: bytes, entity: Entity) -> dict[str, dict[str, pl.Series]]:
    """Return what the reader does not read."""
    texts, _ = to_json_texts(batch, entity)
    if entity.id_kind is ANY_ID:
        texts.setdefault(entity.root.name, {})[ID], _ = to_id_texts(split_documents(batch))
    return texts


def _within(path: str, places: set[str]) -> bool:
    """Return whether a place is one of some, or inside one: it has few ancestors, whatever their number."""
    steps = path.split("/")
    return any("/".join(steps[:number]) in places for number in range(2, len(steps) + 1))
