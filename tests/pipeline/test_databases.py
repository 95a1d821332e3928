"""Collections of several databases, copied at one moment, followed and proven."""

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import control
from pipeline.airflow import replicate as tasks
from pipeline.airflow.verify import verify as prove
from pipeline.connections import connect
from pipeline.doctor.mongo import examine_mongo
from pipeline.errors import SnapshotError, UsageError
from pipeline.replication import replicate, verify
from pipeline.replication.repair import repair
from pipeline.replication.sync import sync
from tests.pipeline.lab import Lab

ORDERS = """
    from contracts.schema.entity import Entity
    from contracts.schema.fields import integer

    ENTITY = Entity("orders", "Orders.", fields=(integer("n", "Number."),){more})
"""
NAMES = ["orders", "ld_crm.orders", "ld_crm.Kunden.alt"]


@pytest.fixture(scope="module")
def shops(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "orders.py").write_text(textwrap.dedent(ORDERS.format(more="")))
    other = ', database="ld_crm", table="crm_orders"'
    (folder / "crm_orders.py").write_text(textwrap.dedent(ORDERS.format(more=other)))
    third = ORDERS.replace('"orders"', '"Kunden.alt"').format(more=', database="ld_crm", table="old_customers"')
    (folder / "old_customers.py").write_text(textwrap.dedent(third))
    settings = lab.settings.model_copy(update={"contracts": (folder,)})
    with connect(settings) as connections:
        yield Lab(connections, settings)
        connections.mongo.client.drop_database("ld_crm")


def numbers(lab: Lab) -> dict[str, list[int]]:
    tables = ("orders", "crm_orders", "old_customers")
    found = {name: lab.clickhouse(f"SELECT n FROM replica.{name} ORDER BY n") for name in tables}
    assert found == {name: lab.postgres(f"SELECT n FROM replica.{name} ORDER BY n") for name in tables}
    return {name: [number for (number,) in rows] for name, rows in found.items()}


def test_one_run_copies_several_databases_at_one_moment(shops: Lab) -> None:
    client = shops.connections.mongo.client
    shops.collection("orders").insert_many([{"n": 1}, {"n": 2}])
    client["ld_crm"]["orders"].insert_many([{"n": 10}, {"n": 20}])
    client["ld_crm"]["Kunden.alt"].insert_one({"n": 100})
    client["ld_crm"]["not declared"].insert_one({"n": 100})
    run, accounts = replicate.replicate(shops.connections)
    assert {one.collection: one.loaded for one in accounts} == {"orders": 2, "ld_crm.orders": 2, "ld_crm.Kunden.alt": 1}
    assert {one.cluster_time for one in control.publications(shops.connections.postgres)} == {run.cluster_time}
    assert numbers(shops) == {"orders": [1, 2], "crm_orders": [10, 20], "old_customers": [100]}
    assert shops.connections.undeclared() == ()
    assert {one.collection for one in verify.verify(shops.connections)} == set(NAMES)


def test_the_doctor_looks_where_their_contracts_say(shops: Lab) -> None:
    uri = shops.settings.mongo_uri
    assert uri is not None
    found = examine_mongo(shops.connections.mongo, uri.get_secret_value(), shops.connections.entities, (), 10e6)
    says = {one.check: one.says for one in found}
    assert says["right to read"] == f"given on 'ld_crm', {shops.connections.mongo.database.name!r}"


def test_changes_of_each_are_followed_repaired_and_proven(shops: Lab) -> None:
    client = shops.connections.mongo.client
    shops.collection("orders").insert_one({"n": 3})
    client["ld_crm"]["orders"].delete_one({"n": 10})
    client["ld_crm"]["orders"].insert_one({"n": 30})
    synced = {one.collection: (one.changed, one.deleted) for one in sync(shops.connections)}
    assert synced == {"orders": (1, 0), "ld_crm.orders": (2, 1), "ld_crm.Kunden.alt": (0, 0)}
    assert numbers(shops) == {"orders": [1, 2, 3], "crm_orders": [20, 30], "old_customers": [100]}
    shops.change_postgres("UPDATE replica.crm_orders SET n = 5 WHERE n = 30")
    repair(shops.connections, verify.verify(shops.connections, ["ld_crm.orders"]))
    assert all(one.proven for one in verify.verify(shops.connections))


def test_what_is_missing_or_dropped_in_another_database_is_named_with_it(shops: Lab) -> None:
    shops.connections.mongo.client["ld_crm"]["Kunden.alt"].drop()
    with pytest.raises(SnapshotError, match=r"collection ld_crm\.Kunden\.alt was dropped"):
        sync(shops.connections)
    with pytest.raises(UsageError, match=r"not in the MongoDB database 'ld_crm': ld_crm\.Kunden\.alt"):
        replicate.replicate(shops.connections)


def test_made_up_documents_go_to_the_database_of_their_contract(shops: Lab) -> None:
    shops.fill(**{"ld_crm.orders": 20})
    assert shops.connections.mongo.client["ld_crm"]["orders"].count_documents({}) == 20
    replicate.replicate(shops.connections, ["ld_crm.orders", "orders"])
    assert all(one.proven for one in verify.verify(shops.connections, ["crm_orders", "orders"]))


def test_infer_writes_contracts_that_name_their_database(
    lab: Lab, etl: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = lab.connections.mongo.client["ld_other"]
    database["bills"].insert_one({"n": 1})
    database["новые заказы"].insert_one({"a.b": 1, "a_b": 2})
    lab.collection("mine").insert_one({"n": 1})
    monkeypatch.delenv("ETL_CONTRACTS", raising=False)
    code, out, err = etl("contract", "infer", "--database", "ld_other", "-o", str(tmp_path), "--json")
    assert code == 0, err
    assert {one["collection"] for one in json.loads(out)["contracts"]} == {"ld_other.bills", "ld_other.новые заказы"}
    assert {path.name for path in tmp_path.glob("*.py")} == {"bills.py", "новые_заказы.py"}
    assert 'database="ld_other",' in (tmp_path / "bills.py").read_text()
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    assert etl("replicate", "ld_other.новые заказы", "bills")[0] == 0
    assert etl("verify", "новые_заказы", "ld_other.bills")[0] == 0
    assert lab.postgres('SELECT a_b, a_b_2 FROM replica."новые_заказы"') == [(1, 2)]
    code, out, err = etl("contract", "infer", "nowhere", "--database", "ld_other", "-o", str(tmp_path))
    assert (code, "no collection 'nowhere' in the MongoDB database 'ld_other'" in err) == (2, True)
    lab.connections.mongo.client.drop_database("ld_other")


def test_the_tasks_of_airflow_copy_and_prove_them(shops: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in shops.settings:
        if name.endswith("_uri"):
            monkeypatch.setenv(f"ETL_{name.upper()}", value.get_secret_value())
    monkeypatch.setenv("ETL_CONTRACTS", ":".join(map(str, shops.settings.contracts)))
    monkeypatch.setenv("ETL_MONGO_DATABASE", shops.settings.mongo_database)
    shops.connections.mongo.client["ld_crm"]["Kunden.alt"].insert_one({"n": 700})
    run = tasks.open_run([], ["postgres", "clickhouse"])
    for partition in tasks.plan(run):
        tasks.load(run, partition)
    tasks.prove(run, None)
    assert set(tasks.publish(run, None)) == {"orders", "crm_orders", "old_customers"}
    prove(run["uuids"], run["targets"])
    assert 700 in numbers(shops)["old_customers"]
