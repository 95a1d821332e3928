"""A mart's rows, computed in pieces that fit into memory, each held against the mart's contract."""

from collections.abc import Generator, Mapping
from contextlib import nullcontext
from typing import NamedTuple

import polars as pl

from contracts.schema.entity import Table
from contracts.schema.frame import keeps, pandera_schema
from contracts.schema.mart import Mart
from pipeline.errors import DataError
from pipeline.marts.available import why_failed
from pipeline.marts.spill import Spill, bucket_of
from pipeline.runtime.hiding import import_checks
from pipeline.runtime.memory import release_memory
from transforms.marts import Context, compute, refreshed, sources


class Piece(NamedTuple):
    """Rows of a mart.

    Attributes:
        rows: As they were computed.
        published: What is published of them; None if that is of no matter.
    """

    rows: pl.DataFrame
    published: pl.LazyFrame | None = None


class PublishedRows(NamedTuple):
    """Names of what the files hold of a mart that is published.

    Attributes:
        same: The rows that are computed anew, if they are compared.
        others: The rows beside them that are brought to what the whole sources say, if they are.
    """

    same: str = ""
    others: str = ""


_NOTHING = PublishedRows()


def computed(
    mart: Mart, context: Context, spill: Spill, kept: Table | None = None, published: PublishedRows = _NOTHING
) -> Generator[Piece, None, None]:
    """Compute a mart piece by piece, and hold each against its contract.

    Args:
        mart: The mart.
        context: The moment and the settings.
        spill: What it reads; it is kept there itself.
        kept: The columns that other marts read, if any does.
        published: What the files hold of its published rows.

    Yields:
        Its rows.
    """
    buckets, tables = spill.cut([name for name in sources(mart) if name not in mart.whole], mart.by)
    whole = {name: frame for name in mart.whole for frame in spill.cut([name], None)[1].values()}
    with spill.adding(kept, _by_of_rows(mart), buckets) if kept else nullcontext() as keep:
        for bucket in range(buckets):
            pieces = {name: one.lazy(bucket) for name, one in tables.items()}
            pieces |= {name: one.lazy(0) for name, one in whole.items()}
            shown = [spill.cut_into(name, _by_of_rows(mart), buckets).lazy(bucket) for name in filter(None, published)]
            frame = _computed_from(mart, context, pieces, shown[1] if len(shown) > 1 else None)
            if buckets > 1:
                _check_buckets(mart, frame, bucket, buckets)
            if keep:
                keep(frame, bucket)
            yield Piece(frame, pl.concat(shown) if shown else None)
            del frame  # or it would be in memory while the next one is computed
            release_memory()


def _computed_from(
    mart: Mart, context: Context, tables: Mapping[str, pl.LazyFrame], others: pl.LazyFrame | None
) -> pl.DataFrame:
    """Compute what one bucket of each table gives, with other rows refreshed, and hold it against the contract."""
    try:
        rows = compute(mart, tables, context)
        if others is not None:
            rows = pl.concat([rows, refreshed(mart, others, tables, context)]).sort(mart.key)
        frame = rows.collect(engine="streaming")
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{why_failed(mart, error)}; nothing was published") from error
    if not keeps(frame, mart.table):
        _refuse(mart, frame)
    return frame


def _refuse(mart: Mart, frame: pl.DataFrame) -> None:
    """Say what is wrong with rows that are not as their contract promises, if the schema finds anything."""
    import_checks()
    from pandera.errors import SchemaErrors  # heavy, as in contracts.schema.frame

    try:
        pandera_schema(mart.table).validate(frame, lazy=True)
    except SchemaErrors as error:
        first = error.failure_cases.row(0, named=True)
        raise DataError(
            f"the mart {mart.name} breaks its contract in {len(error.failure_cases):,} places, first the rule "
            f"{first['check']!r} of {first['column']!r} by {str(first['failure_case'])[:200]!r}; nothing was published"
        ) from None


def _by_of_rows(mart: Mart) -> pl.Expr | None:
    """Return what a mart is computed apart by, as its own rows have it."""
    return None if mart.by is None else pl.col(mart.by.meta.output_name())


def _check_buckets(mart: Mart, frame: pl.DataFrame, bucket: int, buckets: int) -> None:
    """Refuse what shows that a mart can't be computed apart as its contract says: its keys might come out twice."""
    by = _by_of_rows(mart)
    assert by is not None
    astray = frame.filter(bucket_of(by, buckets) != bucket)
    if not astray.is_empty():
        raise DataError(
            f"the mart {mart.name} can't be computed apart by {mart.by}: a row with {astray.select(by).item(0, 0)!r} "
            "comes from rows with another value; nothing was published"
        )
