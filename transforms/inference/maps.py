"""Which documents are maps, whose names are data, or have else no shape that columns could have."""

import re
from collections.abc import Iterable

from contracts.schema.entity import ID
from transforms.inference.evidence import KEYS, Evidence
from transforms.inference.majority import NUMBERS, number_word

DEPTH = 4  # levels of subdocuments that become columns; what is deeper is a document of any shape
_FEW_KEYS, _SELDOM = 10, 0.1  # a map has so many keys at least, each in so few documents on average
_IS_A_MAP = "so it is a map"
_LIKE_AN_ID = re.compile(  # numbers, days and months, ObjectIds, hashes, UUIDs
    r"\d+|\d{4}-\d\d(-\d\d)?|[0-9a-fA-F]{24}|[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)


def why_any_shape(evidence: Evidence, depth: int) -> str:
    """Return why documents are better kept as JSON than as columns; nothing if they are not.

    Args:
        evidence: What was seen of them.
        depth: How many levels are above them.
    """
    keys, documents = evidence.fields, evidence.count("document")
    if len(keys) >= KEYS and evidence.unread:
        return f"it has more than {KEYS:,} keys, {_IS_A_MAP}"
    if keys and all(map(_LIKE_AN_ID.fullmatch, keys)):
        return f"its keys look like ids, {_IS_A_MAP}"
    if evidence.unread:
        return "it is very deep, or has very many or very long names, so that not all of it was looked at"
    if not keys:
        return "only empty documents were seen so far"
    if depth >= DEPTH:
        return f"it is more than {DEPTH} levels deep"
    if len(keys) >= _FEW_KEYS and sum(one.present for one in keys.values()) < _SELDOM * len(keys) * documents:
        return f"it has {len(keys):,} keys, each in few documents, {_IS_A_MAP}"
    return ""


def why_whole(root: Evidence) -> str:
    """Return why a collection's documents are themselves maps; nothing if they are not.

    A few keys that many documents have are enough to be columns: one odd document makes no map of all others.

    Args:
        root: What was seen of the documents.
    """
    keys = [one.present for name, one in root.fields.items() if name != ID]
    if len(keys) < _FEW_KEYS or max(keys) >= _SELDOM * root.count("document"):
        return ""
    return f"they have {'more than ' if root.unread else ''}{len(keys):,} keys, each in few documents"


def is_a_map(why: str) -> bool:
    """Return whether that is why documents are kept as JSON.

    Args:
        why: What :func:`why_any_shape` said of them.
    """
    return why.endswith(_IS_A_MAP)


def kind_of_entries(values: Iterable[Evidence]) -> str:
    """Return by what the entries of a map can be declared in ``map_of``, as Python.

    Args:
        values: What was seen of each entry.
    """
    seen = list(values)
    types = {name for one in seen for name in one.types} - {"null"}
    if types == {"document"}:
        return "..."
    if types and types <= NUMBERS:
        words = {*map(number_word, seen)}
        whole = words == {"integer"}
        return "INTEGER" if whole else "NUMBER" if words <= {"integer", "number"} and "long" not in types else "ANY"
    only = next(iter(types)) if len(types) == 1 else ""
    return {"text": "TEXT", "boolean": "BOOLEAN", "ObjectId": "OBJECT_ID"}.get(only, "ANY")
