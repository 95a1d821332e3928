"""The ``_id``s of many documents, of any kind, as the texts that the stores have."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from contracts.schema.entity import ID, Entity
from contracts.schema.kinds import ANY_ID
from transforms.bson.canonical_ids import id_to_text
from transforms.bson.documents import TOGETHER, decode_documents
from transforms.bson.identity import cut_id
from transforms.gc_pause import gc_paused
from transforms.violations import Violation


@gc_paused()
def to_id_texts(raws: Sequence[bytes]) -> tuple[pl.Series, dict[int, Violation]]:
    """Write the ``_id``s of documents as canonical Extended JSON.

    Args:
        raws: The BSON of each.

    Returns:
        The texts, in which something that no ``_id`` is stands for one that can't be told; and by the document's place
        the reason for that.
    """
    texts: list[str] = []
    refused: dict[int, Violation] = {}
    for start in range(0, len(raws), TOGETHER):
        values, reasons = decode_documents([cut_id(raw) for raw in raws[start : start + TOGETHER]])
        texts += [f"#{start + n}" if one is None else id_to_text(one[ID]) for n, one in enumerate(values)]
        refused |= {start + number: reason for number, reason in reasons.items()}
    return pl.Series(ID, texts, pl.String), refused


def shown_id(value: Any, entity: Entity) -> str:
    """Return a decoded ``_id`` as a text: as the stores have it, about.

    Args:
        value: What :func:`transforms.bson.documents.decode_document` makes of it.
        entity: The contract of its document.
    """
    return id_to_text(value) if entity.id_kind is ANY_ID else str(value)
