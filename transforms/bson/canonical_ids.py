"""``_id``s of any kind as canonical Extended JSON, which is another text for each value, and back.

Unlike the JSON of a document's fields the text tells types apart (an int from a long), and keeps the order of names: a
subdocument with the same fields in another order is another ``_id``.
"""

from typing import Any

import bson
import orjson
from bson import DatetimeMS, json_util
from bson.codec_options import DatetimeConversion

from contracts.schema.special_names import is_special
from transforms.bson.extended_json import extended

_CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, datetime_conversion=DatetimeConversion.DATETIME_MS
)


def id_to_text(value: Any) -> str:
    """Return an ``_id`` as canonical Extended JSON; a name that would read as a type there gets one more ``$``.

    Args:
        value: What :func:`transforms.bson.documents.decode_document` makes of it.
    """
    if type(value) is str:
        return orjson.dumps(value).decode()
    if isinstance(value, dict):
        return "{" + ",".join(f"{id_to_text(_escaped(name))}:{id_to_text(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(id_to_text, value)) + "]"
    return orjson.dumps(_extended(value)).decode()


def text_to_id(text: str) -> Any:
    """Return the ``_id`` that a text tells.

    Args:
        text: What :func:`id_to_text` made of it.

    Raises:
        Exception: It is no such text; the parser knows many ways.
    """
    value = json_util.loads(text, json_options=_CANONICAL, object_pairs_hook=_read)
    if id_to_text(value) != text:
        raise ValueError("not what would be written")
    return value


def _extended(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return {"$numberDouble": {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(repr(value), repr(value))}
    if isinstance(value, int):
        return {"$numberLong" if isinstance(value, bson.Int64) else "$numberInt": str(int(value))}
    if isinstance(value, DatetimeMS):
        return {"$date": {"$numberLong": str(int(value))}}
    if isinstance(value, bson.Code):
        scope = {} if value.scope is None else {"$scope": orjson.Fragment(id_to_text(value.scope))}
        return {"$code": str(value), **scope}
    return extended(value)


def _escaped(name: str) -> str:
    return f"${name}" if is_special(name) else name


def _read(pairs: list[tuple[str, Any]]) -> Any:
    if any(is_special(name) and not is_special(name[1:]) for name, _ in pairs):
        return json_util.object_hook(dict(pairs), _CANONICAL)
    return {name[1:] if is_special(name) else name: one for name, one in pairs}
