"""The error tree: every error that a user may meet, and the exit code of the command that ends with it.

::

    EtlError                       exit 2
    ├── UsageError                 a setting, an option or a name is wrong
    ├── ServerError                a server can't be reached, refuses us, or is no replica set
    │   ├── LostError              it is gone, or can't be reached: it may be back soon
    │   └── EngineError            an embedded engine is missing, damaged or doesn't start
    ├── BusyError                  a server gave up on a statement, for what passes: a deadlock, too much to do
    │   └── OvertakenError         a capped collection is overwritten faster than it is read
    ├── SnapshotError              the cluster time can't be read any more
    └── DataError                  exit 1: the data are not as promised
        ├── BooksOpenError         source != loaded + quarantined
        ├── QuarantineLimitError   more documents were refused than allowed
        ├── ShrinkError            more documents would be gone than allowed
        └── VerificationError      a store differs from its source

A contract that can't be derived raises ``contracts.schema.ContractError`` at import: contracts know no pipeline.
Every message is one sentence for the user: what, where, what to do; never a password.
"""

from pipeline.text.printable import visible
from pipeline.text.redaction import redacted


class EtlError(Exception):
    """Any failure that the user is told in one sentence, without a traceback."""

    exit_code = 2
    tried = False  # again and again, in vain

    def __init__(self, *said: object) -> None:
        # What a driver says may quote a URI with its password, or the password alone.
        super().__init__(*(redacted(one) if isinstance(one, str) else one for one in said))

    def __str__(self) -> str:
        """Return the sentence as one line: what it quotes may come from documents."""
        return visible(" ".join(super().__str__().split()))

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the sentence, as the command line does."""
        return [f"error: {self}"]


class UsageError(EtlError):
    """A setting, an option or a name is wrong: nothing has been done."""


class ServerError(EtlError):
    """A server can't be reached, refuses the credentials, or is not what the work needs (no replica set)."""


class LostError(ServerError):
    """A server is gone, gave its place to another, or can't be reached: it may be back soon."""


class BusyError(EtlError):
    """A server gave up on a statement for a reason that passes: a deadlock, too many connections, no memory left."""


class OvertakenError(BusyError):
    """MongoDB overwrites a capped collection faster than it sends it."""


class EngineError(ServerError):
    """An embedded engine is not installed, damaged, or doesn't start."""


class SnapshotError(EtlError):
    """The cluster time left the history window, or a collection was dropped or renamed meanwhile."""


class DataError(EtlError):
    """The work was done and the data are not as promised."""

    exit_code = 1


class BooksOpenError(DataError):
    """Source documents are neither loaded nor quarantined (or more were loaded than exist)."""


class QuarantineLimitError(DataError):
    """A run refused more documents than its user allows."""


class ShrinkError(DataError):
    """A publish would take away more documents than its user allows."""


class VerificationError(DataError):
    """A store differs from its source."""


def reason_of(error: BaseException) -> str:
    """Return why a run is given up, as the books keep it."""
    # A signal's SystemExit has its number for a text, and KeyboardInterrupt none.
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    return str(error) or type(error).__name__
