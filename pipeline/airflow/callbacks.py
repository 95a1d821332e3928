"""When people are told: once for a run that failed, once while it is late, and not again for what is known already.

Airflow's own deadlines are not used: those of 3.3 make clearing a run impossible and outlive a run that failed.
"""

import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pipeline.airflow.alerts import Alert, notify
from pipeline.airflow.variables import read_variable, write_variable
from pipeline.text.redaction import redacted

LATE_AFTER = "late_after"  # among the DAG's macros, where its tasks find it
NOTE = "failure"  # the XCom in which a task leaves its reason to its run
SETTLED = 1.0  # seconds; of parallel tasks of a late run the last that claims within them is the one that tells
_MOST_TOLD = 50  # reasons that are remembered until all is well again
_NUMBER = re.compile(r"(?<![^\W\d])\d[\w.,:+-]*|\b[0-9a-f-]{8,}\b")  # counts, moments and ids

log = logging.getLogger(__name__)


def note_failure(context: Mapping[str, Any]) -> None:
    """Note why a task has failed for good, so that its run can tell of the first one.

    Args:
        context: The task's, as Airflow hands it to ``on_failure_callback``.
    """
    error, task = context.get("exception"), context["ti"]
    if not isinstance(error, BaseException):  # its process was killed: Airflow's own words say no more than that
        return
    note = {
        "name": _name(task.task_id, task.map_index),
        "at": datetime.now(UTC).isoformat(),
        "task": " ".join((task.task_id, *_label(task))),
        "kind": type(error).__name__,
        "message": redacted(str(error)),
        "url": getattr(task, "log_url", "") or "",
    }
    task.xcom_push(NOTE, note)


def run_failed(context: Mapping[str, Any]) -> None:
    """Tell that a run has failed: the first reason, and how many tasks failed.

    Args:
        context: The run's, as Airflow hands it to the DAG's ``on_failure_callback``.
    """
    notify(_failure(context))


def run_failed_anew(context: Mapping[str, Any]) -> None:
    """Tell that a run has failed, unless one before did for the same reason since all was well; numbers are no other.

    Of several tasks that fail now the one and now the other may be the first.

    Args:
        context: The run's, as Airflow hands it to the DAG's ``on_failure_callback``.
    """
    alert = _failure(context)
    reason = " ".join(_NUMBER.sub("#", f"{alert.task} {alert.kind}: {alert.message}").split())
    name = f"etl_told_{alert.dag_id}"
    told = read_variable(name).splitlines()
    if reason in told:
        log.warning("told before, so not again: %s", alert.text.replace("\n", "; "))
    elif notify(alert):
        _remember(name, "\n".join([*told, reason][-_MOST_TOLD:]))


def run_succeeded(context: Mapping[str, Any]) -> None:
    """Tell that all is well again, if people were told of a failure.

    Args:
        context: The run's, as Airflow hands it to the DAG's ``on_success_callback``.
    """
    dag_id = context["dag"].dag_id
    name = f"etl_told_{dag_id}"
    if "ti" not in context or not read_variable(name):  # a run that was skipped shows nothing
        return
    if notify(Alert("recovered", dag_id, context["run_id"], message="it has succeeded again")):
        _remember(name, "")


@contextmanager
def told_when_late() -> Iterator[None]:
    """Tell while a task works, or waits, that its run is not over in time; once for all tasks of the run."""
    timer = _timer()
    if timer is not None:
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
            timer.join()  # one that has begun to tell ends that: the task's process may be gone in a moment


def _failure(context: Mapping[str, Any]) -> Alert:
    """Return the alert of a run that failed."""
    dag_id, run_id, task = context["dag"].dag_id, context["run_id"], context.get("ti")
    if task is None:
        return Alert("failed", dag_id, run_id, message="none of its tasks could run")
    said = {"task": task.task_id, "kind": "", "message": "its process ended without a word", "url": task.log_url}
    try:
        failed = _failed_tasks(task)
        notes = [note for note in _notes(task, context["dag"].task_ids) if note["name"] in failed]
    except Exception as error:  # whatever it is, that the run failed is the news
        log.warning("why the run %s failed can't be asked for: %s", run_id, redacted(str(error)))
        return Alert("failed", dag_id, run_id, **said | {"message": "its log says why"})
    if notes:
        first = min(notes, key=lambda note: str(note["at"]))
        said = {name: first[name] for name in said}
    return Alert("failed", dag_id, run_id, **said, failures=len(failed))


def _failed_tasks(task: Any) -> set[str]:
    """Return the names of the task instances that failed in the run of one of them."""
    states = task.get_task_states(task.dag_id, run_ids=[task.run_id]).get(task.run_id, {})
    return {name for name, state in states.items() if state == "failed"}


def _notes(task: Any, task_ids: Iterable[str]) -> list[dict[str, str]]:
    """Return what tasks of a run have noted; one that was cleared and did not run again has its old note still."""
    found = task.xcom_pull(task_ids=sorted(task_ids), key=NOTE)
    return [note for note in found or () if note]


def _name(task_id: str, map_index: int | None) -> str:
    """Return what Airflow calls a task instance among the states of its run."""
    return task_id if map_index is None or map_index < 0 else f"{task_id}_{map_index}"


def _label(task: Any) -> list[str]:
    """Return what a mapped task instance works at: its label, or else its number."""
    number = -1 if task.map_index is None else task.map_index
    label = getattr(task, "rendered_map_index", None) or (str(number) if number >= 0 else "")
    return [label] if label else []


def _timer() -> threading.Timer | None:
    """Return what tells, when the running task's run is late; None where no task runs, or only in ``dag.test()``."""
    from airflow.sdk import get_current_context
    from airflow.sdk.execution_time import comms, task_runner

    try:
        context = get_current_context()
    except RuntimeError:
        return None
    if not isinstance(task_runner.SUPERVISOR_COMMS, comms.CommsDecoder):  # that of dag.test() answers one thread only
        return None
    run, late_after = context["dag_run"], (context["dag"].user_defined_macros or {}).get(LATE_AFTER)
    if late_after is None or run.start_date is None:
        return None
    message = f"not over {late_after.total_seconds() / 60:g} minutes after it was started"
    alert = Alert("late", run.dag_id, run.run_id, message=message, url=context["ti"].log_url)
    left = (run.start_date + late_after - datetime.now(UTC)).total_seconds()
    timer = threading.Timer(max(0.0, left), _late, (alert, f"{run.run_id} {run.start_date.isoformat()}"))
    timer.daemon = True
    return timer


def _late(alert: Alert, start: str) -> None:
    """Tell that a run is late, unless it was told since it was started or cleared, or another task is about to."""
    name = f"etl_late_{alert.dag_id}"
    if read_variable(name).startswith(start):
        return
    claim = f"{start} by {uuid4().hex}"
    _remember(name, claim)
    time.sleep(SETTLED)  # Variables have no lock: whoever looked together with this task has claimed by then
    if read_variable(name) in (claim, "") and not notify(alert):
        _remember(name, "")


def _remember(name: str, value: str) -> None:
    write_variable(name, value, "What people were told; written by the DAGs' alerts.")
