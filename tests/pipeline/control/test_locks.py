"""A run holds its lock for as long as it goes on, and not for as long as the session does that it was done in."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline import control
from pipeline.errors import EtlError
from pipeline.marts import build as marts
from pipeline.replication import repair, replicate
from pipeline.replication.comparison import Comparison
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.lab import Lab


def _locks(lab: Lab) -> int:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    return int(
        lab.postgres(f"{query} AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")[0][0]
    )


def _change(lab: Lab) -> None:
    lab.collection("SupportTickets").update_one({}, {"$inc": {"n": 1}})


def _repair(connections: Any) -> None:
    """Put a row right that is right already."""
    (shown,) = (one for one in control.publications(connections.postgres) if one.name == "SupportTickets")
    _id = connections.postgres.rows("SELECT min(_id) FROM replica.support_tickets")[0][0]
    broken = Comparison(shown.name, shown.target, shown.cluster_time, shown.run_id, different=1, broken=[_id])
    assert repair.repair(connections, [broken]) == [broken]


RUNS: dict[str, Callable[[Any], Any]] = {
    "replicate": lambda lab: replicate.replicate(lab.connections, ["SupportTickets"], ["postgres"]),
    "sync": lambda lab: (_change(lab), sync(lab.connections)),
    "replay": lambda lab: repair.replay(lab.connections, ["SupportTickets"]),
    "repair": lambda lab: _repair(lab.connections),
    "marts": lambda lab: marts.build(lab.connections, ["ticket_resolution"], ["postgres"]),
    "verify": lambda lab: verify(lab.connections, ["SupportTickets"], ["postgres"]),
}


@pytest.fixture(scope="module")
def tiny(lab: Lab) -> Any:
    """Return a lab with one collection in one store: each run is as short as can be."""
    lab.fill(SupportTickets=3)
    lab.collection("SupportTickets").insert_one({"refused": True})
    RUNS["replicate"](lab)
    return lab


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_lets_go_of_its_locks(tiny: Any, kind: str) -> None:
    """A session that follows the changes for months would fill the server's table of locks otherwise."""
    before = len(control.statuses(tiny.connections.postgres))
    for _ in range(5):
        RUNS[kind](tiny)
    assert _locks(tiny) == 0
    assert len(control.statuses(tiny.connections.postgres)) == before + 5 * (kind != "verify")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, EtlError])
@pytest.mark.parametrize("moment", ["record_partition", "record_publication"])
@pytest.mark.parametrize("kind", [kind for kind in RUNS if kind != "verify"])
def test_a_run_that_fails_lets_go_of_its_locks(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str, error: type[BaseException]
) -> None:
    """Also where a statement has failed, after which the transaction takes no other."""

    def fail(postgres: Any, *_: Any, **__: Any) -> None:
        if error is EtlError:
            postgres.execute("SELECT 1 / 0")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(control, moment, fail)
        with pytest.raises(error):
            RUNS[kind](tiny)
    assert _locks(tiny) == 0
    last = "SELECT status, message = 'interrupted' FROM etl.runs ORDER BY started_at DESC LIMIT 1"
    assert tiny.postgres(last) == [("failed", error is not EtlError)]
    assert tiny.leftovers() == []


def test_a_run_whose_staging_fails_is_given_up(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise EtlError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(Postgres, "stage", fail)
        for kind in ("replicate", "marts"):
            with pytest.raises(EtlError, match="no room"):
                RUNS[kind](tiny)
    assert _locks(tiny) == 0
    assert "running" not in control.statuses(tiny.connections.postgres).values()
