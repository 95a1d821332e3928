"""What whoever operates Airflow sets, by the environment: how much may run at once, when, and for how long.

The DAG processor reads it, together with the DAG files; a task need not know of it.
"""

import os
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pipeline.airflow.variables import read_variable
from pipeline.errors import UsageError

# How long one try of a task may take, by what it works at.
RUN, PARTITION, COPY, PROOF = (timedelta(hours=hours) for hours in (1, 4, 12, 24))  # of 10 TB, keys alone take hours
POOLS = {
    "etl_mongo": ("ETL_MONGO_SLOTS", "Tasks that read MongoDB, or write there"),
    "etl_postgres": ("ETL_POSTGRES_SLOTS", "Tasks that work in the stores alone: marts, publishing, pruning"),
}
DEFAULT_POOL = "default_pool"  # every Airflow has it
TIMEOUTS = "ETL_TIMEOUT_FACTOR"
BY_HAND = "none"
FIRST = 100  # the weight of what publishes


def pool(name: str) -> str:
    """Return the pool of a task: the named one where its size is set, else Airflow's own default.

    In a pool that does not exist a task would wait for ever. `pipeline.airflow.prepare` makes those whose size is set.
    """
    return name if os.environ.get(POOLS[name][0]) else DEFAULT_POOL


def reading_mongo(task: Any, time: timedelta) -> Any:
    """Return a task that takes a slot of those that read MongoDB, and so much time for one try."""
    return task.override(pool=pool("etl_mongo"), execution_timeout=at_most(time))


def in_stores(task: Any, time: timedelta, *, first: bool = False) -> Any:
    """Return a task that takes a slot of those that work in the stores, and so much time for one try.

    Args:
        task: The task.
        time: How long one try may take, before the factor that the environment sets.
        first: Whether it goes before all others that wait: it ends a run, and what others loaded is waiting for it.
    """
    priority = FIRST if first else 1
    return task.override(pool=pool("etl_postgres"), execution_timeout=at_most(time), priority_weight=priority)


def slots() -> dict[str, tuple[int, str]]:
    """Return the pools that are to be made: their sizes and what they are for.

    Raises:
        UsageError: A size is no whole number above zero.
    """
    found = {}
    for name, (variable, purpose) in POOLS.items():
        if given := os.environ.get(variable):
            if not (given.isascii() and given.isdigit() and int(given)):
                raise UsageError(f"{variable} is {given!r}; it must be a whole number above zero, such as 4")
            found[name] = (int(given), purpose)
    return found


def at_most(time: timedelta) -> timedelta:
    """Return the execution timeout of a task, longer or shorter by the factor that the environment sets.

    Raises:
        UsageError: That is no number above zero.
    """
    given = os.environ.get(TIMEOUTS) or "1"
    with suppress(ValueError, OverflowError):
        if (factor := float(given)) > 0:
            return time * factor
    raise UsageError(f"{TIMEOUTS} is {given!r}; it must be a number above zero, such as 2")


def schedule(dag_id: str, default: str | None) -> str | None:
    """Return when a DAG runs: as ``ETL_<DAG>_SCHEDULE`` says, else Airflow's Variable ``etl_<dag>_schedule``.

    Args:
        dag_id: The DAG.
        default: What counts if neither is set; None for a DAG that runs by hand.

    Raises:
        UsageError: It is neither a cron expression, nor a preset such as ``@hourly``, nor ``none``.
    """
    name = f"etl_{dag_id}_schedule"
    where, given = name.upper(), os.environ.get(name.upper(), "").strip()
    if not given:
        where, given = f"the Variable {name}", read_variable(name).strip()
    if not given:
        return default
    if given.lower() == BY_HAND:
        return None
    if not _is_schedule(given):
        raise UsageError(f"{where} is {given!r}; it must be a cron expression, a preset such as @hourly, or {BY_HAND}")
    return given


def _is_schedule(given: str) -> bool:
    from airflow.sdk import CronTriggerTimetable

    with suppress(Exception):
        CronTriggerTimetable(given, timezone="UTC").validate()
        return True
    return False
