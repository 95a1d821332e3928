"""The file of an inferred contract: words, and beside each the evidence, for a person to edit."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from contracts.schema.entity import ID
from contracts.schema.namespace import Namespace, plain_name
from contracts.schema.printable import escaped
from transforms.inference.decide import ANY_ID, Proposal, describe_types
from transforms.inference.evidence import Evidence, Survey
from transforms.inference.maps import is_a_map, kind_of_entries, why_whole

_WIDTH = 88  # what formatters take if nobody tells them otherwise
_SHOWN = 40  # characters of an id
# Values are shown that were seen so often on average: then they are words of an application, not of a person.
_OFTEN = 5
_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|token|jwt|ssn|card|iban|cvv|cvc|(api|private|access|session)_?key|credential|^pin(_?code)?$",
    re.IGNORECASE,
)
_PERSONAL = re.compile(
    r"e_?mail|phone|mobile|birth|address|(first|last|full|given|family|middle|maiden)_?name|surname|passport|gender"
    r"|nationality|religion|tax_?id|^ip$|ip_?addr|post_?code|^zip",
    re.IGNORECASE,
)
_NULLABLE = "nullable=True"


@dataclass(frozen=True)
class Contract:
    """A contract that was inferred.

    Attributes:
        collection: The collection's name.
        stem: Name of the root table and of the file; it is said in the file only where it must be.
        said_stem: Whether it must be.
        id_kind: The kind of ``_id``, as Python.
        survey: What was seen.
        fields: What follows.
        moment: When the documents were read, for people.
        strict: Whether what every document has is required.
        is_pinned: Whether the documents could be read at one moment.
    """

    collection: str
    stem: str
    said_stem: bool
    id_kind: str
    survey: Survey
    fields: tuple[Proposal, ...]
    moment: str
    strict: bool
    is_pinned: bool = True

    @property
    def why_whole(self) -> str:
        """Why the documents are taken whole, and no field of them is declared; nothing if they are not."""
        return "" if self.fields else why_whole(self.survey.root)

    @property
    def every(self) -> list[Proposal]:
        """Every field at any level, declared or not."""
        return list(_flat(self.fields))

    @property
    def to_decide(self) -> list[Proposal]:
        """The fields that a person should look at: those left undeclared, and what looks secret."""
        return [one for one in self.every if one.word is None or looks_secret(one.name)]


def looks_secret(name: str) -> bool:
    """Return whether a field's name smells of a secret."""
    return bool(_SECRET.search(name))


def render(contract: Contract) -> str:
    """Return the contract's module, formatted."""
    words = {one.word.name for one in contract.every if one.word}
    kinds = {contract.id_kind} - {"OBJECT_ID"}
    if any(looks_secret(one.name) for one in contract.every):
        words.add("omit")  # which the file proposes
    if contract.id_kind == ANY_ID:
        words, kinds = {*words, "any_id"}, set()
    imports = {"entity": ["Entity"], "fields": sorted(words), "kinds": sorted(kinds)}
    lines = ['"""A contract that was inferred from documents: a file of yours to edit."""', ""]
    for module, names in imports.items():
        lines += _import(module, names)
    lines += ["", *_comment(_header(contract), 0), "ENTITY = Entity("]
    lines += [f"    collection={quoted(plain_name(contract.collection))},", '    description="Not described yet.",']
    fields = [line for one in contract.fields for line in field_lines(one, indent=8)]
    lines += ["    fields=(", *fields, "    ),"] if fields else _without_fields(contract)
    if contract.id_kind != "OBJECT_ID":
        lines += [*_comment(_of_id(contract), 4), f"    id_kind={contract.id_kind},"]
    lines += [f"    table={quoted(contract.stem)},"] if contract.said_stem else []
    if not contract.why_whole:
        aside = _comment("What does not fit its field is kept in _extra, and its row stays.", 4)
        lines += [*aside, '    misfits="extra",']
    if isinstance(contract.collection, Namespace):
        lines.append(f"    database={quoted(contract.collection.database)},")
    return "\n".join([*lines, ")", ""])


def _without_fields(contract: Contract) -> list[str]:
    if not (why := contract.why_whole):
        return ["    fields=(),"]
    told = f"The documents are maps: {why}. So each is kept whole, as JSON. Fields can be declared in place of that."
    return [*_comment(told, 4), '    whole="document",']


def quoted(text: str) -> str:
    """Return a text as Python writes it, by double quotes where it can, with all of it visible."""
    written = repr(text) if '"' in text and "'" not in text else json.dumps(text, ensure_ascii=False)
    return escaped(written)


def _flat(fields: Iterable[Proposal]) -> Iterator[Proposal]:
    for one in fields:
        yield one
        if one.word:
            yield from _flat(one.fields)


def _import(module: str, names: list[str]) -> list[str]:
    if not names:
        return []
    line = f"from contracts.schema.{module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return [line]
    return [f"from contracts.schema.{module} import (", *(f"    {name}," for name in names), ")"]


