"""What a command that was killed has left: every command that writes begins by finishing or removing it."""

import logging
from collections.abc import Iterable, Mapping

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
        for publication in unfinished(connections):
            if publication.name not in known_tables(connections):
                continue  # whoever has the contract of what is published finishes it
            if publication.target not in used:
                log.warning("%s", _waits(publication))
                continue
            try:
                follow(connections, publication)
            except ServerError:
                raise
            except EtlError as error:
                stuck[publication.name] = _stuck(connections, publication, error)
                log.warning("%s", stuck[publication.name])
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


def follow(connections: Connections, publication: Publication) -> None:
    """Let ClickHouse follow for one collection or mart, so that what is wrong with it never blocks the others."""
    postgres, clickhouse = connections.postgres, connections.clickhouse
    schema = REPLICA if publication.name in connections.entities else MARTS
    tables, is_full = (
        tables_of(connections, [publication.name]),
        control.kind_of(postgres, publication.run_id) in _WHOLE,
    )
    clickhouse.publish(
        Staging(
            publication.run_id,
            schema,
            tables,
            control.moment_of(postgres, publication.run_id),
            is_full,
            observed=observed(connections, clickhouse.name),
        )
    )
    control.mark_finished(postgres, publication.run_id, publication.name, clickhouse.name)


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
