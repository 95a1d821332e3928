"""A mart's rows, computed in pieces that fit into memory, each held against the mart's contract."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext

import polars as pl

from contracts.schema.entity import Table
from contracts.schema.frame import pandera_schema
from contracts.schema.mart import Mart
from pipeline.errors import DataError
from pipeline.marts.available import why_failed
from pipeline.marts.spill import Spill, bucket_of
from pipeline.runtime.memory import release_memory
from transforms.marts import Context, compute, sources


def computed(mart: Mart, context: Context, spill: Spill, kept: Table | None = None) -> Iterator[pl.DataFrame]:
    """Compute a mart piece by piece, and hold each against its contract.

    Args:
        mart: The mart.
        context: The moment and the settings.
        spill: What it reads; it is kept there itself.
        kept: The columns that other marts read, if any does.

    Yields:
        Its rows.
    """
    buckets, tables = spill.cut([name for name in sources(mart) if name not in mart.whole], mart.by)
    whole = {name: frame for name in mart.whole for frame in spill.cut([name], None)[1].values()}
    with spill.adding(kept, _by_of_rows(mart), buckets) if kept else nullcontext() as keep:
        for bucket in range(buckets):
            pieces = {name: one.lazy(bucket) for name, one in tables.items()}
            frame = _computed_from(mart, context, pieces | {name: one.lazy(0) for name, one in whole.items()})
            if buckets > 1:
                _check_buckets(mart, frame, bucket, buckets)
            if keep:
                keep(frame, bucket)
            yield frame
            del frame  # or it would be in memory while the next one is computed
            release_memory()


def _computed_from(mart: Mart, context: Context, tables: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """Compute what one bucket of each table gives, and hold it against the contract."""
    from pandera.errors import SchemaErrors  # heavy, as in contracts.schema.frame

    try:
        frame = compute(mart, tables, context).collect(engine="streaming")
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{why_failed(mart, error)}; nothing was published") from error
    try:
        pandera_schema(mart.table).validate(frame, lazy=True)
    except SchemaErrors as error:
        first = error.failure_cases.row(0, named=True)
        raise DataError(
            f"the mart {mart.name} breaks its contract in {len(error.failure_cases):,} places, first the rule "
            f"{first['check']!r} of {first['column']!r} by {str(first['failure_case'])[:200]!r}; nothing was published"
        ) from None
    return frame


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
