"""What came of each search: its term, and how it stands to the same user's next one."""

from datetime import timedelta
from unicodedata import normalize

import polars as pl

from contracts.marts.search_facts import MART, REFINING_S, TYPING_S
from contracts.schema.entity import TEXT_KEY_CHARACTERS
from transforms.marts._calendar import local_date
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._neighbours import row_after


def search_facts(search_queries: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Tell what came of each search.

    Args:
        search_queries: One row per search.
        context: Has the reporting zone.

    Returns:
        One row per search, as ``contracts.marts.search_facts`` describes it.
    """
    searches = search_queries.with_columns(
        searched_at="timestamp",
        searched_on=local_date(pl.col("timestamp"), context),
        search_term=_term(pl.col("query_text")),
        is_zero_result=pl.col("results_count") == 0,
    )
    told = searches.sort("user_id", "searched_at", "_id").with_columns(is_final=~_is_typed_on())
    final = told.filter("is_final").select("_id", is_refined=_is_refined(), next_term=_next("search_term"))
    joined = told.join(final, on="_id", how="left").with_columns(next_term=pl.when("is_refined").then("next_term"))
    return conform(joined, MART, context)


def _term(typed: pl.Expr) -> pl.Expr:
    single = typed.str.normalize("NFKC").str.replace_all(r"\s+", " ").str.strip_chars()
    return single.map_batches(_folded, return_dtype=pl.String(), is_elementwise=True).str.head(TEXT_KEY_CHARACTERS)


def _folded(terms: pl.Series) -> pl.Series:
    """Fold the case as Unicode says: lower case alone keeps apart what differs in ß or a final sigma."""
    different = terms.unique().drop_nulls()
    # Folding may take letters apart, which NFKC puts together again.
    folded = pl.Series([normalize("NFKC", term.casefold()) for term in different.to_list()], dtype=pl.String())
    return terms.replace_strict(different, folded, return_dtype=pl.String())


def _next(column: str) -> pl.Expr:
    return row_after(column, "user_id")


def _comes_within(seconds: int) -> pl.Expr:
    """Return whether the user's next search came within so many seconds."""
    return (_next("searched_at") - pl.col("searched_at") <= pl.lit(timedelta(seconds=seconds))).fill_null(False)


def _is_typed_on() -> pl.Expr:
    term, following = pl.col("search_term"), _next("search_term")
    is_part = following.str.starts_with(term) | term.str.starts_with(following)
    return _comes_within(TYPING_S) & (is_part & (term != following)).fill_null(False)


def _is_refined() -> pl.Expr:
    return _comes_within(REFINING_S) & (pl.col("search_term") != _next("search_term")).fill_null(False)
