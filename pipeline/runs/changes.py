"""What a publish notes of the documents that it changes, so that marts need not be computed whole."""

from collections.abc import Iterable

from contracts.schema.entity import ID, Entity
from pipeline import control
from pipeline.connections import Connections
from pipeline.runs.published import REPLICA
from pipeline.stores.staging import Staging


def note_changes(connections: Connections, staging: Staging, names: Iterable[str], targets: Iterable[str]) -> None:
    """Note which documents of collections a publish changes in PostgreSQL, and what they were before.

    Of a full copy nothing is noted: all may be changed by it.

    Args:
        connections: The open connections; within the transaction of the publish, before it.
        staging: What is published.
        names: The collections or marts that are.
        targets: Names of the stores.
    """
    postgres = connections.postgres
    if staging.schema != REPLICA or postgres.name not in set(targets):
        return
    is_noted = not staging.is_full and control.has_readers(postgres)
    names = tuple(names)
    shows = {one.name: one.run_id for one in control.publications(postgres, names) if one.target == postgres.name}
    for name in names:
        if is_noted and name in shows:
            entity = connections.entities[name]
            documents = postgres.documents(staging, entity.root, _columns(connections, entity))
            control.record_changed(postgres, name, staging.run_id, shows[name], documents)
        else:
            control.forget_changes(postgres, name)


def forget_bases(connections: Connections) -> None:
    """Let all marts be computed whole next time: what they were computed from is changed by no publish.

    What documents were before is forgotten as well: nobody asks for it then, and it may be of a person.
    """
    for one in control.publications(connections.postgres):
        if one.name in connections.marts:
            control.forget_basis(connections.postgres, one.run_id)
        else:
            control.forget_changes(connections.postgres, one.name)


def _columns(connections: Connections, entity: Entity) -> list[str]:
    """Return the columns of a collection that tell which rows of marts depend on a document, beside its ``_id``."""
    known = {mart.key_column for mart in connections.marts.values()}
    return [one for one in entity.root.names if one in known and one != ID]
