"""Documents as the typed reader can address them: by the names that ``contracts.schema.mongo.readable`` gives."""

from collections.abc import Iterable
from functools import lru_cache

from contracts.schema.entity import Entity, Field
from contracts.schema.mongo import ENTRY, reader_name
from transforms.bson.documents import split_documents
from transforms.bson.edit import Edit, edited


def reshaped(batch: bytes, entity: Entity) -> bytes:
    """Return a batch of documents as ``readable(entity)`` declares them.

    Args:
        batch: BSON documents, one after the other.
        entity: Their contract.
    """
    edits = _edits_of(entity)
    if not edits:
        return batch
    return b"".join(edited(raw, edits) for raw in split_documents(batch))


@lru_cache
def _edits_of(entity: Entity) -> dict[bytes, Edit]:
    return _edits(entity.fields)


def _edits(fields: Iterable[Field]) -> dict[bytes, Edit]:
    """Return what becomes of fields; those that stay as they are, with all within them, are left out."""
    found = {}
    for field in fields:
        inside = _edits(field.fields)
        name = reader_name(field.name).encode()
        if field.keyed:
            value = reader_name(field.fields[0].name).encode() if field.bare else None
            found[field.name.encode()] = Edit(name, inside, key=ENTRY.encode(), value=value)
        elif inside or name != field.name.encode():
            found[field.name.encode()] = Edit(name, inside, field.repeated)
    return found
