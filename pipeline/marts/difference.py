"""What rows of a mart differ from those that are published: only these have to be written."""

import polars as pl

from contracts.schema.mart import AS_OF, Mart
from pipeline.marts.computing import Piece

_ROW = "#row"


def difference(mart: Mart, piece: Piece) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that have to be written, and the keys of these and of the published rows that are to go.

    That a row shows a later moment is no difference: where it shows one, the store brings it to that of the run.

    Args:
        mart: The mart.
        piece: Some of its rows, with what is published of them.
    """
    assert piece.published is not None
    rows, shown = piece.rows, piece.published.collect()
    now, before = _compared(rows), _compared(shown)
    changed = now.with_row_index(_ROW).join(before, on=now.columns, how="anti", nulls_equal=True)[_ROW].sort()
    gone = shown.select(mart.key).join(rows.select(mart.key), on=mart.key, how="anti")
    written = rows[changed]
    return written, pl.concat([written.select(mart.key), gone])


def _compared(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what is compared of rows: of the moment, whether they tell one; of doubles also the sign of a zero."""
    told = rows.with_columns(pl.col(AS_OF).is_null()) if AS_OF in rows.columns else rows
    return told.with_columns((pl.selectors.float() ** -1).name.suffix("#sign"))
