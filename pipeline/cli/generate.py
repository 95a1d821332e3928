"""``etl generate``: made-up documents, and what becomes of them later."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import typer

from pipeline.cli import tables
from pipeline.cli.options import AsJson, Defects, Replace, Scale, Seed
from pipeline.cli.output import show
from pipeline.cli.progress import collection_bars
from pipeline.cli.sessions import source
from pipeline.errors import UsageError


def generate(
    scale: Scale = 1.0,
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", metavar="COLLECTION=N", help="Exactly N documents of one collection; may be repeated."),
    ] = None,
    defects: Defects = 0.0,
    seed: Seed = 0,
    replace: Replace = False,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="All happens before it.", show_default="2026-06-30"),
    ] = None,
    advance: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Let what was generated go on for so long, such as 7d: see below."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fill MongoDB with a made-up but coherent world: users, products, sessions, searches, tickets, reviews.

    Only collections that an earlier etl generate made are replaced.

    With --advance nothing is replaced: documents are added, changed (tickets solved
    and reopened, reviews decided, lists rewritten) and deleted, as in that time.

    Examples:
      etl generate --scale 0.1
      etl generate --scale 0 --rows UserSessions=1000000
      etl generate --defects 0.01      one in a hundred breaks its contract
      etl generate --advance 7d        a week later
    """
    from pipeline.generate import generate as fill

    if advance is not None:
        if (scale, rows, defects, seed, replace, until) != (1.0, None, 0.0, 0, False, None):
            raise UsageError("--advance goes on with what was generated, by its own seed and size; give it alone")
        _go_on(advance, as_json=as_json)
        return
    numbers = _numbers(rows or [])
    with source() as (mongo, entities), collection_bars("generate") as progress:
        made = fill(
            mongo.database,
            entities,
            scale=scale,
            rows=numbers,
            seed=seed,
            defects=defects,
            until=until,
            replace=replace,
            progress=progress,
        )
    show(made.as_json(), tables.generated(made), as_json=as_json)


def _go_on(text: str, *, as_json: bool) -> None:
    from pipeline.advance import advance, span

    seconds = span(text)
    with source() as (mongo, entities), collection_bars("generate") as progress:
        made = advance(mongo.database, entities, seconds, progress=progress)
    show(made.as_json(), tables.advanced(made), as_json=as_json)


def _numbers(rows: Iterable[str]) -> dict[str, int]:
    """Read ``--rows COLLECTION=N``."""
    numbers = {}
    for one in rows:
        name, _, number = one.partition("=")
        if not number.strip().isdecimal():
            raise UsageError(f"--rows takes COLLECTION=N, such as UserSessions=1000, not {one!r}")
        numbers[name] = int(number)
    return numbers
