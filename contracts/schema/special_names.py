"""The names that mean something in the JSON of documents of any shape."""

# By what stands behind the dollar what it says, for the data dictionary. The last ones are never written, but other
# readers of Extended JSON take them for values all the same.
SPECIAL_NAMES: dict[str, str] = {
    "oid": 'an ObjectId: `{"$oid":"5f5f..."}`',
    "date": 'a moment: `{"$date":"2024-02-29T12:00:00.5Z"}`; outside 1970 to 9999 by its milliseconds since 1970, '
    '`{"$date":{"$numberLong":"-1"}}`',
    "numberLong": "those milliseconds",
    "numberDecimal": 'a Decimal128: `{"$numberDecimal":"1.10"}`',
    "numberDouble": 'a double that JSON or `jsonb` lacks: `"NaN"`, `"Infinity"`, `"-Infinity"` or `"-0.0"`',
    "text": 'a text with a NUL character, as Base64 of its UTF-8: `{"$text":{"base64":"YQBi"}}`',
    "binary": 'bytes: `{"$binary":{"base64":"...","subType":"04"}}`',
    "regularExpression": 'a regular expression: `{"$regularExpression":{"pattern":"^a","options":"i"}}`',
    "code": 'JavaScript: `{"$code":"..."}`',
    "scope": "beside `$code`: the values that it is given",
    "timestamp": 'MongoDB\'s own timestamp: `{"$timestamp":{"t":1,"i":2}}`',
    "minKey": "less than all other values: `1`",
    "maxKey": "greater than all other values: `1`",
    "numberInt": "",
    "uuid": "",
    "symbol": "",
    "undefined": "",
    "dbPointer": "",
    "regex": "",
}


def is_special(name: str) -> bool:
    """Return whether a name means something in JSON, or would if it had fewer dollars."""
    return name.startswith("$") and name.lstrip("$") in SPECIAL_NAMES
