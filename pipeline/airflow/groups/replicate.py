"""The tasks of a copy: from its moment to the proof that every value has arrived."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import TaskGroup, task

from pipeline.airflow import assets
from pipeline.airflow.groups import group
from pipeline.airflow.limits import COPY, PARTITION, PROOF, RUN, in_stores, reading_mongo
from pipeline.airflow.params import TARGETS, given_or


@task
def snapshot(params: dict[str, Any], given: dict[str, Any] | None) -> dict[str, Any]:
    """Choose the moment and open a run."""
    from pipeline.airflow.replicate import open_run

    chosen = given_or(params, given)
    names = ("allow_shrink", "new_source", "allow_missing", "undeclared", "without_snapshot")
    flags = {name: chosen[name] for name in names}
    return open_run(chosen["collections"], chosen["targets"], **flags)


@task
def plan(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the collections into partitions, once."""
    from pipeline.airflow.replicate import plan

    return plan(run)


@task(
    map_index_template="{{ task.op_kwargs['partition']['label'] }}",
    doc_md="Copy one partition into staging; one that is loaded is left alone.",
)
def load(run: dict[str, Any], partition: dict[str, Any]) -> None:
    """Copy one partition into staging."""
    from pipeline.airflow.replicate import load

    load(run, partition)


@task
def prove(run: dict[str, Any], params: dict[str, Any], given: dict[str, Any] | None) -> None:
    """Hold source = loaded + quarantined, and the limit of the quarantine."""
    from pipeline.airflow.replicate import prove

    prove(run, given_or(params, given)["max_quarantined"])


@task(outlets=[assets.REPLICA])
def publish(
    run: dict[str, Any], params: dict[str, Any], given: dict[str, Any] | None, *, outlet_events: Any = None
) -> None:
    """Show all tables at once; done again, it does nothing."""
    from pipeline.airflow.replicate import publish

    for table, extra in publish(run, given_or(params, given)["max_quarantined"]).items():
        outlet_events[assets.REPLICA].add(assets.replica(table), extra=extra)


@task
def verify(run: dict[str, Any]) -> None:
    """Compare every value in the stores with MongoDB."""
    from pipeline.airflow.verify import verify

    verify(run["uuids"], run["targets"])


def replicate_tasks(given: Mapping[str, Any] | None = None) -> None:
    """Make the tasks of a copy in the DAG or the group whose block runs.

    Args:
        given: What is copied, as `replicate_group` takes it; None if the DAG's params say it.
    """
    told = None if given is None else dict(given)
    run = reading_mongo(snapshot, RUN)(given=told)
    partitions = reading_mongo(plan, COPY)(run)
    loaded = reading_mongo(load, PARTITION).partial(run=run).expand(partition=partitions)
    proven = reading_mongo(prove, COPY)(run, given=told)
    published = in_stores(publish, COPY, first=True)(run, given=told)
    loaded >> proven >> published >> reading_mongo(verify, PROOF)(run)


def replicate_group(
    group_id: str = "replicate",
    *,
    collections: Sequence[str] = (),
    targets: Sequence[str] = TARGETS,
    max_quarantined: int | str | None = None,
    allow_shrink: bool = False,
    new_source: bool = False,
    allow_missing: bool = False,
    undeclared: bool = False,
    without_snapshot: bool = False,
    default_args: Mapping[str, Any] | None = None,
) -> TaskGroup:
    """Copy collections into the stores, all at one moment, prove it and publish it; as part of a DAG of yours.

    Args:
        group_id: Name of the group, which goes before the names of its tasks.
        collections: Names of the collections; all if none is named.
        targets: Names of the stores.
        max_quarantined: How many refused documents are tolerated: a number, or ``"0.5%"``; None for any number.
        allow_shrink: Whether to take away more of what is published than ``ETL_MAX_SHRINK`` allows.
        new_source: Whether to take over what was copied from another server or database.
        allow_missing: Whether collections that are not there are copied as empty.
        undeclared: Whether collections without a contract are copied as well, each document whole, now and later on.
        without_snapshot: Whether capped collections are copied as well, which can't be read at one moment.
        default_args: What goes before our own options of all its tasks, such as ``retries``.

    Returns:
        The group; what is to follow the copy is set after it: ``replicate_group() >> mine()``.
    """
    given = {
        "collections": list(collections),
        "targets": list(targets),
        "max_quarantined": max_quarantined,
        "allow_shrink": allow_shrink,
        "new_source": new_source,
        "allow_missing": allow_missing,
        "undeclared": undeclared,
        "without_snapshot": without_snapshot,
    }
    with group(group_id, "Copy MongoDB at one moment, prove it and publish it.", default_args) as made:
        replicate_tasks(given)
    return made
