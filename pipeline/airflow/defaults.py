"""What all DAGs have in common."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule

from pipeline.airflow.callbacks import LATE_AFTER, note_failure, run_failed, run_failed_anew, run_succeeded
from pipeline.airflow.catalog import collections
from pipeline.airflow.limits import COPY, at_most
from pipeline.airflow.params import TARGETS, check_params

# What no retry mends: a wrong name or contract, a moment that is gone, data that are not as promised. By name, since
# a DAG file that imports an error's module only for this would be read more slowly.
_LASTING: list[str | type[BaseException]] = [
    f"pipeline.errors.{name}" for name in ("UsageError", "SnapshotError", "DataError")
]


def about(text: str, *purposes: str) -> dict[str, Any]:
    """Return what people read of a DAG: its documentation, the first line of it as the description, and its tags.

    Args:
        text: The documentation, in Markdown.
        purposes: What it is for, beside the tag that all have.
    """
    return {"doc_md": text, "description": text.partition("\n")[0], "tags": ["etl", *purposes]}


def defaults(
    late_after: timedelta = timedelta(hours=1), task_takes_at_most: timedelta = COPY, *, often: bool = False
) -> dict[str, Any]:
    """Return what each DAG is given: one run at a time, retries for what passes, alerts for what fails or is late.

    Args:
        late_after: How long after it was started, or cleared, a run that isn't over is late.
        task_takes_at_most: How long one try of a task may take that says nothing else; then it fails, and is tried
            again. `pipeline.airflow.limits` makes it longer or shorter as the environment says.
        often: Whether it runs so often that a failure is told only once until it is over, and that it is over.
    """
    alerts = {"on_failure_callback": run_failed_anew, "on_success_callback": run_succeeded}
    ours = {"pre_execute": check_params, "on_failure_callback": note_failure}
    return {
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": False,
        "user_defined_macros": {LATE_AFTER: late_after},
        "default_args": task_defaults({"execution_timeout": at_most(task_takes_at_most), **ours}),
        **(alerts if often else {"on_failure_callback": run_failed}),
    }


def task_defaults(given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the options that all our tasks have, also in DAGs of others.

    Args:
        given: Options that go before them.
    """
    return {
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_policy": ExceptionRetryPolicy([RetryRule(_LASTING, action=RetryAction.FAIL)]),
        "weight_rule": "absolute",  # or what has much after it would go before what publishes
        **(given or {}),
    }


LIMIT = Param(
    None,
    type=["null", "integer", "string"],
    minimum=0,
    description="Publish nothing if more documents are refused: a number, or a percentage up to 100% such as 0.5%.",
)
SAMPLE = Param(
    None,
    type=["null", "string"],
    pattern=r"^([1-9][0-9]*|[0-9]+(\.[0-9]+)?%)$",
    description="Compare random ranges of each collection only: a number of documents, or a percentage such as 1%.",
)
ALLOW_SHRINK = Param(
    False, type="boolean", description="Publish even if more than ETL_MAX_SHRINK (50%) of what is published goes."
)
NEW_SOURCE = Param(
    False, type="boolean", description="Take over what was copied from another server or database, on purpose."
)

ALLOW_MISSING = Param(False, type="boolean", description="Copy collections that are not there as empty.")
UNDECLARED = Param(
    False,
    type="boolean",
    description="Also copy collections without a contract, each document whole, now and later on.",
)
WITHOUT_SNAPSHOT = Param(
    False, type="boolean", description="Also copy capped collections, which can't be read at one moment."
)
OF_NO_SNAPSHOT = Param(
    False, type="boolean", description="Also read what was copied without a snapshot, at no one moment."
)


def choice() -> dict[str, Param]:
    """Return the params by which a DAG is told what to copy or to compare, and where."""
    return {
        "collections": names(collections(), "Collections; none chosen means all."),
        "targets": Param(
            TARGETS,
            type=["null", "array"],
            items={"type": "string", "enum": TARGETS},
            examples=TARGETS,
            description="Stores; none chosen means both.",
        ),
    }


def names(known: list[str], description: str) -> Param:
    """Return a param that takes any number of names; the form offers those that are known."""
    return Param([], type=["null", "array"], items={"type": "string"}, examples=known, description=description)
