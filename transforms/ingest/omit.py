"""What a contract omits, cut out of documents: for those that were read before it did, and names that MongoDB can't."""

from collections.abc import Iterable
from functools import cache

from contracts.schema.entity import Entity, Field
from contracts.schema.omitted import omitted
from transforms.bson.documents import split_documents
from transforms.bson.edit import Edit, edited


def without_omitted(batch: bytes, entity: Entity) -> bytes:
    """Return a batch of documents without the fields that their contract omits.

    Args:
        batch: BSON documents, one after the other.
        entity: Their contract.
    """
    if not omitted(entity):
        return batch
    edits = _edits_of(entity)
    return b"".join(edited(raw, edits) for raw in split_documents(batch))


@cache
def _edits_of(entity: Entity) -> dict[bytes, Edit]:
    return _edits(entity.fields)


def _edits(fields: Iterable[Field]) -> dict[bytes, Edit]:
    found = {}
    for field in fields:
        inside, name = _edits(field.fields), field.name.encode()
        if field.omitted or inside:
            found[name] = Edit(None if field.omitted else name, inside, field.repeated)
    return found
