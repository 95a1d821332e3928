"""What a contract omits is nowhere in the stores, nowhere in the books, and counted."""

import textwrap
from collections.abc import Iterator

import pytest
from bson import decode
from bson.raw_bson import RawBSONDocument

from pipeline import control
from pipeline.connections import connect
from pipeline.control.quarantine import find
from pipeline.errors import UsageError
from pipeline.replication import replicate, verify
from pipeline.replication.repair import repair, replay
from pipeline.replication.sync import sync
from tests.pipeline.lab import Lab
from transforms.bson.documents import make_document

OMITTED = """
            omit("password"),
            omit("$2fa"),
            omit("key.of.the.house"),
            subdocument("account", "Account.", omit("token"), text("name", "Name.", nullable=True), nullable=True),
            documents("cards", "Cards.", omit("number"), omit(""), text("brand", "Brand."), nullable=True),
"""
MEMBERS = """
    from contracts.schema.entity import Entity
    from contracts.schema.kinds import INTEGER
    from contracts.schema.fields import documents, integer, omit, subdocument, text

    ENTITY = Entity(
        collection="Members",
        description="Members.",
        id_kind=INTEGER,
        fields=(
            integer("n", "Number."),{omitted}
        ),
    )
"""
SECRET = "geheim"
DOCUMENTS = [
    {"n": 1, "password": SECRET, "$2fa": {"seed": SECRET}, "account": {"token": [SECRET], "name": "A"}},
    {"n": 2, "password": None, "other": True, "cards": [{"number": SECRET, "brand": "V", "": SECRET}, {"brand": "M"}]},
    {"n": "two", "password": {"$ref": SECRET}, "key.of.the.house": SECRET},
    {"n": 4, "account": {"token": SECRET, "more": 1}, "cards": [{"brand": 5, "number": SECRET, "": SECRET}]},
    {"n": 5},
]


def contracts(lab: Lab, folder: pytest.TempPathFactory, omitted: str = OMITTED) -> Lab:
    path = folder.mktemp("contracts")
    (path / "members.py").write_text(textwrap.dedent(MEMBERS.format(omitted=omitted)))
    with connect(lab.settings.model_copy(update={"contracts": (path,)})) as connections:
        yield Lab(connections, lab.settings)


@pytest.fixture(scope="module")
def members(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield from contracts(lab, tmp_path_factory)


@pytest.fixture(scope="module")
def unaware(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield from contracts(lab, tmp_path_factory, "")


def everything_kept(lab: Lab) -> str:
    """Return all that both stores and the books hold, as text."""
    tables = lab.postgres(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('replica', 'etl')"
    )
    # Bytes are printed in hex, so those of the secret are looked for as text as well.
    rows = [row for (name,) in tables for row in lab.postgres(f"SELECT t::text FROM {name} t")]
    raws = lab.postgres("SELECT bson FROM etl.quarantine")
    clickhouse = [
        lab.clickhouse(f"SELECT * FROM replica.`{name}`") for (name,) in lab.clickhouse("SHOW TABLES IN replica")
    ]
    return f"{rows} {raws} {clickhouse}"


def test_what_is_omitted_is_in_neither_store_nor_in_the_books(unaware: Lab, members: Lab) -> None:
    source = members.collection("Members")
    source.drop()
    source.insert_many([{"_id": number, **one} for number, one in enumerate(DOCUMENTS)])
    twice = b"\2password\0\7\0\0\0geheim\0"
    source.insert_one(RawBSONDocument(make_document(b"\x10_id\0\5\0\0\0", twice, b"\x10n\0\6\0\0\0", twice)))
    replicate.replicate(unaware.connections, ["Members"])
    said = r"^the contract of Members omits '.*', which may be in what is published; .*run etl replicate Members$"
    with pytest.raises(UsageError, match=said):
        sync(members.connections, ["Members"])
    assert SECRET in everything_kept(members)  # as _extra, and in quarantine: nobody had said that it is a secret
    source.update_one({"_id": 3}, {"$unset": {"cards": 1}})  # so that one of the quarantine will be resolved
    run, accounts = replicate.replicate(members.connections, ["Members"])
    assert {(one.source, one.loaded, one.quarantined) for one in accounts} == {(6, 5, 1)}
    assert SECRET not in everything_kept(members)
    assert all(one.proven for one in verify.verify(members.connections, ["Members"]))
    extra = members.postgres("SELECT _id, _extra::text FROM replica.members WHERE _extra IS NOT NULL ORDER BY 1")
    assert extra == [(1, '{"/other": true}'), (3, '{"/account/more": 1}')]
    assert members.postgres("SELECT brand FROM replica.members_cards ORDER BY 1") == [("M",), ("V",)]
    counted = {
        one.path: one.count
        for one in control.drift(members.connections.postgres, run.id)
        if one.kind == "omitted field"
    }
    assert counted == {
        "/password": 4,
        "/$2fa": 1,
        "/key.of.the.house": 1,
        "/account/token": 2,
        "/cards/*/number": 1,
        "/cards/*/": 1,
    }


def test_what_is_refused_is_shown_retried_and_proven_without_it(members: Lab) -> None:
    (shown,) = find(members.connections.postgres, "2")
    assert decode(shown.raw) == {"_id": 2, "n": "two"}
    (replayed,) = replay(members.connections, ["Members"])
    assert (replayed.refused, replayed.changed) == (1, 0)
    assert all(one.proven for one in verify.verify(members.connections, ["Members"]))


def test_sync_and_repair_leave_it_out(members: Lab) -> None:
    members.collection("Members").update_one({"_id": 4}, {"$set": {"password": SECRET, "account": {"token": SECRET}}})
    members.collection("Members").update_one({"_id": 0}, {"$set": {"n": 10, "account.token": {"a": SECRET}}})
    sync(members.connections, ["Members"])
    members.change_postgres("UPDATE replica.members SET n = 7 WHERE _id = 0")
    found = verify.verify(members.connections, ["Members"])
    repair(members.connections, found)
    assert all(one.proven for one in verify.verify(members.connections, ["Members"]))
    assert SECRET not in everything_kept(members)


def test_made_up_documents_have_it(members: Lab) -> None:
    members.fill(Members=200)
    run, _ = replicate.replicate(members.connections, ["Members"])
    assert all(one.proven for one in verify.verify(members.connections, ["Members"]))
    assert "omitted-" not in everything_kept(members)
    assert {one.path for one in control.drift(members.connections.postgres, run.id)} > {"/password", "/account/token"}
