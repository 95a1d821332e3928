"""Assets bear the names of tables, whatever these are."""

from urllib.parse import unquote

import pytest

assets = pytest.importorskip("pipeline.airflow.assets", reason="needs the extra airflow")


def test_tables_of_any_name_have_assets_of_their_own() -> None:
    tables = ["support_tickets", "fs.files", "new orders", "заказы", "a", "a/b", "a?b", "a%2Fb", "A"]
    made = [assets.replica(table) for table in tables]
    assert [one.name for one in made] == tables
    assert made[0].uri == "etl://replica/support_tickets"
    assert [unquote(one.uri.removeprefix("etl://replica/")) for one in made] == tables
    assert len({one.uri for one in made}) == len(tables)
