"""The doctor, on servers that are well and on such as are not; what users lack is in the tests of users."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson import Timestamp

from pipeline import control, replicate
from pipeline.doctor import mongo
from pipeline.doctor.common import clock, duration, encryption, size, version
from pipeline.doctor.examine import _told
from pipeline.doctor.finding import Finding, State, judged
from pipeline.doctor.mongo import examine_mongo
from pipeline.errors import ServerError
from tests.pipeline.lab import Lab

Etl = Callable[..., tuple[int, str, str]]


def test_what_is_well_is_said_to_be(etl: Etl, lab: Lab) -> None:
    lab.fill(SearchQueries=50)
    replicate(lab.connections, ["SearchQueries"])
    code, out, err = etl("doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["findings"]
    assert {one["about"] for one in found} == {"this machine", "contracts", "PostgreSQL", "MongoDB", "ClickHouse"}
    assert all(bool(one["advice"]) is (one["state"] != "ok") for one in found)
    assert {one["check"] for one in found if one["state"] == "fail"} == set()
    (collections,) = [one for one in found if one["check"] == "collections"]
    assert collections["state"] == "warn" and collections["says"].startswith("1 of the 7 declared ones are in ")


def test_what_is_not_there_keeps_it_from_nothing_else(
    etl: Etl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("ENTITY = 1\n")
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    monkeypatch.setenv("ETL_MONGO_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100")
    monkeypatch.setenv("ETL_CLICKHOUSE_URI", "http://127.0.0.1:1")
    code, out, _ = etl("doctor", "--json")
    assert code == 1
    failed = {one["about"]: one["says"] for one in json.loads(out)["findings"] if one["state"] == "fail"}
    assert set(failed) == {"contracts", "MongoDB", "ClickHouse"}
    assert "broken.py: ENTITY is no Entity" in failed["contracts"]
    assert "127.0.0.1:1" in failed["MongoDB"] and "127.0.0.1:1" in failed["ClickHouse"]


def test_a_server_that_has_answered_is_not_called_unreachable() -> None:
    def look() -> Iterator[Finding]:
        yield judged("PostgreSQL", "reachable", "yes")
        raise ServerError("the user lacks a right")

    found = [(one.check, one.state) for one in _told("PostgreSQL", look)]
    assert found == [("reachable", State.OK), ("further questions", State.FAIL)]


def test_an_oplog_that_does_not_reach_back_is_found(lab: Lab) -> None:
    lab.fill(SearchQueries=50)
    replicate(lab.connections, ["SearchQueries"])
    uri = lab.settings.mongo_uri
    assert uri is not None
    with lab.connections.postgres.transaction():
        shown = control.publications(lab.connections.postgres)

    def oplog(moment: Timestamp) -> State:
        published = [one.__class__(**{**vars(one), "cluster_time": moment}) for one in shown]
        found = examine_mongo(lab.connections.mongo, uri.get_secret_value(), {}, published, 10e6)
        return next(one.state for one in found if one.check == "oplog")

    assert oplog(shown[0].cluster_time) is State.OK
    assert oplog(Timestamp(1, 1)) is State.FAIL


@pytest.mark.parametrize(
    ("found", "state"), [("15.4 (Debian 15.4-1)", State.OK), ("14.9", State.FAIL), ("16beta1", State.OK)]
)
def test_versions_are_compared_by_number(found: str, state: State) -> None:
    assert version("PostgreSQL", found, (15,)).state is state


def test_clocks_that_are_apart_are_found() -> None:
    now = datetime.now(UTC)
    assert clock("MongoDB", now).state is State.OK
    assert clock("MongoDB", now.replace(tzinfo=None)).state is State.OK
    assert re.fullmatch(r"12\d\.\d s behind this machine", clock("MongoDB", now - timedelta(minutes=2)).says)
    assert clock("MongoDB", now + timedelta(minutes=2)).state is State.WARN


@pytest.mark.parametrize(
    ("uri", "encrypted", "state"),
    [
        ("mongodb://u:p@127.0.0.1:27017,localhost/", False, State.OK),
        ("mongodb://u:p@a.example:27017,localhost/", False, State.WARN),
        ("postgresql://db.example/x", True, State.OK),
        ("http://[::1]:8123", False, State.OK),
        ("http://ch.example:8123", False, State.WARN),
        ("postgresql:///x?host=db.example", False, State.WARN),
        ("postgresql:///x?host=/var/run/postgresql", False, State.OK),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/", False, State.OK),
    ],
)
def test_what_can_be_overheard_is_told(uri: str, encrypted: bool, state: State) -> None:
    found = encryption("it", uri, encrypted=encrypted, how="TLS")
    assert (found.state, "p@" in found.says) == (state, False)


@pytest.mark.parametrize(
    ("uri", "encrypted"),
    [
        ("mongodb://a/?tls=true", True),
        ("mongodb://a/?ssl=TRUE&x=y", True),
        ("mongodb://a/?tlsCAFile=%2Fca.pem", True),
        ("mongodb+srv://a/", True),
        ("mongodb+srv://a/?tls=false", False),
        ("mongodb://a/?replicaSet=tls", False),
    ],
)
def test_mongodb_s_tls_is_what_its_driver_makes_of_the_uri(uri: str, encrypted: bool) -> None:
    assert mongo._is_encrypted(uri) == encrypted


def test_sizes_and_times_are_said_as_people_do() -> None:
    assert [duration(one) for one in (5, 119, 120, 7_200, 200_000)] == [
        *("5 seconds", "119 seconds", "2.0 minutes", "2.0 hours", "2.3 days")
    ]
    assert [size(one) for one in (0, 2**21, 5 * 2**30)] == ["0 MiB", "2 MiB", "5.0 GiB"]
