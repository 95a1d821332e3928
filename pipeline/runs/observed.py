"""Which collections have their former versions kept, and since when."""

from collections.abc import Iterable

from contracts.schema.history import HISTORY
from pipeline import control
from pipeline.connections import Connections
from pipeline.control import as_number
from pipeline.stores.staging import Staging


def observe(connections: Connections, staging: Staging, names: Iterable[str], targets: Iterable[str]) -> None:
    """Enter which of the published collections have their former versions kept from now on, or no longer.

    The first versions are what is shown by now or, of tables that are published first, or anew, what is shown then.

    Args:
        connections: The open connections; within the transaction of the publish, before it.
        staging: What is published.
        names: The collections or marts that are.
        targets: Names of the stores.
    """
    postgres, wanted = connections.postgres, [name for name in names if name in connections.entities]
    moments = {(one.name, one.target): as_number(one.cluster_time) for one in control.publications(postgres, wanted)}
    for target in connections.targets(targets):
        known = control.observed(postgres, target.name)
        for name in wanted:
            entity = connections.entities[name]
            if not entity.history:
                if name in known:
                    control.end_observation(postgres, name, target.name, staging.version)
            elif not target.is_published(staging.schema, entity.root):
                control.observe(postgres, name, target.name, staging.version)
            elif name not in known:
                control.observe(postgres, name, target.name, moments.get((name, target.name), staging.version))
            if entity.history:
                control.record_former(postgres, target.name, HISTORY, entity.tables)


def observed(connections: Connections, target: str) -> dict[str, int]:
    """Return since when former versions are kept in a target, by the collection's root table."""
    return {
        connections.entities[name].root.name: since
        for name, since in control.observed(connections.postgres, target).items()
        if name in connections.entities
    }
