"""Contracts drawn at random, and bytes that look like what they are not: a document comes out exact or is refused."""

import math
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any

import bson
import numpy as np
import polars as pl
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import DatetimeConversion
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from contracts.schema.entity import ID, ContractError, Entity, Field
from contracts.schema.fields import FieldOptions, documents, free_form, identifier, json, map_of, omit, subdocument
from contracts.schema.kinds import (
    ANY,
    ANY_ID,
    BOOLEAN,
    INTEGER,
    JSON,
    KEY_TEXT,
    NUMBER,
    OBJECT_ID,
    TEXT,
    TIMESTAMP,
    UUID,
    array_kind,
    binary_kind,
    decimal_kind,
)
from contracts.schema.mongo import gate
from transforms.bson.documents import decode_document, find_starts
from transforms.bson.layouts import Located
from transforms.ingest.admission import layouts_of
from transforms.ingest.batch import decode_batch, transform_batch, validate_batch
from transforms.ingest.drift import MISFIT
from transforms.ingest.slow_path import transform_decoded, transform_slowly
from transforms.ingest.type_check import find_type_violations
from transforms.oracle.compare import Findings, as_stored, compare
from transforms.oracle.expected import expected_frames
from transforms.violations import Location, json_pointer

SEEDS = range(int(os.environ.get("TEST_SEEDS", "2")))  # the same each time; `make test-random` takes more
# Beginnings, ends and neighbours of each other, types of BSON, positions of items; what makes a DBRef; JSON Pointers.
NAMES = ["a", "aa", "ba", "b", "\x03a", "0", "_id", "a_b", "$ref", "$id", "$db", "$x", "a/b", "~1"]
# What the typed reader takes for paths and arrays, Polars for patterns, and what we make of the first of them.
NAMES += ["a.b", "", ".", "a[b", "*", "^a$", "%612e62", "A", " ", "\ufeffa", "имя", "名"]
FAR = DEFAULT_RAW_BSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)
SCALARS = [TEXT, INTEGER, NUMBER, BOOLEAN]
OTHERS = [TIMESTAMP, OBJECT_ID, decimal_kind(12, 2)]
BINARIES = [UUID, binary_kind(0), binary_kind(5)]
SPARSE = [array_kind(one, null_items=True) for one in (*SCALARS, *OTHERS)]
KINDS = [*SCALARS, *OTHERS, *BINARIES, *map(array_kind, (*SCALARS, *OTHERS)), *SPARSE]


def contract(random: Random, misfits: str = "refuse") -> Entity:
    """Return a contract: arrays and subdocuments within each other, any field free to be missing."""
    while True:
        id_kind = random.choice([OBJECT_ID, KEY_TEXT, INTEGER, NUMBER, TIMESTAMP, ANY_ID])
        try:
            inside = (identifier("key", "d"), *fields(random))
            return Entity("Things", "d", "key", inside, id_kind=id_kind, misfits=misfits)
        except ContractError:  # two fields make one column, or _id stands at the top
            continue


def fields(random: Random, depth: int = 0, *, in_item: bool = False) -> Iterator[Field]:
    for number, name in enumerate(random.sample(NAMES, random.randint(1, 2 if depth else 4))):
        turn = random.random()
        options: FieldOptions = {"nullable": random.random() < 0.4}
        if set(name) & set("*.^") or not name or random.random() < 0.1:
            options["alias"] = random.choice(["x", "y", "a_b", "z z", "$"])
        if number and random.random() < 0.1:  # a subdocument of nothing else has no column that tells its type
            yield omit(name)
        elif depth < 3 and turn < (0.3 if depth else 0.6):
            word = random.choice([documents, documents, subdocument, map_of])
            inside = fields(random, depth + 1, in_item=in_item or word is not subdocument)
            if word is map_of and random.random() < 0.5:
                yield map_of(name, "d", random.choice([*KINDS, ANY]), **options)
            else:
                yield word(name, "d", *inside, **options)
        elif turn < 0.7:
            yield random.choice([free_form, json])(name, "d", **options)
        else:
            yield Field(name, random.choice(KINDS), "d", **options)


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def element(name: bytes | str, value: Any) -> bytes:
    plain = bson.encode({"": value})[4:-1]
    return plain[:1] + _name(name) + plain[2:]


def inside(code: int, name: bytes | str, raw: bytes) -> bytes:
    return bytes([code]) + _name(name) + raw


def _name(name: bytes | str) -> bytes:
    return (name if isinstance(name, bytes) else name.encode()) + b"\0"


