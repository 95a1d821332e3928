"""A publish that would take away or refuse too much of what is published stops, and tells how to go on."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import control
from pipeline.connections import Connections
from pipeline.errors import QuarantineLimitError, ShrinkError
from pipeline.inference.check import check
from pipeline.replication.repair import repair
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab

CONTRACT = """
    '''Things with tags.'''

    from contracts.schema.entity import Entity
    from contracts.schema.fields import integer, text, texts
    from contracts.schema.kinds import TEXT

    ENTITY = Entity("Tagged", "A thing.", "name", (text("name", "Its name."{name}), {tags}), id_kind=TEXT)
"""
RIGHT, WRONG = 'texts("tags", "Its tags.")', 'integer("tags", "Its tags.")'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contracts")


def _declare(folder: Path, tags: str, name: str = "") -> None:
    (folder / "tagged.py").write_text(textwrap.dedent(CONTRACT.format(tags=tags, name=name)))


@pytest.fixture
def here(lab: Lab, folder: Path) -> Iterator[Any]:
    """Yield a lab with the limit that users have, and 20 documents that are published."""
    _declare(folder, RIGHT)
    collection = lab.collection("Tagged")
    collection.delete_many({})
    collection.insert_many([{"_id": f"{n:02}", "name": f"n{n}", "tags": ["a"]} for n in range(20)])
    with lab.another(contracts=(folder,), max_shrink=0.5) as connections:
        replicate(connections, ["Tagged"], allow_shrink=True, max_quarantined="100%")
        yield type(lab)(connections, lab.settings)


@pytest.fixture
def wrong(here: Any, folder: Path) -> Iterator[Connections]:
    _declare(folder, WRONG)
    with here.another(contracts=(folder,), max_shrink=0.5) as connections:
        yield connections


def _rows(lab: Lab) -> tuple[int, int]:
    query = "SELECT count(*) FROM replica.tagged"
    return lab.postgres(query)[0][0], lab.clickhouse(query)[0][0]


def test_a_wrong_contract_empties_no_published_table(here: Any, wrong: Connections) -> None:
    shown = control.publications(here.connections.postgres)
    with pytest.raises(QuarantineLimitError) as error:
        replicate(wrong, ["Tagged"])
    assert error.value.exit_code == 1
    for words in ("20 of 20 documents of Tagged", "20 times", "/tags", "tagged.py", "--max-quarantined", "00"):
        assert words in str(error.value)
    with pytest.raises(QuarantineLimitError, match="20 of 20"):
        replicate(wrong, ["Tagged"], allow_shrink=True)
    with pytest.raises(QuarantineLimitError, match="more than the limit of 1%"):
        replicate(wrong, ["Tagged"], max_quarantined="1%")
    assert check(wrong.mongo, wrong.entities, ["Tagged"]).refused == 20  # as the sentence proposes
    assert (control.publications(here.connections.postgres), _rows(here)) == (shown, (20, 20))
    assert here.leftovers() == []
    replicate(wrong, ["Tagged"], max_quarantined="100%")
    assert _rows(here) == (0, 0)
    replicate(wrong, ["Tagged"])  # which refuses nothing that was not refused before


def test_a_sync_refuses_no_more_than_half(here: Any, wrong: Connections) -> None:
    here.collection("Tagged").update_many({"_id": {"$lt": "11"}}, {"$set": {"tags": 7.5}})
    with pytest.raises(QuarantineLimitError, match="11 of 11 documents of Tagged"):
        sync(here.connections)
    assert _rows(here) == (20, 20)
    sync(here.connections, max_quarantined="100%")
    assert _rows(here) == (9, 9)


@pytest.mark.parametrize("command", [replicate, sync])
def test_more_than_half_is_gone_on_purpose_only(here: Any, command: Any) -> None:
    here.collection("Tagged").delete_many({"_id": {"$lt": "10"}})
    command(here.connections, ["Tagged"])  # half is not more than half
    assert _rows(here) == (10, 10)
    here.collection("Tagged").delete_many({"_id": {"$lt": "16"}})
    with pytest.raises(ShrinkError, match=r"Tagged in postgres would shrink from 10 documents to 4.*--allow-shrink"):
        command(here.connections, ["Tagged"])
    assert _rows(here) == (10, 10)
    command(here.connections, ["Tagged"], allow_shrink=True)
    assert _rows(here) == (4, 4)


def test_what_is_gone_and_what_is_refused_count_together(here: Any) -> None:
    here.collection("Tagged").delete_many({"_id": {"$lt": "06"}})
    here.collection("Tagged").update_many({"_id": {"$lt": "12"}}, {"$set": {"tags": 7.5}})
    for command in (replicate, sync):
        with pytest.raises(ShrinkError, match=r"from 20 documents to 8 \(6 are refused"):
            command(here.connections, ["Tagged"])
    replicate(here.connections, ["Tagged"], max_quarantined="100%")
    assert _rows(here) == (8, 8)


def test_a_first_copy_of_which_nothing_is_loaded_stops(here: Any, wrong: Connections) -> None:
    here.change_postgres("DROP TABLE replica.tagged", "DELETE FROM etl.published WHERE collection = 'Tagged'")
    with pytest.raises(QuarantineLimitError, match="20 of 20 documents of Tagged"):
        replicate(wrong, ["Tagged"], ["postgres"])
    here.collection("Tagged").update_one({}, {"$set": {"tags": 1}})
    replicate(wrong, ["Tagged"], ["postgres"])  # one is loaded


def test_the_limit_is_a_setting(here: Any, folder: Path) -> None:
    here.collection("Tagged").delete_many({"_id": {"$lt": "19"}})
    with here.another(contracts=(folder,), max_shrink=0.96) as connections:
        replicate(connections, ["Tagged"])
    assert _rows(here) == (1, 1)


def test_of_the_reasons_the_most_frequent_are_told(here: Any) -> None:
    for number, tags in enumerate((7, 7, 7, "a", "a", ["a", 7], {"a": 1}, {"a": 1})):
        here.collection("Tagged").update_one({"_id": f"{number:02}"}, {"$set": {"tags": tags}})
    here.collection("Tagged").update_one({"_id": "00"}, {"$set": {"name": 7}})
    sync(here.connections)
    here.collection("Tagged").update_many({"_id": {"$gte": "04"}}, {"$set": {"tags": 7}, "$unset": {"name": ""}})
    with pytest.raises(QuarantineLimitError, match=r"12 of 16 .* 12 times .*; 12 times .*") as error:
        sync(here.connections)
    assert str(error.value).count('(such as "08")') == 2  # the ones before are refused already


def test_a_repair_takes_no_more_than_half(here: Any) -> None:
    here.change_postgres(
        "INSERT INTO replica.tagged (_id, name, tags, tags_count) "
        "SELECT 'x' || n, 'n', '{}', 0 FROM generate_series(1, 21) n"
    )
    found = verify(here.connections, ["Tagged"], ["postgres"])
    with pytest.raises(ShrinkError, match=r"from 41 documents to 20.*run etl replicate Tagged with --allow-shrink"):
        repair(here.connections, found)
    assert _rows(here) == (41, 20)
    here.change_postgres("DELETE FROM replica.tagged WHERE _id = 'x1'")  # now it is half
    repair(here.connections, verify(here.connections, ["Tagged"], ["postgres"]))
    assert _rows(here) == (20, 20)


def test_a_repair_refuses_no_more_than_half(here: Any, folder: Path) -> None:
    here.change_postgres("UPDATE replica.tagged SET name = 'bent' WHERE _id < '11'")
    _declare(folder, RIGHT, ", min_length=9")
    with here.another(contracts=(folder,), max_shrink=0.5) as connections:
        found = verify(connections, ["Tagged"])
        with pytest.raises(QuarantineLimitError, match=r"11 of 11 .*run etl replicate Tagged with --max-quarantined"):
            repair(connections, found)
    assert _rows(here) == (20, 20)
