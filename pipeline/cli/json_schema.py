"""JSON schemas of what commands print with ``--json``, made from the types of what they print.

Each says every key there is, so that a program may rely on it; a test holds real outcomes against them.
"""

import dataclasses
import inspect
import re
import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from bson import Timestamp

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_SCALARS: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    types.NoneType: {"type": "null"},
    Any: {},
    object: {},
    Path: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    Timestamp: {"type": "string", "format": "date-time"},
}


def schema_of(kind: Any) -> Schema:
    """Return the schema of a type's values, as they are printed; a schema is its own."""
    if isinstance(kind, dict):
        return kind
    if isinstance(kind, list):  # [x] stands for an array of x
        return {"type": "array", "items": schema_of(kind[0])}
    if isinstance(kind, tuple):  # a type, and what it says
        return {**schema_of(kind[0]), "description": kind[1]}
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return record(kind)
    return _of_generic(kind)


def _of_generic(kind: Any) -> Schema:
    origin, given = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one) for one in given]}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(given[1])}
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        return {"type": "array", "items": schema_of(given[0])}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": [one.value for one in kind]}
    raise TypeError(f"{kind} has no schema")


def record(*kinds: type, **keys: Any) -> Schema:
    """Return the schema of an object: the attributes of dataclasses, and further keys, all of which are there."""
    found: dict[str, Schema] = {}
    for kind in kinds:
        meanings, hints = meanings_of(kind), get_type_hints(kind)
        for one in dataclasses.fields(kind):
            says = {"description": meanings[one.name]} if one.name in meanings else {}
            found[one.name] = {**schema_of(hints[one.name]), **says}
    found |= {name: schema_of(kind) for name, kind in keys.items()}
    return {"type": "object", "properties": found, "required": [*found], "additionalProperties": False}


def meanings_of(kind: type) -> dict[str, str]:
    """Return what a class's docstring says of each attribute."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:")[2]
    found = _ATTRIBUTE.findall(section)
    return {name: re.sub(r"\s+", " ", meaning).replace("``", "`") for name, meaning in found}
