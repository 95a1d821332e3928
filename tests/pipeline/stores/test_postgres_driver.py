"""A canary: what the import of PostgreSQL's driver relies on in Arrow and in the driver, but neither promises."""

import subprocess
import sys
from contextlib import closing

from pipeline.settings import Settings
from pipeline.stores.postgres.session import Session

# In a process of its own: in this one much is imported already.
LOOK = """
import sys
import pipeline.stores.postgres.driver
import pyarrow as pa
from datetime import UTC, datetime

columns = [[datetime(2026, 1, 1, tzinfo=UTC)], ["text"], [b"bytes"], [["of texts"]], [None]]
values = pa.record_batch(columns, list("abcde"))
values.to_pylist()
taken = {"pandas", "polars"} & sys.modules.keys()
assert not taken, f"Arrow or ADBC asks for {taken} in another way than it did, and imports them again"
assert values.select(["b"]).to_pandas()["b"].to_list() == ["text"], "Arrow does not ask for pandas anew where it must"
import polars
"""


def test_the_driver_and_arrow_take_pandas_and_polars_along_only_when_they_must() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_connection_that_was_opened_beside_another_one_is_its_own(settings: Settings) -> None:
    assert settings.postgres_uri is not None
    ask, first = "SELECT pg_backend_pid(), count(*) FROM pg_class WHERE relname = 'seen'", []
    with closing(Session(settings.postgres_uri.get_secret_value())) as session:
        beside = session.another()
        session.execute("CREATE TABLE seen (n int)")
        first += [session.rows(ask), beside.rows(ask)]
    with closing(beside):
        assert beside.answers()
        assert [rows[0][1] for rows in first] == [1, 0]
        assert first[0][0][0] != first[1][0][0] == beside.rows(ask)[0][0]