@dataclass
class Maker:
    """Makes documents of a contract.

    Attributes:
        entity: The contract.
        random: What chance is taken from.
        alike: How often bytes look like elements.
        odd: How often an item's name is not its position.
        twice: How often fields stand twice.
        strange: How often there are fields that no contract declares, or values that it does not allow.
        was_odd: Whether the last document has such an item.
        was_twice: Whether the last document has such a field.
    """

    entity: Entity
    random: Random
    alike: float
    odd: float
    twice: float
    strange: float = 0.0
    was_odd: bool = False
    was_twice: bool = False

    def made(self, number: int) -> bytes:
        self.was_odd = self.was_twice = False
        ids = {OBJECT_ID: ObjectId(number.to_bytes(12, "big")), KEY_TEXT: f"id{number}", INTEGER: number}
        ids |= {NUMBER: float(number), TIMESTAMP: DatetimeMS(number), ANY_ID: self.any_id(number)}
        return self.document(self.entity.fields, element(ID, ids[self.entity.id_kind]))

    def any_id(self, number: int) -> Any:
        """Return an id that no other number has, or one of two that has any value."""
        alone = [number, f"{number}", {"a": number}, {"": {"b": [number]}}, float(number), Decimal128(f"{number}.0")]
        return self.random.choice([*alone, {"n": number, "v": self.anything(2)}, {"v": self.free_form(), "n": number}])

    def document(self, declared: Sequence[Field], *first: bytes) -> bytes:
        found = [one for one in map(self.field, declared) if one]
        if self.random.random() < self.strange:
            known = {field.name for field in declared} | {ID}
            found += [element(name, value) for name, value in self.undeclared().items() if name not in known]
        if found and self.random.random() < self.twice:
            again = found if self.random.random() < 0.5 else [self.random.choice(found)]
            self.was_twice, found = True, found + again
        self.random.shuffle(found)
        return document(*first, *found)

    def undeclared(self) -> dict[str, Any]:
        """Return any fields; with those that are declared they may make a DBRef."""
        plain = {name: self.anything(3) for name in self.random.sample(NAMES, self.random.randint(0, 2))}
        reference = {
            "$ref": self.random.choice(["c", 5]),
            "$id": self.anything(4),
            "$db": self.random.choice(["d", None]),
        }
        return plain | dict(self.random.sample(sorted(reference.items()), self.random.randint(0, 3)))

    def field(self, field: Field) -> bytes:
        if self.random.random() < self.strange / 4:
            return element(field.name, self.random.choice([self.anything(0), self.reference()]))
        if field.omitted:
            return element(field.name, self.anything(0))
        if field.nullable and self.random.random() < 0.4:
            return self.random.choice([b"", element(field.name, None)])
        if field.keyed:
            return inside(3, field.name, document(*self.entries(field)))
        if field.repeated:
            count = self.random.choice([0, 1, 2, 3, 11]) if self.random.random() < 0.98 else 101
            return self.array(field.name, [inside(3, "", self.document(field.fields)) for _ in range(count)])
        if field.fields:
            return inside(3, field.name, self.document(field.fields))
        assert field.kind is not None
        if field.kind.item is None:
            return element(field.name, self.value(field.kind))
        count = self.random.choice([0, 1, 2, 11])
        items = [self.value(field.kind.item) for _ in range(count)]
        if field.kind.null_items:
            items = [None if self.random.random() < 0.3 else one for one in items]
        return self.array(field.name, [element("", one) for one in items])

    def entries(self, field: Field) -> list[bytes]:
        """Return the entries of a map, by any names."""
        names = self.random.sample([*NAMES, "k" * 300, "1", "x\x01"], self.random.choice([0, 1, 3, 11]))
        if names and self.random.random() < self.twice:
            self.was_twice, names = True, [*names, names[0]]
        if not field.bare:
            return [inside(3, name, self.document(field.fields)) for name in names]
        values = [self.field(replace(field.fields[0], name=name, nullable=False, misfits="")) for name in names]
        return [
            element(name, None) if self.random.random() < 0.1 else one for name, one in zip(names, values, strict=True)
        ]

    def array(self, name: str, items: Sequence[bytes]) -> bytes:
        named = [item[:1] + _name(self.item_name(number)) + item[2:] for number, item in enumerate(items)]
        return inside(4, name, document(*named))

    def item_name(self, number: int) -> bytes:
        if self.random.random() >= self.odd:
            return b"%d" % number
        self.was_odd = True
        return self.random.choice([b"", b"x", b"xx", b"0", self.look_alike().partition(b"\0")[0]])

    def look_alike(self) -> bytes:
        """Return bytes that begin as an element does."""
        name = self.random.choice(NAMES).encode()
        return (
            bytes([self.random.choice([1, 2, 3, 4, 0x10, 0x7F])]) + name + self.random.choice([b"", b"\0", b"\0\5\0"])
        )

    def eight_bytes(self) -> bytes:
        return (self.look_alike() + bytes(8))[:8] if self.random.random() < self.alike else self.random.randbytes(8)

    def text(self) -> str:
        if self.random.random() < self.alike:
            return self.look_alike().partition(b"\0")[0].decode()
        return self.random.choice(["x", "null", "1e5", '"$', "-0.0", "ü" * 99])

    def value(self, kind: Any) -> Any:
        integer = int.from_bytes(self.eight_bytes(), "little", signed=True)
        (double,) = struct.unpack("<d", self.eight_bytes())
        if kind is JSON:
            return self.free_form()
        if kind.subtype is not None:
            return Binary(self.eight_bytes() + b"\5a\0\4\0\0\0\0", kind.subtype)
        if kind is ANY:
            return next(one for one in iter(lambda: self.anything(0), self) if one is not None)
        if isinstance(kind.frame, pl.Decimal):
            return Decimal128(Decimal(integer % 10**12).scaleb(-2))
        return {
            TEXT: self.text(),
            INTEGER: self.random.choice([integer % 2**31, Int64(integer), float(integer % 2**53)]),
            NUMBER: self.random.choice([double, math.nan, -0.0, math.inf, 5]),
            BOOLEAN: integer % 2 == 0,
            TIMESTAMP: DatetimeMS(integer % 2**43),
            OBJECT_ID: ObjectId(self.eight_bytes() + b"\3a\0\5"),
        }[kind]

    def free_form(self, depth: int = 0) -> dict[str, Any]:
        names = self.random.sample([*NAMES, "", "a.b", "n" * 300], self.random.choice([0, 1, 3]))
        return {name: self.anything(depth + 1) for name in names}

    def reference(self) -> Any:
        """Return what pymongo would make a DBRef of, or something like it, with its fields in any order."""
        fields = {"$ref": "c", "$id": self.anything(4)} | self.undeclared()
        return dict(self.random.sample(list(fields.items()), len(fields)))

    def anything(self, depth: int) -> Any:
        if depth < 4 and self.random.random() < self.strange / 4:
            return self.reference()
        if depth < 4 and self.random.random() < 0.3:
            return self.random.choice([self.free_form, lambda deep: [self.anything(deep + 1)] * 11])(depth)
        numbers = [self.value(NUMBER), self.value(INTEGER), Decimal128("NaN"), DatetimeMS(-(2**63)), Timestamp(1, 2)]
        uuids = [Binary(self.random.randbytes(16), 3), Binary(self.random.randbytes(16), 4)]
        codes = [Code(self.text()), Code(self.text(), {"a": 1}), Code("f", {"a": {"$ref": "c", "$id": 1}})]
        others = [
            None,
            ObjectId(),
            Binary(self.look_alike(), 5),
            Binary(b"old", 2),
            Regex("^a", "im"),
            MinKey(),
            MaxKey(),
        ]
        return self.random.choice([self.text(), self.look_alike(), *numbers, *others, *uuids, *codes])


