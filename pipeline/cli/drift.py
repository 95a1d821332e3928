"""In what the application has gone beyond its contracts, as a table: hundreds of fields are folded into a few lines."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipeline.cli import tables

if TYPE_CHECKING:
    from pipeline.control import CollectionDrift

_OMITTED, _UNDECLARED = "omitted field", "undeclared field"  # as in transforms.ingest.drift, which is heavy
_FOLDED = 8  # undeclared fields of one parent that have a line each
_NAMED = 5  # of those that are folded


def drift_table(found: Iterable["CollectionDrift"]) -> list[Table]:
    """Show in what the application has gone beyond its contracts, if it has; ``--json`` has all of it."""
    every = list(found)
    rows = list(_rows([one for one in every if one.kind != _OMITTED]))
    headings = ("collection", "drift", "path", "value", "count", "first _id")
    title = "Drift: the application does what its contracts don't know; all of it is loaded"
    parts = [tables.table(title, headings, rows, wraps=("path", "value"))] if rows else []
    left_out = [(one.collection, one.path, one.count, one.first_id) for one in every if one.kind == _OMITTED]
    told = ("collection", "path", "documents", "first _id")
    title = "Omitted: not read, only counted"
    return [*parts, *([tables.table(title, told, left_out, wraps=("path",))] if left_out else [])]


def _rows(found: Sequence["CollectionDrift"]) -> Iterator[tuple[Any, ...]]:
    """Yield a line for each drift, and one for all undeclared fields of a parent that has many."""
    siblings: dict[tuple[str, str], list[CollectionDrift]] = defaultdict(list)
    for one in found:
        if one.kind == _UNDECLARED:
            siblings[one.collection, _parent(one.path)].append(one)
    for one in found:
        alike = siblings[one.collection, _parent(one.path)] if one.kind == _UNDECLARED else [one]
        if len(alike) <= _FOLDED:
            yield one.collection, one.kind, one.path, _value(one), one.count, one.first_id
        elif one is alike[0]:
            yield _folded(alike)


def _folded(alike: Sequence["CollectionDrift"]) -> tuple[Any, ...]:
    """Return the one line of many undeclared fields of a parent."""
    names = [one.path.rpartition("/")[2] for one in alike if not one.path.endswith("/*")]
    further = len(names) > _NAMED or len(names) < len(alike)
    told = f"{len(names)} fields{' and all others' if len(names) < len(alike) else ''}: {', '.join(names[:_NAMED])}"
    count, first = sum(one.count for one in alike), min(one.first_id for one in alike)
    return alike[0].collection, _UNDECLARED, f"{_parent(alike[0].path)}/*", f"{told}{', ...' * further}", count, first


def _value(one: "CollectionDrift") -> str | None:
    are_others = one.value is None and (one.kind != _UNDECLARED or one.path.endswith("/*"))
    return "all others" if are_others else one.value


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
