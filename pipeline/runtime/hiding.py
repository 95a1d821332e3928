"""Packages that others import though nothing of ours uses them: hidden from these while they are imported.

Pandera and PyMongoArrow import pandas wherever it is installed, and do without it where it is not; so does Pandera with
Hypothesis. Measured: after Polars and Arrow the import of both takes 0.44 s of processor time, of which 0.35 s are
pandas and what comes with it, and 0.04 s Hypothesis.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_spared = set[str]()


class _Hiding:
    """A finder that says of some packages that there is no such thing, and nothing of all others."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)  # in Python's words: Pandera reads them


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Hide packages from whoever imports them for the first time meanwhile."""
    finder = _Hiding(*names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def spare_others() -> None:
    """Have the functions below hide such packages: of this process nobody else uses Pandera and PyMongoArrow.

    In a notebook somebody may, with frames of pandas, for which it is too late once they were imported without.
    """
    _spared.update(("pandas", "hypothesis"))


def import_checks() -> None:
    """Import what holds rows against contracts, which is heavy: to be called where there are rows."""
    if "pandera" in sys.modules:
        return
    with hidden(*_spared):
        import pandera.polars as pa
        import polars as pl

        # It looks for pandas once more, at the first check.
        pa.DataFrameSchema({"a": pa.Column(int, pa.Check.ge(0))}).validate(pl.DataFrame({"a": [0]}))


def import_readers() -> None:
    """Import what reads documents as well: to be called where there are any."""
    import_checks()
    with hidden(*_spared):
        import pymongoarrow.api  # noqa: F401
