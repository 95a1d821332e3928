"""A partition of a run goes into the staging of all its targets at once."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from contracts.schema.entity import Table
from pipeline.stores.base import LoadFrame, Target
from pipeline.stores.staging import Staging


@contextmanager
def loading(
    targets: Iterable[Target], staging: Staging, partition: int, tables: tuple[Table, ...]
) -> Iterator[dict[str, LoadFrame]]:
    """Load one partition into the staging of several targets; yields by the target's name what loads a frame there.

    Args:
        targets: The targets.
        staging: The run's area in each.
        partition: The number; what an earlier try has left of it is replaced.
        tables: Those that are loaded.
    """
    with ExitStack() as stack:
        yield {one.name: stack.enter_context(one.loading(staging, partition, tables)) for one in targets}
