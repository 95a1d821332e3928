"""Ids of every lawful kind, on their whole way, whatever order the databases around them keep texts in.

MongoDB, both stores and our own code must agree which ids are equal and which one comes first. A PostgreSQL database
may order texts as people do, by libc or ICU; a MongoDB collection may even take unequal texts for equal.
"""

import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import bson
import polars as pl
import pyarrow as pa
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, ObjectId
from pymongo.errors import DuplicateKeyError

from contracts.schema.entity import ID
from pipeline.connections import TARGETS, connect
from pipeline.control import changes
from pipeline.replication import chunks, repair, replicate, sync, verify
from pipeline.replication.sample import Sample
from pipeline.stores.mongo import store as mongo
from pipeline.stores.mongo.measured import FAR_DATES
from tests.pipeline.lab import Lab
from transforms.bson.identity import cut_id
from transforms.ingest.ids import to_stored_ids
from transforms.oracle.expected import expected_frames

CONTRACT = """
    '''Things whose ids are {name}.'''

    from contracts.schema.entity import Entity
    from contracts.schema.fields import any_id, documents, integer, text
    from contracts.schema.kinds import *
    from contracts.schema.kinds import decimal_kind

    ITEMS = documents("items", "Items.", text("label", "Label."), nullable=True)
    FIELDS = (text("name", "Name."), integer("n", "A number."{bound}), ITEMS)
    ENTITY = Entity("{name}", "Things.", "name", FIELDS, id_kind={kind})
"""
INFINITE = float("inf")
STRANGE_OBJECT = ObjectId("0123456789abcdef01234567")
# What no contract here takes for an id; each goes to quarantine, but where it is lawful.
STRANGE: list[Any] = [
    bson.MinKey(),
    None,
    float("nan"),
    Decimal128("sNaN"),
    Decimal128("-Infinity"),
    Decimal128("1E+6000"),
    7.5,
    Int64(2**53 + 1),
    "?",
    {"a": "b"},
    b"bytes",
    STRANGE_OBJECT,
    False,
    DatetimeMS(86_400_000),
    DatetimeMS(-(2**63)),
    DatetimeMS(2**63 - 1),
    bson.Timestamp(1, 2),
    bson.MaxKey(),
]
TEXTS = [
    *("", " ", "  ", "-", "_", "a", "A", "aa", "Aa", "ab", "a b", "a-b", "AB", "B", "b", "ä", "z", "Z", "Å", "ø", "zz"),
    *(
        "ß",
        "ẞ",
        "ss",
        "\u017f",
        "é",
        "ﬀ",
        "İ",
        "\u0131",
        "i",
        "I",
        "я",
        "Ж",
        "ё",
        "中",
        "文",
        "か",
        "ガ",
        "א",
        "ع",
        "가",
    ),
    *("😀", "\U0010ffff", "\ufeff", "\ufffd", "\u200b", "\x01", "a\x7f", "1", "10", "2", "01", "½", "²", "?", "NULL"),
    *("\\N", "a\tb", "a\nb", "\r\n", "\\", "\\n", "'", '"', "`", "%", "%s", "$1", "$$", "{after:String}"),
    *("x" * 600, "😀" * 600),
]


@dataclass(frozen=True)
class Kind:
    """One kind of id.

    Attributes:
        written: The kind as a contract says it.
        lawful: Ids that both stores must hold.
        refused: Ids of the kind's BSON type that the contract refuses all the same.
    """

    written: str
    lawful: list[Any]
    refused: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    """How texts are ordered around the ids.

    Attributes:
        postgres: By the PostgreSQL database: ``C`` (embedded), ``bytes``, ``libc`` or ``icu``.
        options: Of the MongoDB collections.
        names: Of the kinds; those that are no texts are nobody's matter but for one among them.
    """

    postgres: str
    options: dict[str, Any]
    names: tuple[str, ...]


def _decimals(*numbers: object) -> list[Decimal128]:
    return [Decimal128(str(one)) for one in numbers]


def _moments(*milliseconds: int) -> list[DatetimeMS]:
    return list(map(DatetimeMS, milliseconds))


