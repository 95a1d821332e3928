"""Marts are tried without a server, by what guards the marts of the demo: words, purity, and made-up documents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from polars.testing import assert_frame_equal

from contracts.schema.entity import ContractError, Entity, Table
from contracts.schema.mart import Mart
from pipeline.errors import DataError, UsageError
from pipeline.marts.available import file_of, reasons, why_failed
from pipeline.marts.computing import computed
from pipeline.marts.made_up import CONTEXT, MadeUp
from pipeline.marts.purity import impurities
from pipeline.marts.reading import read_of
from pipeline.marts.spill import spilling

_WHOLE, _PIECES = 2**40, 7  # bytes that hold everything; the pieces that a mart is computed in otherwise
_SEED = 1

Rows = tuple[Table, pl.DataFrame]


@dataclass(frozen=True)
class Checked:
    """A mart that was tried.

    Attributes:
        mart: Its name.
        rows: How many rows came of made-up documents; None if it could not be computed.
        mistakes: What is wrong with it, a sentence each.
    """

    mart: str
    rows: int | None
    mistakes: tuple[str, ...]


def check(entities: Mapping[str, Entity], known: Mapping[str, Mart], names: Iterable[str] = ()) -> list[Checked]:
    """Try marts: their words, their functions, and what these make of nothing and of made-up documents.

    Args:
        entities: The contracts of collections, by name.
        known: All marts, by name.
        names: The marts; all of a user's own if none is named.

    Raises:
        UsageError: There is no such mart, or none of a user's own.
        ContractError: One can't even be loaded.
    """
    wanted = list(names) or [name for name, mart in known.items() if mart.home is not None]
    if unknown := [name for name in wanted if name not in known]:
        raise UsageError(f"there is no mart {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if not wanted:
        raise UsageError("there is no mart of your own: ETL_MARTS names the folders of their files")
    lacking = reasons(entities.values(), known)
    rows = MadeUp(entities, {name: mart for name, mart in known.items() if name not in lacking})
    return [_checked(known[name], lacking.get(name), rows) for name in dict.fromkeys(wanted)]


def _checked(mart: Mart, reason: str | None, rows: MadeUp) -> Checked:
    first = [*_words(mart), *(f"{mart.name}.py, {says}" for says in impurities(file_of(mart)))]
    if reason:
        return Checked(mart.name, None, (*first, reason))
    try:
        tables = read_of([mart], rows.tables)
        read = {name: (table, rows.rows(name).select(table.names)) for name, table in tables.items()}
        whole = _computed(mart, read.values(), _WHOLE)
    except Exception as error:  # whatever a user's own function may raise
        return Checked(mart.name, None, (*first, why_failed(mart, error)))
    return Checked(mart.name, whole.height, (*first, *_broken(mart, list(read.values()), whole)))


def _words(mart: Mart) -> Iterator[str]:
    """Yield which words are missing that people need to use a mart."""
    for word, why in {
        "question": "the question that it answers, and whose it is",
        "definition": "where the definitions come from",
    }.items():
        if not getattr(mart, word):
            yield f"its contract has no {word}: {why}"
    for column in mart.table.columns:
        if not column.description.strip():
            yield f"the column {column.name} has no description"
        elif column.nullable and "null" not in column.description.lower():
            yield f"the column {column.name} may be null, and its description does not say when"


def _broken(mart: Mart, read: Sequence[Rows], whole: pl.DataFrame) -> Iterator[str]:
    """Yield what does not hold of the rows that a mart gives."""
    if not whole.select(pl.struct(mart.key).is_unique().all()).item():
        twice = whole.filter(pl.struct(mart.key).is_duplicated()).select(mart.key).row(0)
        yield f"its key {', '.join(mart.key)} is not one row's alone: {twice} comes twice"
        return
    shuffled = [(table, frame.sample(fraction=1, shuffle=True, seed=_SEED)) for table, frame in read]
    size = int(sum(frame.estimated_size() for _, frame in read)) // _PIECES or 1
    trials: dict[str, tuple[Sequence[Rows], int]] = {
        "it gives other rows when it is computed again: {}": (read, _WHOLE),
        "its rows depend on the order of what it reads, which has none: {}": (shuffled, _WHOLE),
        "computed apart by what its contract says (by=), it gives other rows: {}": (read, size),
    }
    for told, (tables, most) in trials.items():
        try:
            assert_frame_equal(_computed(mart, tables, most), whole, check_exact=False)
        except AssertionError as error:
            yield told.format(" ".join(str(error).split())[:200])
            return
        except (ContractError, DataError) as error:
            yield why_failed(mart, error)
            return


def _computed(mart: Mart, read: Iterable[Rows], size: int) -> pl.DataFrame:
    """Compute a mart as a run does, in pieces of a size, each held against its contract."""
    with spilling(size) as spill:
        for table, frame in read:
            with spill.adding(table) as write:
                write(frame, 0)
        pieces = [piece.rows for piece in computed(mart, CONTEXT, spill)]
    return pl.concat(pieces).sort(mart.key)
