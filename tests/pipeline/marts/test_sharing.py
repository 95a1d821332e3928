"""Several processes compute the marts that one computes."""

import pytest

from pipeline.marts import build as marts
from pipeline.marts import sharing
from pipeline.marts.sharing import groups
from pipeline.replication import replicate
from pipeline.runtime import workers
from tests.pipeline.lab import Lab

NAMES = ["user_activity_daily", "user_activity", "ticket_resolution"]


@pytest.mark.parametrize("target", ["postgres", "clickhouse"])
def test_two_processes_compute_the_marts_of_one(lab: Lab, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    lab.fill(**{entity.collection: 60 for entity in lab.connections.chosen()})
    replicate.replicate(lab.connections, targets=[target])
    alone = marts.build(lab.connections, NAMES, [target])
    known = lab.connections.marts
    before = {one.name: lab.stored(target, known[one.name].table, "marts") for one in alone}
    for module in (workers, sharing):
        monkeypatch.setattr(module, "SHARE_BYTES", 1)
    told = dict[str, int]()
    with lab.another(workers=2) as several:
        run = marts.open_run(several, NAMES, [target], full=True)
        shares = groups(several, run, 2)
        together = marts.build(several, NAMES, [target], lambda name, rows, _: told.update({name: rows}), full=True)
    assert sorted(name for one in shares for name in one.names) == sorted(one.name for one in alone)
    assert len(shares) == 2
    assert told == {one.name: one.rows for one in together} == {one.name: one.rows for one in alone}
    for name, rows in before.items():
        assert lab.stored(target, known[name].table, "marts").equals(rows)
