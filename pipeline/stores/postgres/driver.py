"""The driver of PostgreSQL, imported without Arrow's data sets: the driver names them and we have none.

Measured: they take half the time that its import takes, since they bring pandas.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pyarrow as pa

__all__ = ["dbapi", "manager"]
_NAME = "pyarrow.dataset"


@contextmanager
def _without_data_sets() -> Iterator[None]:
    """Let a module that nothing is an instance of stand for Arrow's data sets, until somebody imports them."""
    if _NAME in sys.modules:
        yield
        return
    # There is no public way. What the driver asks of it is whether a table that we hand it is one of these.
    stand_in = ModuleType(_NAME)
    stand_in.__dict__.update(Dataset=type("Dataset", (), {}), Scanner=type("Scanner", (), {}))
    sys.modules[_NAME] = stand_in
    try:
        yield
    finally:
        del sys.modules[_NAME]
        pa.__dict__.setdefault("dataset", stand_in)


with _without_data_sets():
    from adbc_driver_manager import dbapi as manager
    from adbc_driver_postgresql import dbapi
