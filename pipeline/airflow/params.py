"""What a DAG is told when it is triggered: the check before its first task works."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from pipeline.airflow.expected import in_one_line
from pipeline.errors import UsageError

TARGETS = ["postgres", "clickhouse"]


def check_params(context: MutableMapping[str, Any]) -> None:
    """Refuse what a DAG does not know, and bring the rest into the form that its tasks take.

    Args:
        context: A task's, as Airflow hands it to ``pre_execute``.

    Raises:
        UsageError: A param is none of the DAG's, or is a limit that can't be read.
    """
    in_one_line()
    params, known = context["params"], context["dag"].params
    if unknown := sorted(set(params) - set(known)):
        there_are = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise UsageError(f"the DAG {context['dag'].dag_id} has no param {', '.join(map(repr, unknown))}; {there_are}")
    params.update(in_one_form(params))


def given_or(params: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a task is told: by the call that made it, else by its DAG's params, in the form that it takes."""
    return in_one_form(params if given is None else given)


def in_one_form(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return names as lists, all of them where none is chosen, and a limit as text.

    Raises:
        UsageError: The limit can't be read.
    """
    form = dict(told)
    for name, value in {"collections": [], "marts": [], "targets": TARGETS}.items():
        if name in form:
            form[name] = form[name] or value  # the form says null where nothing is chosen
    if form.get("max_quarantined") is not None:
        from pipeline.runs.reconcile import parse_limit

        form["max_quarantined"] = str(form["max_quarantined"])
        parse_limit(form["max_quarantined"], 0)
    return form