MIXED: list[Any] = [
    *STRANGE,
    *(*range(-5, 5), 0.5, -0.0, 1e16, 5e-324, Int64(1), Int64(10), Int64(2**63 - 1), INFINITE, -INFINITE),
    *("", "1", "10", "2", "a", "A", "ä", "😀", '"', "\\", "a\tb", "{}", "null", "x" * 2_000),
    *(ObjectId(f"{n * 7919 % 9973:08x}" * 3) for n in range(9)),
    *(Binary(uuid5(NAMESPACE_URL, str(n)).bytes, 4) for n in range(5)),
    *(Binary(b"\1" * 16, 3), Binary(b"", 0), Binary(b"\xff", 128), b"\0"),
    *(
        {},
        {"a": 1},
        {"a": 2},
        {"b": 1, "a": 1},
        {"a": 1, "b": 1},
        {"a": {"a.b": [1, "nul\0", None]}},
        {"": ObjectId("0" * 24)},
    ),
    *(bson.DBRef("c", 1, "d"), Code("f", {"$oid": {"$$x": 1}}), {"a": Decimal128("1.50")}, {"a": 1.5}),
    *(Code("f"), Code("f", {"a": 1})),
    *map(DatetimeMS, (0, 1, -1, 1_700_000_000_000, 10**14)),
    *(True, Decimal128("1E-6176"), Decimal128("77.70")),
]
FIRST, LAST = -2_208_988_800_000, 10_413_791_999_999  # of the moments that ClickHouse has, in milliseconds since 1970
KINDS = {
    "Objects": Kind("OBJECT_ID", [STRANGE_OBJECT, *(ObjectId(f"{n * 7919 % 9973:08x}" * 3) for n in range(24))]),
    "Texts": Kind("TEXT", TEXTS, ["nul\0", "x" * 601]),
    "Integers": Kind(
        "INTEGER",
        [*range(-9, 9), 9.0, -0.0, *map(Int64, (10, 2**53 + 1, 2**53 + 2, 2**63 - 1)), 2.0**62, -(2.0**63)],
        [2.0**63, INFINITE, Decimal128("77")],
    ),
    "Numbers": Kind(
        "NUMBER",
        [*range(-5, 5), -0.0, 0.5, 0.1, 1 / 3, 7.5, 5e-324, -5e-324, 1e16, 2.0**53, 1e308, INFINITE, -INFINITE],
        [Int64(77), Decimal128("77"), float("nan")],
    ),
    "Decimals": Kind(
        "decimal_kind(20, 4)",
        _decimals(*(f"{n * 37 % 41 - 20}.{n % 10}" for n in range(1, 20)), "-0", "1E+3", "1E-4", "77.7000")
        + _decimals("9999999999999999.9999", "-9999999999999999.9999"),
        [*_decimals("1E-5", "NaN"), 77],
    ),
    "Wholes": Kind("decimal_kind(34, 0)", _decimals("9" * 34, "-" + "9" * 34, "1E+9", *"13579"), _decimals("0.5")),
    "Dates": Kind(
        "TIMESTAMP",
        _moments(*(n * 86_399_999_001 for n in range(-10, 10)), 1, -1, 999, 86_400_000, FIRST, LAST)
        + _moments(*range(1_700_000_000_000, 1_700_000_000_006)),
        _moments(FIRST - 1, LAST + 1),
    ),
    "Flags": Kind("BOOLEAN", [False, True]),
    "Mixed": Kind("any_id()", MIXED, [*("x" * n for n in range(2_600, 2_616)), {"a": "x" * 2_600}, "😀" * 700]),
}
WIDE = Context(prec=40)
ACCENTS = {"locale": "de", "strength": 2}
SHIFTED = {"locale": "fr", "strength": 3, "alternate": "shifted", "numericOrdering": True}
ORDERS: dict[str, Order] = {
    "bytes": Order("C", {}, tuple(KINDS)),
    "libc, base letters": Order("libc", {"collation": {"locale": "en", "strength": 1}}, ("Texts", "Numbers", "Mixed")),
    "icu, letters and accents": Order("icu", {"collation": ACCENTS}, ("Texts",)),
    "bytes, but no punctuation": Order("bytes", {"collation": SHIFTED}, ("Texts",)),
}


