"""What a session with PostgreSQL is like, whatever the server or the role says."""

import time
from contextlib import closing

import pytest

from pipeline.stores.postgres.session import Session
from tests.pipeline.lab import Lab


@pytest.mark.parametrize(
    "limit",
    ["statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout"],
)
def test_no_limit_of_the_servers_ends_what_takes_its_time(lab: Lab, limit: str) -> None:
    uri = lab.settings.postgres_uri
    assert uri is not None
    limited = f"{uri.get_secret_value()}{'&' if '?' in uri.get_secret_value() else '?'}options=-c%20{limit}%3D1s"
    with closing(Session(limited)) as session:
        assert session.rows("SELECT current_setting($1::text)", limit) == [("0",)]
        session.rows("SELECT pg_sleep(1.1)")
        time.sleep(1.1)
        session.commit()
        time.sleep(1.1)
        assert session.answers()
