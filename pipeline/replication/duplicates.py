"""Business keys that more than one document of a run bears: all of them are loaded, and told."""

from functools import reduce

from contracts.schema.entity import ID, Entity
from contracts.schema.kinds import BOOLEAN
from pipeline import control
from pipeline.connections import Connections
from pipeline.runs.published import REPLICA
from pipeline.runs.run import Run
from pipeline.stores.base import Reader
from transforms.ingest.drift import Drift
from transforms.violations import pointer_into, shorten_text

DUPLICATE_KEY = "duplicate key"
_SHOWN = 20  # of one collection; the rest is counted together


def record_duplicates(connections: Connections, run: Run) -> None:
    """Enter into the books of a published run which business keys are borne by several documents.

    Args:
        connections: The open connections.
        run: A run that is published; doing it again changes nothing.
    """
    # ClickHouse groups a million keys in a fraction of the time that PostgreSQL takes.
    store = connections.clickhouse if "clickhouse" in run.targets else connections.postgres
    with connections.postgres.transaction():
        found = {name: _duplicates(store, connections.entities[name]) for name in run.uuids}
        # Looked up afterwards: of what another run has published meanwhile, that run tells.
        publications = control.publications(connections.postgres, found)
        ours = {one.name for one in publications if (one.target, one.run_id) == (store.name, run.id)}
        control.forget_drift(connections.postgres, run.id, DUPLICATE_KEY)
        for name in ours:
            control.record_drift(connections.postgres, run.id, name, 0, found[name])


def _duplicates(store: Reader, entity: Entity) -> list[Drift]:
    """Return the duplicate keys of a collection, the most frequent ones first.

    Args:
        store: Where they are looked for.
        entity: The contract.
    """
    if entity.key == ID:
        return []
    key, quoted = entity.root.column(entity.key), store.quoted
    # PostgreSQL knows no least truth value.
    first = f"CAST({quoted(ID)} AS text)" if entity.id_kind is BOOLEAN else quoted(ID)
    twice = (
        f"SELECT {quoted(key.name)} AS duplicate, count(*) AS documents, min({first}) AS first_id "
        f"FROM {quoted(REPLICA)}.{quoted(entity.table)} WHERE {quoted(key.name)} IS NOT NULL "
        f"GROUP BY {quoted(key.name)} HAVING count(*) > 1"
    )
    ordered = f"SELECT * FROM ({twice}) AS twice ORDER BY documents DESC, first_id"
    shown, rest = store.rows(f"{ordered} LIMIT {_SHOWN + 1}"), []
    if len(shown) > _SHOWN:
        rest = store.rows(f"SELECT sum(documents)::bigint, min(first_id) FROM ({ordered} OFFSET {_SHOWN}) AS rest")
    path = reduce(pointer_into, key.path, "")
    values = [
        *((shorten_text(str(value)), *others) for value, *others in shown[:_SHOWN]),
        *((None, *row) for row in rest),
    ]
    return [Drift(path, DUPLICATE_KEY, value, int(number), str(first)) for value, number, first in values]
