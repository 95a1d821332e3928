"""Whether MongoDB remembers its past for as long as a copy may take."""

from pipeline import control
from pipeline.connections import Connections

_BYTES_PER_SECOND = 10e6  # a third of what two cores were measured to copy; until there is a copy to go by


def outlives_history(connections: Connections, size: int) -> str | None:
    """Return a warning if a copy is likely to take longer than MongoDB can read its cluster time.

    Args:
        connections: The open connections.
        size: Bytes of BSON that are to be copied.

    Returns:
        One sentence that tells both times and how to raise the limit; None if all is well.
    """
    history = connections.mongo.snapshot_window()
    rate = control.bytes_per_second(connections.postgres) or _BYTES_PER_SECOND
    return history.outlived_by(f"the copy of {size / 1e9:,.1f} GB", size / rate)