def assert_exact(kept: Sequence[bytes], frames: dict[str, pl.DataFrame], entity: Entity) -> None:
    expected, unexpected = expected_frames(kept, entity)
    assert unexpected == []
    findings = Findings()
    for table in entity.tables:
        compare(expected[table.name], as_stored(frames[table.name], table), table, findings)
        assert frames[table.name][ID].sort().to_list() == expected[table.name][ID].sort().to_list()
    assert findings == Findings()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("alike", "odd", "twice"),
    [(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.05, 0.0), (0.0, 0.0, 0.03), (0.1, 0.02, 0.02)],
    ids=["lawful", "alike", "odd", "twice", "all"],
)
def test_documents_of_any_contract_are_exact_or_refused(
    alike: float, odd: float, twice: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "transforms.ingest.batch.find_broken_rules", lambda *_: {}
    )  # none is broken, and they take most of the time
    random = Random(seed)
    for _ in range(40):
        entity = contract(random)
        maker = Maker(entity, random, alike, odd, twice)
        raws: list[bytes] = []
        lawful, doubled = set(), set()
        for number in range(random.choice([1, 1, 2, 5])):
            raws.append(raw := maker.made(number))
            doubled |= {raw} if maker.was_twice else set()
            # Beside free-form fields an item of another name may be what can't be kept.
            violations = find_type_violations(decode_document(raw), entity)
            if not maker.was_twice and not maker.was_odd and next(violations, None) is None:
                lawful.add(raw)
        found = transform_batch(b"".join(raws), entity)
        refused = Counter(one.raw for one in found.refused)
        assert_exact([raw for raw in raws if not refused[raw]], found.frames, entity)
        assert doubled <= set(refused)
        assert not lawful & set(refused)
        assert all(one.reasons for one in found.refused)
        proven, located = told_by_layouts(raws, entity)
        told = validate_batch(decode_batch(b"".join(proven), entity, located), entity)
        assert not doubled & set(proven)
        assert {one.raw for one in told.refused} <= set(refused)
        assert_exact([raw for raw in proven if not refused[raw]], told.frames, entity)


