"""ClickHouse's users, as docker/clickhouse/users.xml has them: the embedded ClickHouse runs with the rights of one."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import SecretStr

from pipeline.connections import connect
from pipeline.doctor.clickhouse import examine_clickhouse
from pipeline.doctor.finding import State
from pipeline.errors import ServerError
from pipeline.generate import generate
from pipeline.marts.build import build
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.settings import Settings
from pipeline.stores.clickhouse.store import ClickHouse
from tests import chdb
from tests.ports import free_port

USERS = (Path(__file__).parents[1] / "docker/clickhouse/users.xml").read_text()
CONFIG = """<clickhouse>
    <users_config>{users}</users_config>
    <access_control_improvements>
        <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
        <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
        <table_engines_require_grant>true</table_engines_require_grant>
    </access_control_improvements>
</clickhouse>"""

# Of both kinds of tables, with a history and without; with all of them nothing else is asked of a user's rights.
COLLECTIONS, MARTS = ("SupportTickets", "UserSessions", "ProductPriceHistory"), ("ticket_resolution", "session_facts")


@pytest.fixture
def serving(tmp_path: Path) -> Callable[[str], object]:
    """Return a function that serves ClickHouse with one user's rights: the engine has but one, named ``default``."""

    @contextmanager
    def serving(user: str) -> Iterator[str]:
        other = {"etl": "analyst", "analyst": "etl"}[user]
        users = USERS.replace('<default remove="remove"/>', "").replace(
            "<profiles>", "<quotas><default/></quotas>\n<profiles><default/>"
        )
        users = re.sub(rf"<{other}>.*?</{other}>", "", users, flags=re.DOTALL)
        users = users.replace(f"<{user}>", "<default>").replace(f"</{user}>", "</default>")
        users = re.sub(r'<password_sha256_hex from_env="\w+"/>', "<password></password>", users)
        (tmp_path / f"{user}-users.xml").write_text(users)
        config = tmp_path / f"{user}.xml"
        config.write_text(CONFIG.format(users=tmp_path / f"{user}-users.xml"))
        port = free_port()
        command = chdb.command(tmp_path, port, "known", "--config", config.name)
        with subprocess.Popen(command) as process:
            try:
                uri = f"http://default:known@127.0.0.1:{port}"
                _await(uri)
                yield uri
            finally:
                process.terminate()

    return serving


def _await(uri: str) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            _client(uri).close()
            return
        except ClickHouseError:
            assert time.monotonic() < give_up
            time.sleep(0.1)


def _client(uri: str) -> Client:
    return clickhouse_connect.get_client(dsn=uri)


def _states(store: ClickHouse, uri: str) -> set[State]:
    """Return what the doctor thinks of the rights."""
    return {one.state for one in examine_clickhouse(store, uri) if one.check == "rights"}


def test_the_pipeline_can_do_all_of_its_work_and_drop_no_database(
    serving: Callable[[str], object], settings: Settings
) -> None:
    with serving("etl") as uri:  # type: ignore[attr-defined]
        with connect(settings.model_copy(update={"clickhouse_uri": SecretStr(uri)})) as connections:
            generate(connections.mongo.database, connections.entities, scale=0.01, defects=0.02)
            for _ in range(2):  # tables are moved in, then exchanged
                replicate(connections, COLLECTIONS)
                built = build(connections, MARTS)
            connections.mongo.database.UserSessions.delete_one({})
            sync(connections, COLLECTIONS)
            assert all(one.proven for one in verify(connections, COLLECTIONS))
            assert _states(connections.clickhouse, uri) == {State.OK}
            with pytest.raises(ServerError, match=r"lacks the right CREATE DATABASE ON other\.\*; docs/"):
                connections.clickhouse.execute("CREATE DATABASE other")
        client = _client(uri)
        for statement in ("DROP DATABASE replica", "DROP DATABASE marts", "CREATE DATABASE other", "CREATE USER me"):
            with pytest.raises(ClickHouseError, match="Not enough privileges"):
                client.command(statement)
        client.close()
    with serving("analyst") as uri:  # type: ignore[attr-defined]
        client = _client(uri)
        rows = {one.name: client.query(f"SELECT count() FROM marts.{one.name}").result_rows[0][0] for one in built}
        assert rows == {one.name: one.rows for one in built}
        with closing(ClickHouse(uri)) as store:
            assert State.FAIL in _states(store, uri)
        for statement in ("DROP TABLE marts.session_facts", "CREATE TABLE marts.x (a Int8) ENGINE = Memory"):
            with pytest.raises(ClickHouseError, match=r"Not enough privileges|readonly"):
                client.command(statement)
        client.close()


def test_the_documented_rights_are_those_that_were_tried() -> None:
    documented = (Path(__file__).parents[1] / "docs/permissions.md").read_text().partition("## ClickHouse")[2]

    def rights(found: list[str]) -> set[tuple[str, str]]:
        return {(one.strip(), on) for right in found for one, on in _apart(right)}

    def _apart(right: str) -> Iterator[tuple[str, str]]:
        what, _, on = right.partition(" ON ")
        yield from ((one, on) for one in what.split(","))

    tried = rights(re.findall("<query>GRANT (.*?)</query>", USERS))
    assert rights(re.findall(r"GRANT (.* ON .*) TO \w+;", documented)) == tried
