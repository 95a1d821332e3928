"""What a command that was killed has left: every command that writes begins by finishing or removing it."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Publication
from pipeline.errors import BusyError, DataError, EtlError, ServerError
from pipeline.runs import unrecorded
from pipeline.runs.observed import observed
from pipeline.runs.published import MARTS, REPLICA, known_tables, tables_of, unfinished
from pipeline.stores.staging import Staging

log = logging.getLogger(__name__)
_WHOLE = ("replicate", "marts")  # kinds of runs that stage all rows of their tables


def recover(connections: Connections, targets: Iterable[str] = TARGETS) -> dict[str, EtlError]:
    """Let ClickHouse follow what PostgreSQL has committed, and drop the staging of runs that are over.

    Every command that writes begins with it, so a run that was killed leaves nothing that lasts.

    Args:
        connections: The open connections.
        targets: The targets that the command uses. ClickHouse is not touched if it is none of them: then what it has
            to follow, and staging that it holds, is left to the next command that uses it.

    Returns:
        Why a collection or mart could not follow, by its name; the others did.
    """
    postgres, stuck, used = connections.postgres, dict[str, EtlError](), connections.named(targets)
    control.ensure_schema(postgres)
    with postgres.transaction():
        # Of two commands that come here at once one waits: an exchange that both do undoes itself.
        control.lock_publishing(postgres)
        known = known_tables(connections)
        # Whoever has the contract of what is published finishes it.
        waiting = [one for one in unfinished(connections) if one.name in known]
        for publication in (one for one in waiting if one.target not in used):
            log.warning("%s", _waits(publication))
        for together in _together(connections, [one for one in waiting if one.target in used]):
            stuck |= _follow_as_far_as_can_be(connections, together)
        for error in stuck.values():
            log.warning("%s", error)
    with postgres.transaction():
        control.lock_publishing(postgres)
        _clean_up_stale_runs(connections, used)
    return stuck


def check_not_stuck(stuck: Mapping[str, EtlError], names: Iterable[str]) -> None:
    """Refuse to go on with what ClickHouse could not follow.

    Args:
        stuck: What :func:`recover` returned.
        names: The collections or marts that are needed.

    Raises:
        EtlError: One of them is stuck; the sentence says the way out.
    """
    for name in names:
        if name in stuck:
            raise stuck[name]


def follow(connections: Connections, publications: Sequence[Publication]) -> None:
    """Let ClickHouse follow what one run has published.

    Args:
        connections: The open connections.
        publications: A collection, or marts.
    """
    postgres, clickhouse, run_id = connections.postgres, connections.clickhouse, publications[0].run_id
    names = [one.name for one in publications]
    schema = REPLICA if names[0] in connections.entities else MARTS
    moment, is_full = control.moment_of(postgres, run_id), control.kind_of(postgres, run_id) in _WHOLE
    since = observed(connections, clickhouse.name)
    clickhouse.publish(Staging(run_id, schema, tables_of(connections, names), moment, is_full, observed=since))
    control.mark_finished(postgres, run_id, names, clickhouse.name)


def _together(connections: Connections, waiting: Iterable[Publication]) -> list[list[Publication]]:
    """Part what ClickHouse has to follow: the marts of a run are small, and there are many of them."""
    found: dict[tuple[str, str], list[Publication]] = {}
    for one in waiting:
        alone = one.name if one.name in connections.entities else ""
        found.setdefault((one.run_id, alone), []).append(one)
    return [*found.values()]


def _follow_as_far_as_can_be(connections: Connections, publications: Sequence[Publication]) -> dict[str, EtlError]:
    """Let ClickHouse follow, and return why it could not: what is wrong with one never blocks the others."""
    try:
        follow(connections, publications)
    except ServerError:
        raise
    except EtlError as error:
        if len(publications) == 1:
            return {one.name: _stuck(connections, one, error) for one in publications}
        each = [_follow_as_far_as_can_be(connections, [one]) for one in publications]
        return {name: why for found in each for name, why in found.items()}
    return {}


def _waits(publication: Publication) -> str:
    return (
        f"{publication.name} is published in PostgreSQL, and ClickHouse has still to follow (run "
        f"{publication.run_id}), in the next command that uses it"
    )


def _stuck(connections: Connections, publication: Publication, error: EtlError) -> EtlError:
    command = "replicate" if publication.name in connections.entities else "marts"
    kind = next((kind for kind in (DataError, BusyError) if isinstance(error, kind)), EtlError)
    return kind(
        f"{publication.name} is published in PostgreSQL, and ClickHouse could not follow (run {publication.run_id}): "
        f"{error}; put that right and run the command again, or make it anew by etl {command} {publication.name}"
    )


def _clean_up_stale_runs(connections: Connections, used: Iterable[str]) -> None:
    """Drop the staging of runs that are over; what bears the name of no run in the books is not ours to drop."""
    leftovers = {run_id for target in connections.targets(used) for run_id in target.leftovers()}
    leftovers -= {publication.run_id for publication in unfinished(connections)}
    for run_id in control.open_among(connections.postgres, leftovers):
        if not control.is_alive(connections.postgres, run_id):
            for target in connections.targets(used):
                target.discard(run_id)
            reason = unrecorded.take(connections.home, run_id) or "the process ended before the run did"
            control.fail_run(connections.postgres, run_id, reason)