@pytest.fixture(params=ORDERS)
def ids(request: pytest.FixtureRequest, lab: Lab, debian_postgres: Any, tmp_path: Path) -> Iterator[Any]:
    """Yield a lab whose collections have ids of every kind."""
    order, number = ORDERS[request.param], list(ORDERS).index(request.param)
    folder = _contracts(tmp_path / "strict", order.names, ", maximum=1000")
    changes: dict[str, Any] = {"contracts": (folder,), "mongo_database": f"ids_{number}"}
    if order.postgres != "C":
        changes["postgres_uri"] = debian_postgres(order.postgres)
    lab.change_clickhouse("DROP DATABASE IF EXISTS replica SYNC")
    settings = lab.settings.model_copy(update=changes)
    with connect(settings) as connections:
        ours = type(lab)(connections, settings)
        for name in order.names:
            connections.mongo.database.create_collection(name, **order.options)
            _insert(ours, name, [*KINDS[name].lawful, *KINDS[name].refused, *STRANGE])
        yield ours


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make several pieces of few documents, wherever a collection is read in pieces."""
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 1_200)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 20)
    monkeypatch.setattr(changes, "_PAGE_BYTES", 900)
    monkeypatch.setattr(mongo, "_IDS_PER_QUERY", 3)


def _contracts(folder: Path, names: Iterable[str], bound: str) -> Path:
    folder.mkdir()
    for name in names:
        text = CONTRACT.format(name=name, kind=KINDS[name].written, bound=bound)
        (folder / f"{name.lower()}.py").write_text(textwrap.dedent(text))
    return folder


def _insert(lab: Lab, name: str, ids: Iterable[Any], first: int = 0) -> None:
    """Insert documents; each tenth has a number that the strict contracts refuse."""
    for number, one in enumerate(ids, start=first):
        items = [{"label": f"{one}"[:40]}] * (number % 3)  # or the long ones alone would make most of the pieces
        n = 5_000 if number % 10 == 7 else number
        # Of an equal number, or of a text that the collection takes for equal; the driver may not be able to read why.
        with suppress(DuplicateKeyError, bson.errors.InvalidBSON):
            lab.collection(name).insert_one({"_id": one, "name": f"{number}", "n": n, "items": items})


def _twins(one: Any) -> list[Any]:
    """Return ids of other bytes that MongoDB may take for equal to one."""
    if type(one) is str and len(one) < 600:
        forms = (unicodedata.normalize(form, one) for form in ("NFC", "NFD", "NFKD"))
        return [twin for twin in dict.fromkeys((one.swapcase(), *forms, one + "\x01", one + "-")) if twin != one]
    if isinstance(one, Decimal128) and (number := one.to_decimal()).is_finite() and number.adjusted() < 20:
        return [Decimal128(number.normalize(WIDE)), Decimal128(WIDE.quantize(number, Decimal("0.0000")))]
    if type(one) in (int, float) and abs(one) < 2**31 and one == int(one):
        return [-one] if one == 0 else [int(one) if type(one) is float else float(one)]
    return []


def _names(lab: Lab) -> list[str]:
    return [name for name in KINDS if name in lab.connections.entities]


def _element(one: Any) -> bytes:
    return bson.encode({ID: one})[4:-1]


def _lawful(kind: Kind) -> dict[bytes, Any]:
    """Return every id of a kind that may be in a collection and must be in the stores, by its BSON element."""
    return {_element(one): one for one in [*kind.lawful, *(twin for one in kind.lawful for twin in _twins(one))]}


def _assert_equal(lab: Lab, most: int) -> None:
    """Assert that the stores have what MongoDB has, and the quarantine the rest, by two ways."""
    names = _names(lab)
    lab.assert_replicated(names)
    for name in names:
        lawful = _lawful(KINDS[name])
        refused = {
            raw
            for raw in lab.raw_documents(name)
            if cut_id(raw)[4:-1] not in lawful or bson.decode(raw, FAR_DATES)["n"] > most
        }
        assert lab.quarantine(name).keys() == refused, name
        assert len(refused) > 5
    for one in verify.verify(lab.connections, names):
        assert one.proven, one


def test_ids_of_every_kind_are_copied_followed_repaired_and_replayed(
    ids: Any, request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, names = set[str](), _names(ids)
    replicate.replicate(ids.connections, names, progress=lambda one, *_: labels.add(one.label))
    assert {label.split()[0] for label in labels if not label.endswith("/1")} == {*names}
    _assert_equal(ids, most=1_000)
    for one in verify.verify(ids.connections, names, sample=Sample("80%", 1)):
        assert one.proven and one.source, one

    _change(ids)
    found = sync.sync(ids.connections, names)
    assert all(one.changed and one.loaded for one in found)
    if request.node.callspec.params["ids"].startswith("libc"):  # as tables were made once
        by_database = 'ALTER _id TYPE text COLLATE "default"'
        ids.change_postgres(*(f"ALTER TABLE replica.{table} {by_database}" for table in ("texts", "texts_items")))
    _assert_equal(ids, most=1_000)

    broken = _break(ids)
    found = verify.verify(ids.connections, names)
    assert {(one.collection, one.target): (one.missing, one.different, one.extra) for one in found} == broken
    repair.repair(ids.connections, found)
    _assert_equal(ids, most=1_000)

    lenient = ids.settings.model_copy(update={"contracts": (_contracts(tmp_path / "lenient", names, ""),)})
    with connect(lenient) as connections:
        ours = type(ids)(connections, lenient)
        replayed = {one.collection: (one.loaded > 0, one.changed) for one in repair.replay(connections, names)}
        assert replayed == {name: (name != "Flags", 0) for name in names}
        _assert_equal(ours, most=10_000)

        _change(ours)
        monkeypatch.setattr(mongo.Mongo, "uuids", lambda *_: {})  # as if the moment could not be read any more
        for one in verify.verify(connections, names):
            assert one.proven and one.changed_since, one


def _change(lab: Lab) -> None:
    """Delete, change and replace documents of every kind, and change some in transactions."""
    for name in _names(lab):
        things = lab.collection(name)
        ids = [one[ID] for one in things.with_options(codec_options=FAR_DATES).find({}, {ID: 1})]
        with lab.connections.mongo.client.start_session() as session:
            for number, one in enumerate(ids):
                if number % 4 == 0:
                    things.delete_one({ID: one})
                    _insert(lab, name, _twins(one), number)
                elif number % 4 == 1:
                    with session.start_transaction():
                        things.update_one({ID: one}, {"$push": {"items": {"label": "new"}}}, session=session)
                elif number % 4 == 2:
                    things.delete_one({ID: one})


def _break(lab: Lab) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Delete, change and add rows in both stores; return how many are missing, different and extra in each."""
    broken: dict[tuple[str, str], tuple[int, int, int]] = {}
    for name in _names(lab):
        entity = lab.connections.entities[name]
        table = f"replica.{entity.table}"
        rows = lab.stored("postgres", entity.root)
        there = set(rows[ID])
        added = {
            stored: one
            for one in _lawful(KINDS[name]).values()
            for stored in to_stored_ids([bson.encode({ID: one})], entity)
        }
        extra = [bson.encode({ID: one, "name": "", "n": 2}) for stored, one in added.items() if stored not in there]
        frame = expected_frames(extra[:20], entity)[0][entity.table]
        numbers = Counter((rows["n"] % 3).to_list())
        broken |= {(name, target): (numbers[0], numbers[1], len(frame)) for target in TARGETS}
        with_items = f"_id IN (SELECT _id FROM {table} WHERE n % 3 = 0)"
        lab.change_postgres(
            f"DELETE FROM {table}_items WHERE {with_items}",
            f"DELETE FROM {table} WHERE n % 3 = 0",
            f"UPDATE {table} SET name = name || '!' WHERE n % 3 = 1",
        )
        lab.change_clickhouse(
            f"DELETE FROM {table}_items__data WHERE {with_items} AND NOT _deleted",  # tombstones stay
            f"DELETE FROM {table}__data WHERE n % 3 = 0 AND NOT _deleted",
            f"ALTER TABLE {table}__data UPDATE name = concat(name, '!') WHERE n % 3 = 1 SETTINGS mutations_sync = 2",
        )
        if not frame.is_empty():
            rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            with lab.connections.postgres.transaction():
                lab.connections.postgres.append("replica", entity.table, rows)
            # Older rows would be hidden by tombstones of documents that were there once.
            newest = lab.clickhouse(f"SELECT max(_version) FROM {table}__data")[0][0]
            rows = rows.append_column("_version", pa.array([newest] * len(rows), pa.uint64()))
            lab.connections.clickhouse.client.insert_arrow(f"{table}__data", rows)
    return broken
