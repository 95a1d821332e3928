"""The outcomes as plain values, for ``--json``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import moment

if TYPE_CHECKING:
    from bson import Timestamp

    from pipeline.control import Account
    from pipeline.control.status import Status
    from pipeline.marts.build import BuiltMart
    from pipeline.marts.trace import Trace
    from pipeline.replication.comparison import Comparison
    from pipeline.replication.sample import Sample
    from pipeline.replication.sync import Synced
    from pipeline.runs.run import Run


def replicated(run: "Run", accounts: Sequence["Account"]) -> dict[str, Any]:
    """Return a run and its books."""
    return {
        "run_id": run.id,
        **_moment(run.cluster_time),
        "targets": list(run.targets),
        "closed": all(one.closed for one in accounts),
        "books": [_account(one) for one in accounts],
    }


def synced(found: Sequence["Synced"]) -> dict[str, Any]:
    """Return what became of the changes of each collection."""
    return {
        "collections": [
            asdict(one) | {"since": moment(one.since), "deleted": one.deleted} | _moment(one.cluster_time)
            for one in found
        ]
    }


def verified(found: Sequence["Comparison"], sample: "Sample | None" = None) -> dict[str, Any]:
    """Return what was compared, all or a sample, and whether all of that is proven."""
    comparisons = [asdict(one) | _moment(one.cluster_time) | {"proven": one.proven} for one in found]
    drawn = asdict(sample) if sample else None
    return {"proven": all(one.proven for one in found), "sample": drawn, "comparisons": comparisons}


def marts(built: Sequence["BuiltMart"]) -> dict[str, Any]:
    """Return what was built."""
    return {"marts": [asdict(one) | _moment(one.cluster_time) for one in built]}


def explained(trace: "Trace | None") -> dict[str, Any] | None:
    """Return what was read and where the time went, if that was asked for."""
    if trace is None:
        return None
    return {"seconds": dict(trace.watch.seconds), "reads": [asdict(one) for one in trace.reads]}


def state(found: "Status") -> dict[str, Any]:
    """Return what the books say."""
    return {
        "runs": [asdict(one) for one in found.runs],
        "books": [_account(one) for one in found.ledger],
        "published": [asdict(one) | _moment(one.cluster_time) for one in found.published],
        "quarantined": found.quarantined or {},
    }


def _account(account: "Account") -> dict[str, Any]:
    return asdict(account) | {"closed": account.closed}


def _moment(cluster_time: "Timestamp") -> dict[str, Any]:
    """Return a cluster time exactly, as MongoDB writes it, and as a date."""
    return {"cluster_time": [cluster_time.time, cluster_time.inc], "cluster_time_at": moment(cluster_time)}
