"""The rows before and after each, among those of one user, ticket or product: in rows that are sorted by that first.

A window (``over``) would gather the rows of each once more, which takes several times as long as to sort them.
"""

import polars as pl


def row_before(value: str | pl.Expr, of: str) -> pl.Expr:
    """Return a value of the row before each; null in the first one of each ``of``."""
    return _beside(value, of, 1)


def row_after(value: str | pl.Expr, of: str) -> pl.Expr:
    """Return a value of the row after each; null in the last one of each ``of``."""
    return _beside(value, of, -1)


def _beside(value: str | pl.Expr, of: str, rows: int) -> pl.Expr:
    wanted = pl.col(value) if isinstance(value, str) else value
    return pl.when(pl.col(of).shift(rows).eq_missing(pl.col(of))).then(wanted.shift(rows))
