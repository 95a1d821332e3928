"""``etl demo``: the whole job once, and tables to look at."""

import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from pipeline.cli import demo_tables, tables
from pipeline.cli import json_values as values
from pipeline.cli.commands import end_by
from pipeline.cli.options import AsJson, Defects, Replace, Scale, Seed
from pipeline.cli.output import say, show
from pipeline.cli.progress import collection_bars, partition_bars
from pipeline.cli.sessions import connected

if TYPE_CHECKING:
    from pipeline.connections import Connections
    from pipeline.control import Account
    from pipeline.generate import Generated
    from pipeline.marts.build import BuiltMart
    from pipeline.replication.verify import Comparison
    from pipeline.runs.run import Run

_COMMAND = 15  # characters of a command, where what it does stands beside it
_SHOWN = ("active_users_daily", "ticket_resolution", "user_activity")


def demo(
    scale: Scale = 1.0,
    defects: Defects = 0.005,
    seed: Seed = 0,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use embedded engines only, whatever the ETL_..._URI say.")
    ] = False,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Generate, replicate, verify, compute the marts, and show the outcome.

    A few documents break their contract on purpose, so that the quarantine has something to show.

    Examples:
      etl demo
      etl demo --scale 10 --defects 0      a million documents, all lawful
    """
    from pipeline.settings import Settings

    began = time.monotonic()
    with connected(embedded=embedded, demo=True) as connections:
        done = _job(connections, scale, defects, seed, replace)
    home, seconds = Settings.load().home.resolve(), time.monotonic() - began
    show(
        {**done.values(), "home": home, "seconds": seconds},
        *done.tables(),
        _what_next(home, seconds),
        as_json=as_json,
    )
    end_by(done.found)


@dataclass(frozen=True)
class _Done:
    """What the four steps returned, and the first rows of some marts."""

    made: "Generated"
    run: "Run"
    accounts: list["Account"]
    found: list["Comparison"]
    built: list["BuiltMart"]
    top: dict[str, list[dict[str, Any]]]

    def values(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "generate": self.made.as_json(),
            "replicate": values.replicated(self.run, self.accounts),
            "verify": values.verified(self.found),
            **values.marts(self.built),
            "top": self.top,
        }

    def tables(self) -> list[RenderableType]:
        """Return all of it for people."""
        shown = [one for one in self.built if one.name in self.top]
        return [
            demo_tables.copied(self.run, self.accounts, self.found),
            *tables.differences(self.found),
            *tables.refused(self.accounts),
            demo_tables.computed(self.built),
            *(demo_tables.preview(one.name, self.top[one.name], one.rows) for one in shown),
        ]


def _job(connections: "Connections", scale: float, defects: float, seed: int, replace: bool) -> _Done:
    """Do the whole job, step by step."""
    from pipeline.generate import generate
    from pipeline.marts.build import build
    from pipeline.replication.replicate import replicate
    from pipeline.replication.verify import verify

    database, entities = connections.mongo.database, connections.entities
    say("1/4 generate: made-up documents go into MongoDB, some of them broken on purpose")
    with collection_bars("generate", stays=False) as bars:
        made = generate(database, entities, scale=scale, seed=seed, defects=defects, replace=replace, progress=bars)
    say("2/4 replicate: all collections, as they are at one moment, into PostgreSQL and ClickHouse")
    with partition_bars(stays=False) as partitions:
        run, accounts = replicate(connections, progress=partitions, max_quarantined="100%", allow_shrink=True)
    say("3/4 verify: every value in both stores against the documents in MongoDB")
    with collection_bars("verify", stays=False) as comparisons:
        found = verify(connections, progress=comparisons)
    say("4/4 marts: computed from the replica, written to both stores")
    with collection_bars("marts", "rows", stays=False) as spinner:
        built = build(connections, progress=spinner)
    return _Done(made, run, accounts, found, built, _top(connections, built))


def _top(connections: "Connections", built: list["BuiltMart"]) -> dict[str, list[dict[str, Any]]]:
    """Return the first rows of some marts."""
    from contracts.schema.registry import marts
    from pipeline.marts.preview import top

    contracts = marts()
    return {one.name: top(connections.postgres, contracts[one.name]) for one in built if one.name in _SHOWN}


def _what_next(home: Path, seconds: float) -> Text:
    """Tell where everything is, and what may be tried next."""
    etl = _program()
    tried = {
        f"{etl} up": "let the engines run on, and print their URIs",
        f"{etl} psql -c 'TABLE marts.user_activity LIMIT 5'": "",
        f"{etl} quarantine": "what was refused, and by which rule",
        f"{etl} down": "",
    }
    lines = [
        f"Done in {seconds:.1f} s. The tables are in replica and marts, in both stores.",
        "The engines keep their data in the folder below, and have stopped again:",
        f"  {home}",
        "",
        "Look around:",
        *(f"  {command:<{_COMMAND + len(etl)}}  {what}".rstrip() for command, what in tried.items()),
        "",
        "Your own MongoDB, which is only read:",
        "  export ETL_MONGO_URI='mongodb://...' ETL_MONGO_DATABASE=shop",
        f"  {etl} contract infer",
    ]
    return Text("\n".join(lines), no_wrap=True, overflow="ignore")


def _program() -> str:
    """Return how to call ``etl`` from here: ``make demo`` runs it where no environment is activated."""
    installed = Path(sys.executable).with_name("etl")
    if shutil.which("etl") or not installed.exists():
        return "etl"
    return shlex.quote(os.path.relpath(installed))
