"""The driver of PostgreSQL, imported without what it and Arrow would take along and nothing of ours uses.

Arrow looks for pandas as soon as it converts a first value from or to Python, such as a parameter of a statement; the
driver looks for Polars when it is imported. Measured: that was half of the processor time of ``etl status``.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

__all__ = ["dbapi", "manager"]


class _Hiding:
    """A finder that says of some packages that there is no such thing, and nothing of all others."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, name: str, *_: Any) -> None:
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is hidden for the moment", name=name)


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Hide packages from whoever imports them for the first time meanwhile."""
    finder = _Hiding(*names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


# Neither has a setting for it; both can do without and ask once, and what needs the packages asks anew: Arrow's
# to_pandas(), the driver's fetch_polars(). Should one ask in another way one day, it takes them along again, no more.
with _without("pandas", "polars"):
    pa.scalar(None)
    from adbc_driver_manager import dbapi as manager
    from adbc_driver_postgresql import dbapi
