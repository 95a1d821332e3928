"""What has changed in documents against their contract, and the lines that the contract should have instead."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from contracts.schema.entity import Field
from contracts.schema.kinds import ANY, ANY_ID, DECIMAL_DIGITS, INTEGER, JSON, Kind
from transforms.inference.decide import Proposal, describe_types
from transforms.inference.evidence import Evidence
from transforms.inference.render import field_lines, shown_id

NEW, GONE, TYPE, PRESENCE, VOCABULARY = "new", "gone", "other type", "no longer in all", "new values"
MISFITS = "some of another type"  # but not most of them
ENTRY = "*"  # stands for the name of any entry of a map
# What BSON calls the types that were seen.
_BSON = {
    "null": "null",
    "boolean": "bool",
    "int": "int",
    "long": "long",
    "double": "double",
    "text": "string",
    "binary": "binData",
    "document": "object",
    "array": "array",
    "ObjectId": "objectId",
    "date": "date",
    "decimal": "decimal",
}


@dataclass(frozen=True)
class Difference:
    """One way in which documents are not what their contract says.

    Attributes:
        names: Where the field stands: the names of the fields around it, and its own.
        change: ``new``, ``gone``, ``other type``, ``some of another type``, ``no longer in all`` or ``new values``.
        seen: What was seen, in words.
        first_id: ``_id`` of the first document that shows it, as people read it; nothing where there is none.
        lines: What the contract should say instead; nothing where a person has to think.
        nullable: Whether the declared field only has to be nullable.
        values: Which words its vocabulary lacks.
    """

    names: tuple[str, ...]
    change: str
    seen: str
    first_id: str = ""
    lines: tuple[str, ...] = ()
    nullable: bool = False
    values: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where the field stands, for people."""
        return ".".join(self.names)


def differences(
    declared: Iterable[Field], proposed: Iterable[Proposal], inferred: Iterable[Field], seen: Evidence
) -> list[Difference]:
    """Hold what was seen of a collection's documents against the fields of its contract.

    Args:
        declared: The contract's fields.
        proposed: What inference makes of the same evidence.
        inferred: The fields that the contract of these proposals declares.
        seen: The evidence of the documents.
    """
    return list(_within(tuple(declared), _named(proposed), {one.name: one for one in inferred}, seen, ()))


def difference_of_id(field: Field, seen: Evidence, proposed: str) -> Difference | None:
    """Hold the ``_id``s that were seen against what the contract says of them.

    Args:
        field: The contract's.
        seen: The evidence.
        proposed: The kind that holds them all, as Python.
    """
    if field.kind is ANY_ID or (holds(field, seen) and not seen.count("null")):
        return None
    return Difference((field.name,), MISFITS, _counts(seen), _odd_one(field, seen), (f"id_kind={proposed},",))


def _named(proposed: Iterable[Proposal]) -> dict[str, Proposal]:
    return {one.name: one for one in proposed}


def _within(
    declared: tuple[Field, ...],
    proposed: Mapping[str, Proposal],
    inferred: Mapping[str, Field],
    seen: Evidence,
    at: tuple[str, ...],
) -> Iterator[Difference]:
    """Yield the differences of one level: first of the declared fields, then those that are new."""
    known = {one.name: one for one in declared}
    for name, field in known.items():
        if field.omitted:
            continue
        path, evidence = (*at, name), seen.fields.get(name)
        if evidence is None:
            if not seen.unread:
                yield Difference(path, GONE, f"in none of {seen.count('document'):,}")
            continue
        yield from _of_field(field, proposed.get(name), inferred.get(name), evidence, seen.count("document"), path)
    for name, proposal in proposed.items():
        if name not in known and proposal.word is not None:
            yield Difference((*at, name), NEW, _counts(proposal.evidence), _first(proposal.evidence), _lines(proposal))


def _of_field(
    field: Field, proposal: Proposal | None, inferred: Field | None, seen: Evidence, parents: int, path: tuple[str, ...]
) -> Iterator[Difference]:
    nulls = seen.count("null")
    if not holds(field, seen):
        if inferred is None or _kind_name(inferred) != _kind_name(field):  # or it is kept aside on purpose
            lines = _lines(proposal, field) if proposal and proposal.word else ()
            yield Difference(path, TYPE, _counts(seen), _odd_one(field, seen), lines)
            return
        if field.misfits != "extra":
            yield Difference(path, MISFITS, _counts(seen), _odd_one(field, seen))
    elif not field.nullable and (nulls or seen.present < parents):
        told = f"in {seen.present - nulls:,} of {parents:,}"
        yield Difference(path, PRESENCE, told, nullable=True)
    if new := _new_words(field, seen):
        yield Difference(path, VOCABULARY, ", ".join(new), values=new)
    if field.keyed and not field.bare:
        yield from _of_entries(field.fields, list(seen.fields.values()), (*path, ENTRY))
    elif field.fields and not field.keyed:
        inside = seen.items if field.repeated else seen
        if inside is not None:
            fields = {one.name: one for one in inferred.fields} if inferred else {}
            proposals = _named(proposal.fields) if proposal else {}
            yield from _within(field.fields, proposals, fields, inside, path)


