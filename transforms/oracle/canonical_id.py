"""``_id``s of any kind as the stores must have them: pymongo's canonical Extended JSON, in its shortest form."""

import re
from typing import Any

import bson
import orjson
from bson import json_util

from contracts.schema.special_names import SPECIAL_NAMES

# Names that tell a type; where an application has them, they bear one more $.
_OF_A_TYPE = re.compile(r"\$+(" + "|".join(SPECIAL_NAMES) + ")")


def canonical_id(value: Any) -> str:
    """Return the text of a decoded ``_id``.

    Args:
        value: As pymongo decodes it.
    """
    written = json_util.dumps(_escaped(value), json_options=json_util.CANONICAL_JSON_OPTIONS)
    return orjson.dumps(orjson.loads(written)).decode()


def _escaped(value: Any) -> Any:
    if isinstance(value, bson.Code) and value.scope is not None:
        return bson.Code(str(value), _escaped(value.scope))
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {f"${name}" if _OF_A_TYPE.fullmatch(name) else name: _escaped(one) for name, one in value.items()}
