"""What follows from the evidence: for each field a word that holds it exactly.

Nothing is coerced. A type that half of the values have, or more, decides, and the others are misfits that are kept in
``_extra``. What no word of one type holds is JSON, with the reason. Only a field that no column can be had for stays
undeclared; then it is kept in ``_extra``, by its JSON Pointer.
"""

from dataclasses import dataclass

from contracts.schema.entity import ID, TEXT_KEY_CHARACTERS
from contracts.schema.flatten import column_name
from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT
from contracts.schema.kinds import DECIMAL_DIGITS, UUID
from transforms.inference.evidence import Evidence
from transforms.inference.majority import NUMBERS, find_misfits, has_half, misfits_of, number_word, winning_type
from transforms.inference.maps import why_any_shape
from transforms.inference.names import COLUMNS, Columns, Tables

_ARRAYS = {  # by the word for one, the word for an array of them
    "text": "texts",
    "integer": "integers",
    "number": "numbers",
    "decimal": "decimals",
    "boolean": "booleans",
    "timestamp": "timestamps",
    "object_id": "object_ids",
}
ANY_ID = "any_id()"  # as Python
_BINARY, _SUBTYPE = ("binary", UUID.name), "binary of subtype "  # how the names of their kinds begin


@dataclass(frozen=True)
class Word:
    """By what a field is declared.

    Attributes:
        name: The word.
        arguments: What follows the description, as Python.
    """

    name: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What a field should be.

    Attributes:
        name: The field's name.
        path: Where it stands, the name included.
        evidence: What was seen there.
        parents: How many documents or items could have it.
        word: By what it is declared; None if it stays undeclared.
        why: The reason, where it is not plain from the evidence.
        required: Whether null and missing are unlawful.
        fields: What is within it.
        alias: What it is called in the names of columns and tables, if not by its name.
        misfits: What was seen that the word does not hold, with counts.
    """

    name: str
    path: tuple[str, ...]
    evidence: Evidence
    parents: int
    word: Word | None
    why: str = ""
    required: bool = False
    fields: tuple["Proposal", ...] = ()
    alias: str = ""
    misfits: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """Where fields are decided upon.

    Attributes:
        path: Of the document that they are in, within the collection's documents.
        prefix: What the fields above are called within the table's columns.
        columns: The table's.
        tables: All.
        strict: Whether what every document has is required.
        in_item: Whether the document is an item of an array.
    """

    path: tuple[str, ...]
    prefix: tuple[str, ...]
    columns: Columns
    tables: Tables
    strict: bool
    in_item: bool = False


def decide(root: Evidence, stem: str, tables: Tables, *, strict: bool = False) -> tuple[Proposal, ...]:
    """Decide what each field of a collection's documents should be, ``_id`` aside.

    Args:
        root: What was seen of the documents.
        stem: Name of the root table.
        tables: The names that are taken; those of the child tables are added.
        strict: Whether what every document has is required.
    """
    return _fields(root, _Place((), (), Columns.of_root(stem), tables, strict))


def decide_id(evidence: Evidence) -> str:
    """Return the kind of ``_id``, as Python: of one type its own, where both stores hold it, else any.

    Args:
        evidence: What was seen of ``_id``.
    """
    types = set(evidence.types)
    if types == {"ObjectId"}:
        return "OBJECT_ID"
    if types == {"text"} and evidence.longest <= TEXT_KEY_CHARACTERS:
        return "TEXT"
    if types == {"date"} and _is_in_range(evidence):
        return "TIMESTAMP"
    word = _number(evidence) if types <= NUMBERS and not evidence.not_finite else None
    return word.name.upper() if isinstance(word, Word) else ANY_ID


def describe_types(evidence: Evidence) -> str:
    """Return the types that were seen, with their numbers, the most frequent first."""
    return ", ".join(f"{seen.count:,} {name}" for name, seen in evidence.ranked)


def _fields(parent: Evidence, place: _Place) -> tuple[Proposal, ...]:
    names = [name for name in parent.fields if place.path or name != ID]
    if len(names) > COLUMNS:  # not all can have one: those that most documents have come first
        names.sort(key=lambda name: -parent.fields[name].present)
    documents = parent.count("document")
    found = {name: _field(name, parent.fields[name], documents, place) for name in names}
    return tuple(found[name] for name in parent.fields if name in found)


def _field(name: str, evidence: Evidence, parents: int, place: _Place) -> Proposal:
    path = (*place.path, name)
    fields: tuple[Proposal, ...] = ()
    label = name
    found: Word | str
    why = ""
    winner = winning_type(evidence)
    if winner == "document":
        found, fields, label = _document(name, evidence, place)
    elif winner == "array":
        found, fields, label = _array(name, evidence, place)
    elif not set(evidence.types) - {"null"}:
        found = "it was only null so far"
    elif not winner:
        found = f"it holds several types, none in half of the values: {describe_types(evidence)}"
    else:
        found = _by_majority(evidence, winner)
    if isinstance(found, str):  # no word of one type holds it, but JSON holds anything
        why = found
        found = Word("json")
    misfits = find_misfits(evidence, winner, found.name)
    required = place.strict and evidence.present == parents and not evidence.count("null") and not misfits
    if found.name not in ("subdocument", "documents"):
        found, label = _with_columns(found, name, place)
    if isinstance(found, str):
        return Proposal(name, path, evidence, parents, None, found)
    alias = label if label != name else ""
    return Proposal(name, path, evidence, parents, found, why, required, fields, alias, misfits)


def _with_columns(word: Word, name: str, place: _Place) -> tuple[Word | str, str]:
    """Return the word, or why no columns can be had for it, and what the field is called in their names."""
    suffixes = ("", "_count") if word.name in _ARRAYS.values() else ("",)
    label = next(place.columns.labels(place.prefix, name, *suffixes, in_item=place.in_item), name)
    column = column_name((*place.prefix, label), in_item=place.in_item)
    return place.columns.take(*(column + suffix for suffix in suffixes)) or word, label


def _scalar(evidence: Evidence, types: set[str]) -> Word | str:
    if types <= NUMBERS:
        return _number(evidence)
    if len(types) > 1:
        return f"it holds several types: {describe_types(evidence)}"
    (only,) = types
    if only == "date" and not _is_in_range(evidence):
        return f"it holds dates outside {FIRST_MOMENT.year} to {LAST_MOMENT.year}, which ClickHouse can't hold"
    if only == "decimal":
        if evidence.fits_decimal:
            return Word("decimal", (str(DECIMAL_DIGITS), str(evidence.scale)))
        return f"no decimal of {DECIMAL_DIGITS} digits holds all that was seen"
    plain = {"text": "text", "boolean": "boolean", "date": "timestamp", "ObjectId": "object_id"}
    plain |= {UUID.name: "uuid", "binary": "binary"}
    if only.startswith(_SUBTYPE) and int(only.removeprefix(_SUBTYPE)) != UUID.subtype:
        return Word("binary", (f"subtype={only.removeprefix(_SUBTYPE)}",))
    return Word(plain[only]) if only in plain else f"there is no word for {only}"


def _by_majority(evidence: Evidence, winner: str) -> Word | str:
    """Return the word for scalars of a type that half of the values have: what it does not hold goes aside."""
    if winner == "number":
        found = _number(evidence)
        if isinstance(found, Word):
            return found
        # There are fractions, and longs: the one or the other goes aside.
        word = "number" if has_half(evidence, misfits_of(evidence, "number")) else "integer"
        return Word(word) if has_half(evidence, misfits_of(evidence, word)) else found
    if winner.startswith(_BINARY) and sum(one.startswith(_BINARY) for one in evidence.types) > 1:
        # One by one they would leave the fast path, which takes a batch for lawful that the gate lets through.
        return f"it holds binary data of several subtypes, which the gate can't tell apart: {describe_types(evidence)}"
    exact = _scalar(evidence, {winner})
    if isinstance(exact, Word):
        return exact
    if winner == "date" and has_half(evidence, misfits_of(evidence, "timestamp")):
        return Word("timestamp")
    if winner == "decimal" and evidence.digits_fit and has_half(evidence, misfits_of(evidence, "decimal")):
        return Word("decimal", (str(DECIMAL_DIGITS), str(evidence.scale)))
    return exact


def _number(evidence: Evidence) -> Word | str:
    word = number_word(evidence)
    return Word(word) if word else "fractions mixed with 64-bit integers, which no one type holds exactly"


def _is_in_range(evidence: Evidence) -> bool:
    return not evidence.far_dates


def _document(name: str, evidence: Evidence, place: _Place) -> tuple[Word | str, tuple[Proposal, ...], str]:
    if why := why_any_shape(evidence, len(place.prefix)):
        return why, (), name
    label = next(place.columns.labels(place.prefix, name, "_", in_item=place.in_item), name)
    path, prefix = (*place.path, name), (*place.prefix, label)
    inner = _Place(path, prefix, place.columns, place.tables, place.strict, place.in_item)
    fields = _fields(evidence, inner)
    if any(one.word for one in fields):
        return Word("subdocument"), fields, label
    return "none of its fields can be declared", (), name


def _array(name: str, evidence: Evidence, place: _Place) -> tuple[Word | str, tuple[Proposal, ...], str]:
    if evidence.unread:
        return "it is very deep", (), name
    if evidence.items is None:
        return "only empty arrays were seen so far", (), name
    items, types = evidence.items, set(evidence.items.types)
    # An item that is no document is a row of nulls, which items of required fields do not allow.
    misfits = (set(evidence.types) - {"array", "null"}) | (types - {"document"})
    if winning_type(items) == "document" and not (place.strict and misfits):
        return _documents(name, items, place)
    if not types - {"null"}:
        return "only nulls were seen among its items so far", (), name
    word = _scalar(items, types - {"null"})
    if isinstance(word, Word) and word.name in _ARRAYS:
        nulls = ("null_items=True",) if "null" in types else ()
        return Word(_ARRAYS[word.name], (*word.arguments, *nulls)), (), name
    return f"there is no word for an array of {describe_types(items)}", (), name


def _documents(name: str, items: Evidence, place: _Place) -> tuple[Word | str, tuple[Proposal, ...], str]:
    if why := why_any_shape(items, place.columns.level):
        return f"of its items: {why}", (), name
    taken = set(place.columns.names), set(place.tables.names)
    label = _label_of_table(name, place)
    table = _table(label, place)
    count = f"{column_name((*place.prefix, label), in_item=place.in_item)}_count"
    if why := place.columns.take(count) or place.tables.take(table) or "":
        place.columns.names = taken[0]
        return why, (), name
    columns = place.columns.of_child(table, "_".join((*place.prefix, label)))
    fields = _fields(items, _Place((*place.path, name), (), columns, place.tables, place.strict, in_item=True))
    if any(one.word for one in fields):
        return Word("documents"), fields, label
    place.columns.names, place.tables.names = taken
    return "none of its items' fields can be declared", (), name


def _label_of_table(name: str, place: _Place) -> str:
    """Return what an array of documents can be called: its table must have a name of its own as well."""
    labels = place.columns.labels(place.prefix, name, "_count", in_item=place.in_item)
    return next((label for label in labels if place.tables.has_room_for(_table(label, place))), name)


def _table(label: str, place: _Place) -> str:
    return "_".join((place.columns.table, *place.prefix, label))
