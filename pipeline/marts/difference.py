"""What rows of a mart differ from those that are published: only these have to be written."""

from typing import NamedTuple

import polars as pl

from contracts.schema.mart import AS_OF, Mart
from pipeline.marts.computing import Piece

_ROW, _SIGN, _BEFORE = "#row", "#sign", "#before"


class Part(NamedTuple):
    """Rows of a mart that are to be written.

    Attributes:
        rows: The rows.
        keys: The keys of these and of the published rows that are to go; of a mart of which all is written, nothing.
        differing: The columns that other marts may find otherwise than they were.
    """

    rows: pl.DataFrame
    keys: pl.DataFrame
    differing: frozenset[str]


def all_of(mart: Mart, piece: Piece) -> Part:
    """Return what is to be written where nothing is known of what was there: all rows."""
    return Part(piece.rows, mart.table.frame_schema.to_frame().select(mart.key), frozenset(mart.table.names))


def difference(mart: Mart, piece: Piece) -> Part:
    """Return the rows that have to be written.

    That a row shows a later moment is no difference where all rows show it: the store brings it to that of the run.

    Args:
        mart: The mart.
        piece: Some of its rows, with what is published of them.
    """
    assert piece.published is not None
    rows, shown = piece.rows, piece.published.collect()
    now, before = _compared(mart, rows), _compared(mart, shown)
    changed = now.with_row_index(_ROW).join(before, on=now.columns, how="anti", nulls_equal=True)[_ROW].sort()
    gone = shown.select(mart.key).join(rows.select(mart.key), on=mart.key, how="anti")
    written = rows[changed]
    differing = _differing(mart, now[changed], before) if gone.is_empty() else frozenset(mart.table.names)
    return Part(written, pl.concat([written.select(mart.key), gone]), differing)


def _differing(mart: Mart, changed: pl.DataFrame, before: pl.DataFrame) -> frozenset[str]:
    """Return the columns of which a value differs; all if there are new rows, and always that of the moment."""
    found = changed.join(before, on=mart.key, suffix=_BEFORE)
    if len(found) < len(changed):
        return frozenset(mart.table.names)
    others = [name for name in changed.columns if name not in mart.key]
    differ = found.select(pl.col(name).ne_missing(pl.col(name + _BEFORE)).any() for name in others)
    return frozenset((AS_OF, *(one.name.removesuffix(_SIGN) for one in differ if one.item())))


def _compared(mart: Mart, rows: pl.DataFrame) -> pl.DataFrame:
    """Return what is compared of rows: not the moment that all of them show, but of doubles also the sign of a zero."""
    told = rows if mart.tells_ages else rows.drop(AS_OF, strict=False)
    return told.with_columns((pl.selectors.float() ** -1).name.suffix(_SIGN))
