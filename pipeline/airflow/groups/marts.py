"""The tasks of the marts: one each, named by it, after those whose marts it reads."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow.sdk import TaskGroup, task

from pipeline.airflow import assets
from pipeline.airflow.catalog import marts_read
from pipeline.airflow.groups import group
from pipeline.airflow.limits import COPY, RUN, in_stores
from pipeline.airflow.params import given_or

# After marts that are not wanted, which are skipped; but not if no run was opened.
AFTER_SKIPPED = "none_failed_min_one_success"


@task
def open_run(params: dict[str, Any], given: dict[str, Any] | None, known: list[str]) -> dict[str, Any]:
    """Choose the one moment that the replica shows and open a run."""
    from pipeline.airflow.marts import open_run

    chosen = given_or(params, given)
    return open_run(chosen["marts"], known, full=chosen["full"], without_snapshot=chosen["without_snapshot"])


@task(trigger_rule=AFTER_SKIPPED)
def load(run: dict[str, Any], mart: str) -> None:
    """Compute one mart, check it and stage it; one that is loaded is left alone."""
    from pipeline.airflow.marts import load

    load(run, mart)


@task(outlets=[assets.MARTS], trigger_rule=AFTER_SKIPPED)
def publish(run: dict[str, Any], *, outlet_events: Any = None) -> None:
    """Show all marts together; done again, it does nothing."""
    from pipeline.airflow.marts import publish

    for mart, extra in publish(run).items():
        outlet_events[assets.MARTS].add(assets.mart(mart), extra=extra)


def marts_tasks(given: Mapping[str, Any] | None = None) -> None:
    """Make the tasks of the marts in the DAG or the group whose block runs.

    Args:
        given: The marts, as `marts_group` takes them; None if the DAG's params name them.
    """
    read = _needed(given["marts"]) if given else marts_read()
    run = in_stores(open_run, RUN)(given=dict(given) if given else None, known=[*read])
    with TaskGroup("load", tooltip="One task per mart; it waits for the marts that it reads."):
        loaded = {mart: _load_of(mart)(run, mart) for mart in read}
    for mart, sources in read.items():
        for source in sources:
            loaded[source] >> loaded[mart]
    [*loaded.values()] >> in_stores(publish, COPY, first=True)(run)


def marts_group(
    group_id: str = "marts",
    *,
    marts: Sequence[str] = (),
    full: bool = False,
    without_snapshot: bool = False,
    default_args: Mapping[str, Any] | None = None,
) -> TaskGroup:
    """Compute marts from what is replicated and publish them together; as part of a DAG of yours.

    Args:
        group_id: Name of the group, which goes before the names of its tasks.
        marts: Names of marts, to which those that they read are added; all if none is named.
        full: Whether all rows are computed, and not those alone that may have changed.
        without_snapshot: Whether marts may read what was copied at no one moment, such as capped collections.
        default_args: What goes before our own options of all its tasks, such as ``retries``.

    Returns:
        The group.
    """
    with group(group_id, "Compute the marts and publish them together.", default_args) as made:
        marts_tasks({"marts": list(marts), "full": full, "without_snapshot": without_snapshot})
    return made


def _load_of(mart: str) -> Any:
    """Return the task that computes a mart."""
    return in_stores(load, COPY).override(task_id=mart, doc_md=f"Compute the mart `{mart}`. {load.function.__doc__}")


def _needed(marts: Collection[str]) -> dict[str, list[str]]:
    """Return marts and those that they read, each with what it reads; all if none is named."""
    read, left = marts_read(), [*marts]
    needed: dict[str, list[str]] = {} if marts else read
    while left:
        mart = left.pop()
        needed[mart] = read.get(mart, [])  # a mart that is not known is refused by open_run
        left += [source for source in needed[mart] if source not in needed]
    return needed
