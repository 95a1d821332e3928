"""The tables of a schema, by attribute and by name, for people who type and look."""

from collections.abc import Callable, Iterator, Mapping
from html import escape

import polars as pl

from contracts.schema.entity import Table
from pipeline.errors import UsageError


class UnknownTableError(UsageError, AttributeError, KeyError):
    """There is no table of that name; asked for as an attribute or by name."""

    __str__ = UsageError.__str__  # KeyError would put it into quotes


class Tables(Mapping[str, pl.LazyFrame]):
    """The tables of one schema as lazy frames: ``tables.user_sessions`` or ``tables["user_sessions"]``.

    Args:
        schema: Name of the schema.
        known: The tables that contracts declare, by name.
        opened: Makes a lazy frame of one of them.
    """

    def __init__(self, schema: str, known: Mapping[str, Table], opened: Callable[[Table], pl.LazyFrame]) -> None:
        self._schema, self._known, self._opened = schema, dict(sorted(known.items())), opened

    def __getitem__(self, name: str) -> pl.LazyFrame:
        """Return a table as a lazy frame.

        Raises:
            UsageError: No contract declares it, or it is not published.
        """
        if name not in self._known:
            raise UnknownTableError(self._unknown(name))
        return self._opened(self._known[name])

    def __getattr__(self, name: str) -> pl.LazyFrame:
        """Return a table as a lazy frame, as ``tables[name]`` does."""
        if name.startswith("_") or name not in self._known:
            raise UnknownTableError(self._unknown(name))
        return self._opened(self._known[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in self._known if name.isidentifier())})

    def _ipython_key_completions_(self) -> list[str]:
        """Return what Tab may complete after ``tables["``."""
        return list(self._known)

    def __repr__(self) -> str:
        lines = [f"{name:<{self._width}}  {table.description}" for name, table in self._known.items()]
        return "\n".join([self._title, *lines])

    def _repr_html_(self) -> str:
        return html_table(self._title, {name: table.description for name, table in self._known.items()})

    @property
    def _title(self) -> str:
        return f"{self._schema}: {len(self)} table{'' if len(self) == 1 else 's'}"

    @property
    def _width(self) -> int:
        return max(map(len, self._known), default=0)

    def _unknown(self, name: str) -> str:
        there = f"there are {', '.join(self._known)}" if self._known else "there is none"
        return f"there is no table {name!r} in {self._schema}; {there}"


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """Return names and what they are, as a notebook shows them."""
    cell = '<td style="text-align: left">'
    lines = [f"<tr>{cell}<code>{escape(name)}</code></td>{cell}{escape(what)}</td></tr>" for name, what in rows.items()]
    return f"<table><caption>{escape(title)}</caption>{''.join(lines)}</table>"