def _of_entries(declared: Iterable[Field], entries: Sequence[Evidence], at: tuple[str, ...]) -> Iterator[Difference]:
    """Yield the differences of the documents that are a map's values, whatever entry each is of."""
    entries = [one for one in entries if not one.unread]
    known = {one.name: one for one in declared if not one.omitted}
    for name, field in known.items():
        path, found = (*at, name), [one.fields[name] for one in entries if name in one.fields]
        odd = next((one for one in found if not holds(field, one)), None)
        present, parents = sum(one.present - one.count("null") for one in found), _documents(entries)
        if not found:
            yield Difference(path, GONE, f"in none of {parents:,}")
        elif odd is not None and field.misfits != "extra":
            yield Difference(path, TYPE, _counts(odd), _odd_one(field, odd))
        elif not field.nullable and present < parents:
            yield Difference(path, PRESENCE, f"in {present:,} of {parents:,}")
        if new := sorted({word for one in found for word in _new_words(field, one)}):
            yield Difference(path, VOCABULARY, ", ".join(new))
        if field.fields and not field.bare:
            yield from _of_entries(field.fields, list(_inside(field, found)), (*path, *[ENTRY] * field.keyed))
    others = {name: inner for one in reversed(entries) for name, inner in one.fields.items() if name not in known}
    for name, evidence in others.items():
        yield Difference((*at, name), NEW, _counts(evidence), _first(evidence))


def _documents(entries: Iterable[Evidence]) -> int:
    return sum(one.count("document") for one in entries)


def _inside(field: Field, found: Iterable[Evidence]) -> Iterator[Evidence]:
    """Yield what was seen of the documents within a field, at whatever entry of the map around it."""
    for one in found:
        if field.keyed:
            yield from one.fields.values()
        elif not field.repeated:
            yield one
        elif one.items is not None:
            yield one.items


def holds(field: Field, seen: Evidence) -> bool:
    """Return whether a field's declared kind holds all values that were seen; nulls aside."""
    if field.keyed:
        return _types(seen) <= {"object"} and all(_entry_holds(field, one) for one in seen.fields.values())
    if field.kind is None:
        if not field.repeated:
            return _types(seen) <= {"object"}
        return _types(seen) <= {"array"} and (seen.items is None or {*seen.items.types} <= {"document"})
    return _kind_holds(field.kind, seen)


def _entry_holds(field: Field, seen: Evidence) -> bool:
    kind = field.fields[0].kind if field.bare else None
    return _types(seen) <= {"object"} if kind is None else _kind_holds(kind, seen)


def _kind_holds(kind: Kind, seen: Evidence) -> bool:
    if kind is ANY:
        return True
    if kind.subtype is not None:  # whose types are told by its name, as binary of any subtype is one of BSON
        return {*seen.types} - {"null"} <= {kind.name}
    if kind.item is not None:
        items = seen.items
        nulls = bool(items and items.count("null"))
        return (
            _types(seen) <= {"array"}
            and not (nulls and not kind.null_items)
            and (items is None or _kind_holds(kind.item, items))
        )
    types = kind.gate.get("bsonType")
    if types is not None and not _types(seen) <= ({types} if isinstance(types, str) else {*types}):
        return False
    if kind is INTEGER:
        return not (seen.fractions or seen.beyond)
    if isinstance(precision := getattr(kind.frame, "precision", None), int):
        scale = getattr(kind.frame, "scale", 0)
        fits = seen.scale <= scale and max(seen.whole, 0) <= precision - scale
        return not seen.odd_decimals and fits and precision <= DECIMAL_DIGITS
    return True


def _types(seen: Evidence) -> set[str]:
    return {_BSON.get(name, name) for name in seen.types} - {"null"}


def _kind_name(field: Field) -> str:
    if field.keyed:
        return "map"
    if field.kind is None:
        return "documents" if field.repeated else "subdocument"
    return "document" if field.kind is JSON else field.kind.name


def _new_words(field: Field, seen: Evidence) -> tuple[str, ...]:
    """Return the values that a vocabulary lacks."""
    where = seen.items if field.kind is not None and field.kind.is_array else seen
    if not field.vocabulary or where is None or where.distinct is None:
        return ()
    return tuple(sorted(set(where.distinct) - set(field.vocabulary)))


def _odd_one(field: Field, seen: Evidence) -> str:
    """Return the ``_id`` of a document whose value is of a type that a field does not declare."""
    if field.kind is None:
        wanted = {"array" if field.repeated and not field.keyed else "object"}
    else:
        types = field.kind.gate.get("bsonType", ()) if field.kind.subtype is None else field.kind.name
        wanted = {types} if isinstance(types, str) else {*types}
    odd = [one for name, one in seen.ranked if {name, _BSON.get(name, name)}.isdisjoint({*wanted, "null"})]
    return shown_id(odd[0].id) if odd else ""


def _first(seen: Evidence) -> str:
    return shown_id(seen.ranked[0][1].id)


def _counts(seen: Evidence) -> str:
    items = f", items: {describe_types(seen.items)}" if seen.items else ""
    return f"{describe_types(seen)}{items}"


def _lines(proposal: Proposal, declared: Field | None = None) -> tuple[str, ...]:
    """Return a proposed field as it would stand in the contract."""
    if declared is not None:
        proposal = replace(proposal, required=not declared.nullable and proposal.evidence.count("null") == 0)
    description = declared.description if declared is not None else None
    return tuple(field_lines(proposal, description))