def _header(contract: Contract) -> str:
    survey = contract.survey
    parts = [
        f"Inferred from {_all(survey.documents)} ({survey.size:,} bytes) of {contract.moment}.",
        "What every document has is required." if contract.strict else "Only _id is required.",
    ]
    if not contract.why_whole:
        parts.append("What is left undeclared is kept in _extra, by its JSON Pointer.")
    if not contract.is_pinned:
        parts.append("MongoDB can't read it at one moment; etl replicate takes it with --without-snapshot.")
    if survey.unreadable:
        parts.append(f"Not decoded without loss, so it told nothing: {survey.unreadable:,} of them.")
    if survey.root.unread and not contract.why_whole:
        parts.append(f"Very many or very long names: {survey.root.unread:,} values were left undeclared unseen.")
    return " ".join(parts)


def _all(documents: int) -> str:
    return f"all {documents:,} documents" if documents != 1 else "the only document"


def _of_id(contract: Contract) -> str:
    seen = contract.survey.root.fields[ID]
    form = ", each as canonical Extended JSON" if contract.id_kind == ANY_ID else ""
    return f"The _ids: {', '.join(_counted(seen))}{form}."


def field_lines(field: Proposal, description: str | None = None, indent: int = 0) -> Iterator[str]:
    """Yield the lines by which a field is declared, with what was seen as comments.

    Args:
        field: What is proposed.
        description: What it is, if that is known.
        indent: How far the lines stand to the right.
    """
    if field.word is None:  # one paragraph, so that it is not taken for the next field's
        yield from _comment(" ".join(_notes(field)), indent)
        return
    for note in _notes(field):
        yield from _comment(note, indent)
    margin = " " * indent
    told = quoted(description or "Not described yet.")
    first = [quoted(field.name), told, *(one for one in field.word.arguments if "=" not in one)]
    last = [one for one in field.word.arguments if "=" in one]
    last += [f"alias={quoted(field.alias)}"] if field.alias else []
    last += [] if field.required else [_NULLABLE]
    line = f"{margin}{field.word.name}({', '.join([*first, *last])}),"
    if len(line) <= _WIDTH and not field.fields:
        yield line
        return
    yield f"{margin}{field.word.name}("
    yield from (f"{margin}    {one}," for one in first)
    for inside in field.fields:
        yield from field_lines(inside, indent=indent + 4)
    yield from (f"{margin}    {one}," for one in last)
    yield f"{margin}),"


def _comment(text: str, indent: int) -> list[str]:
    margin = " " * indent
    lines = wrap(escaped(text), _WIDTH - indent - 2, break_long_words=False, break_on_hyphens=False)
    return [f"{margin}# {line}" for line in lines]


def _notes(field: Proposal) -> Iterator[str]:
    seen = field.evidence
    if field.word is None:
        yield f"TO DECIDE: {quoted(field.name)} is left undeclared: {field.why}."
    elif field.why:
        yield f"As JSON: {field.why}.{_as_map(field)}"
    if field.misfits:
        yield f"Kept in _extra, since they do not fit: {', '.join(field.misfits)}."
    if looks_secret(field.name):
        omit = f"put omit({quoted(field.name)}) in its place"
        yield f"TO DECIDE: the name smells of a secret, and the value is copied as any other; if none may be, {omit}."
    elif _PERSONAL.search(field.name):
        yield "The name smells of personal data."
    yield f"In {seen.present:,} of {field.parents:,}: {', '.join([*_types(field), *_values(field)])}."


def _as_map(field: Proposal) -> str:
    """Return how a map can be had as rows, which is for a person to decide."""
    entries = field.evidence.fields
    if not is_a_map(field.why) or not entries:
        return ""
    kind = kind_of_entries(entries.values())
    return f' As rows of a child table: map_of({quoted(field.name)}, "Not described yet.", {kind})'


def _types(field: Proposal) -> Iterator[str]:
    seen = field.evidence
    if len(seen.types) == 1:  # of all of which the number is told already
        (only,) = _counted(seen) if seen.present < field.parents else seen.types
        yield only.removeprefix(f"{seen.present:,} ")
    else:
        yield from _counted(seen)
    if seen.items:
        counted = _counted(seen.items)
        yield "items: " + (" and ".join(counted) if len(seen.items.types) > 1 else describe_types(seen.items))


def _counted(seen: Evidence) -> Iterator[str]:
    return (f"{one.count:,} {name} (as in {shown_id(one.id)})" for name, one in seen.ranked)


def _values(field: Proposal) -> Iterator[str]:
    seen = field.evidence
    texts = seen.count("text")
    if not texts:
        return
    distinct = seen.distinct or {}
    if distinct and not any(map(looks_secret, field.path)):
        some = len(distinct) * _OFTEN <= texts and not any(map(_PERSONAL.search, field.path))
        yield f"{len(distinct):,} distinct" + (f" ({', '.join(map(quoted, distinct))})" if some else "")
    yield f"the longest has {seen.longest:,} character{'s' * (seen.longest != 1)}"
    for hint in sorted(seen.hints):
        yield f"all look like {hint}"


def shown_id(identity: Any) -> str:
    """Return an ``_id`` as people read it, shortened."""
    return quoted(identity[:_SHOWN]) if isinstance(identity, str) else quoted(str(identity)[:_SHOWN])[1:-1]
