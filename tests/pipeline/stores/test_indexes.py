"""Keys and statistics of what is going to be published: on two connections, however many tables there are."""

import pytest

from pipeline.errors import EtlError
from pipeline.stores.postgres import indexes
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.lab import Lab


@pytest.mark.parametrize(("pieces", "more"), [(1, 0), (2, 1), (9, 1)])
def test_many_tables_take_one_connection_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, pieces: int, more: int
) -> None:
    another, opened = Postgres.another, []
    monkeypatch.setattr(Postgres, "another", lambda self: opened.append(self) or another(self))
    lab.change_postgres("CREATE TABLE IF NOT EXISTS built (piece bigint, timeout text)", "TRUNCATE built")
    piece = "INSERT INTO built VALUES ({}, current_setting('lock_timeout'))"
    indexes.build_all(lab.connections.postgres, [[piece.format(number)] for number in range(pieces)])
    assert lab.postgres("SELECT * FROM built ORDER BY 1") == [(number, "1min") for number in range(pieces)]
    assert len(opened) == more
    assert lab.postgres("SELECT current_setting('lock_timeout')") == [
        ("10min",)
    ]  # what the pieces need is theirs alone


def test_whichever_of_the_two_fails_is_told(lab: Lab) -> None:
    for failing in range(3):
        pieces = [["SELECT 1 / 0" if number == failing else "SELECT 1"] for number in range(3)]
        with pytest.raises(EtlError, match="division by zero"):
            indexes.build_all(lab.connections.postgres, pieces)
        assert lab.postgres("SELECT 1") == [(1,)]