def told_by_layouts(raws: Sequence[bytes], entity: Entity) -> tuple[list[bytes], Located | None]:
    """Return those of some documents of which layouts are sure, and where their values are."""
    if (layouts := layouts_of(entity)) is None:
        return [], None
    proven = [raw for raw in raws if layouts.proven(raw, np.zeros(1, np.int64))[0].all()]
    together = b"".join(proven)
    mask, located = layouts.proven(together, np.array(find_starts(together), np.int64))
    assert mask.all()
    return proven, located


def as_mongodb_sees(value: Any) -> Any:
    """Return documents as dicts, also where pymongo would make DBRefs of them."""
    if isinstance(value, RawBSONDocument):
        return {name: as_mongodb_sees(inner) for name, inner in value.items()}
    return [as_mongodb_sees(item) for item in value] if isinstance(value, list) else value


def may_be_null(place: Location, fields: tuple[Field, ...]) -> bool:
    """Return whether a field's column may be null because a subdocument around it may be missing."""
    steps, is_nullable = json_pointer(place).split("/")[1:], False
    while steps and fields:
        name = steps.pop(0).replace("~1", "/").replace("~0", "~")
        field = next(one for one in fields if one.name == name)
        is_nullable = not field.repeated and (is_nullable or (field.nullable and field.kind is None))
        fields = field.fields
        if field.repeated and steps:  # the item's place
            steps.pop(0)
    return is_nullable


@pytest.mark.parametrize("misfits", ["refuse", "extra"])
@pytest.mark.parametrize("seed", SEEDS)
def test_copy_repair_and_proof_agree_on_documents_beyond_their_contract(
    seed: int, misfits: str, passes: Callable[..., bool]
) -> None:
    """Whatever stands where a contract says something else, or nothing: DBRefs, names of operators, odd types."""
    random = Random(seed)
    seen, misfits_seen = Counter[str](), 0
    for _ in range(40):
        entity = contract(random, misfits)
        maker = Maker(entity, random, 0.0, 0.0, 0.0, strange=0.5)
        raws = [maker.made(number) for number in range(5)]
        lanes: dict[bool, list[bytes]] = {True: [], False: []}
        for raw in raws:
            lanes[passes(as_mongodb_sees(RawBSONDocument(raw, FAR)), gate(entity))].append(raw)
        fast = transform_decoded(decode_batch(b"".join(lanes[True]), entity), entity)
        slow = transform_slowly(lanes[False], entity)
        repaired = transform_slowly(raws, entity, gated=False)
        refused = {one.raw for one in (*fast.refused, *slow.refused)}
        assert {one.raw for one in repaired.refused} == refused
        _, no_place_for = expected_frames(raws, entity)
        for one in repaired.refused:  # what the proof could hold against the stores is no type that they can't have
            wrong = [why for why in one.reasons if why.rule.startswith("expected")]
            # No store can tell a null in a subdocument that may be missing from one that is missing: that is a rule of
            # the contract, as a least value is, and the proof knows no rules. Of any other null it must know.
            excused = [why.rule.endswith("found null") and may_be_null(why.path, entity.fields) for why in wrong]
            assert one.raw in no_place_for or all(excused)
        assert_exact([raw for raw in raws if raw not in refused], repaired.frames, entity)
        copied = {name: pl.concat([frame, slow.frames[name]]) for name, frame in fast.frames.items()}
        assert_exact([raw for raw in lanes[True] + lanes[False] if raw not in refused], copied, entity)
        misfits_seen += sum(one.count for one in (*fast.drift, *slow.drift) if one.kind == MISFIT)
        seen += Counter(refused=len(refused), fast=len(fast.frames["things"]), slow=len(slow.frames["things"]))
    assert (misfits_seen > 0) is (misfits == "extra")
    assert min(seen.values()) > 20
