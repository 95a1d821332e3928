"""``etl demo``: the whole job once, and tables to look at."""

import os
import shlex
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from pipeline.cli import demo_tables, tables
from pipeline.cli import json_values as values
from pipeline.cli.options import AsJson, Defects, Replace, Scale, Seed
from pipeline.cli.output import say, show
from pipeline.cli.progress import collection_bars, partition_bars
from pipeline.cli.sessions import connected_settings
from pipeline.cli.verify import end_by

if TYPE_CHECKING:
    from pipeline.advance import Advanced
    from pipeline.cli.demo_changes import KeptVersions
    from pipeline.connections import Connections
    from pipeline.control import Account
    from pipeline.generate import Generated
    from pipeline.marts.build import BuiltMart
    from pipeline.replication.comparison import Comparison
    from pipeline.replication.sync import Synced
    from pipeline.runs.run import Run
    from pipeline.settings import Settings

_WEEK = timedelta(days=7)
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
    """Generate, replicate, verify; let a week go by, sync, verify again; compute the marts; show what came of it.

    Made-up documents are written to the MongoDB that ETL_MONGO_URI names, and copied to the stores that the others
    name: with --embedded nothing of these is touched. A few break their contract on purpose, so that the quarantine
    has something to show. All of it happens in the half year before today.

    Examples:
      etl demo
      etl demo --scale 10 --defects 0      a million documents, all lawful
    """
    began = time.monotonic()
    with connected_settings(embedded=embedded, demo=True) as (settings, connections):
        first, later = _copy(connections, scale, defects, seed, replace), _go_on(connections)
        home = settings.home.resolve()
        page = _report(settings, home / "report.html")
    seconds = time.monotonic() - began
    show(
        {**first.values(), **later.values(), "report": page, "home": home, "seconds": seconds},
        *first.tables(),
        *later.tables(),
        _what_next(home, page, seconds),
        as_json=as_json,
    )
    end_by([*first.found, *later.found])


@dataclass(frozen=True)
class _Copied:
    """What generate, replicate and verify returned."""

    made: "Generated"
    run: "Run"
    accounts: list["Account"]
    found: list["Comparison"]

    def values(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "generate": self.made.as_json(),
            "replicate": values.replicated(self.run, self.accounts),
            "verify": values.verified(self.found),
        }

    def tables(self) -> list[RenderableType]:
        """Return all of it for people."""
        return [
            demo_tables.copied(self.run, self.accounts, self.found),
            *tables.differences(self.found),
            *tables.refused(self.accounts),
        ]


@dataclass(frozen=True)
class _GoneOn:
    """What became of it when the world had gone on."""

    advanced: "Advanced"
    synced: list["Synced"]
    found: list["Comparison"]
    kept: dict[str, "KeptVersions"]
    built: list["BuiltMart"]
    top: dict[str, list[dict[str, Any]]]

    def values(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "advance": self.advanced.as_json(),
            "sync": values.synced(self.synced),
            "kept": {name: asdict(one) for name, one in self.kept.items()},
            "verify_again": values.verified(self.found),
            **values.marts(self.built),
            "top": self.top,
        }

    def tables(self) -> list[RenderableType]:
        """Return all of it for people."""
        shown = [one for one in self.built if one.name in self.top]
        return [
            demo_tables.changed(self.synced, self.kept, self.found),
            *tables.differences(self.found),
            demo_tables.computed(self.built),
            *(demo_tables.preview(one.name, self.top[one.name], one.rows) for one in shown),
        ]


def _copy(connections: "Connections", scale: float, defects: float, seed: int, replace: bool) -> _Copied:
    """Make a world, copy it and prove the copy."""
    from contracts.schema.history import valid_at
    from pipeline.control import as_number
    from pipeline.generate import generate
    from pipeline.replication.history import prune_history
    from pipeline.replication.replicate import replicate

    database, entities = connections.mongo.database, connections.entities
    say("1/7 generate: made-up documents go into MongoDB, some of them broken on purpose")
    with collection_bars("generate", stays=False) as bars:
        until = datetime.now(UTC).date() - _WEEK  # so that all periods of marts and report end with the present one
        made = generate(
            database, entities, scale=scale, seed=seed, defects=defects, until=until, replace=replace, progress=bars
        )
    say("2/7 replicate: all collections, as they are at one moment, into both stores")
    with partition_bars(stays=False) as partitions:
        run, accounts = replicate(connections, progress=partitions, max_quarantined="100%", allow_shrink=True)
    # What an earlier demo's documents were is no past of these: its tickets would seem to be opened again.
    moment = valid_at(as_number(run.cluster_time))
    prune_history(connections, moment, [one.collection for one in made.collections])
    found = _prove(connections, "3/7 verify: every value in both stores against MongoDB")
    return _Copied(made, run, accounts, found)


def _go_on(connections: "Connections") -> _GoneOn:
    """Let the world go on, copy what has changed, and prove the copy again."""
    from pipeline.advance import advance
    from pipeline.cli.demo_changes import kept_by
    from pipeline.replication.sync import sync

    say("4/7 a week goes by: documents are inserted, changed and deleted in MongoDB")
    with collection_bars("advance", stays=False) as bars:
        advanced = advance(connections.mongo.database, connections.entities, _WEEK.total_seconds(), progress=bars)
    say("5/7 sync: only what was changed since, and what it was before is kept")
    with partition_bars("sync", equal=False, stays=False) as partitions:
        synced = sync(connections, progress=partitions, allow_shrink=True)
    moments = {one.collection: one.cluster_time for one in synced if one.changed}
    kept = kept_by(connections.postgres, connections.entities, moments)
    found = _prove(connections, "6/7 verify: every value again")
    built = _compute(connections, "7/7 marts and the report: from what there is now, and what was before")
    return _GoneOn(advanced, synced, found, kept, built, _top(connections, built))


def _prove(connections: "Connections", doing: str) -> list["Comparison"]:
    from pipeline.replication.verify import verify

    say(doing)
    with collection_bars("verify", stays=False) as bars:
        return verify(connections, progress=bars)


def _compute(connections: "Connections", doing: str) -> list["BuiltMart"]:
    from pipeline.marts.build import build

    say(doing)
    with collection_bars("marts", "rows", stays=False) as bars:
        return build(connections, progress=bars)


def _report(settings: "Settings", to: Path) -> Path:
    """Write marts and books as one page."""
    from pipeline.lake.lake import Lake
    from pipeline.report.report import make_report
    from pipeline.runtime.files import write_whole

    with Lake(settings) as lake:
        write_whole(to, make_report(lake, settings.timezone).html)
    return to


def _top(connections: "Connections", built: list["BuiltMart"]) -> dict[str, list[dict[str, Any]]]:
    """Return the first rows of some marts."""
    from pipeline.marts.preview import top

    known = connections.marts
    return {one.name: top(connections.postgres, known[one.name]) for one in built if one.name in _SHOWN}


def _what_next(home: Path, page: Path, seconds: float) -> Text:
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
        "All of it as one page, to open in a browser:",
        f"  {page}",
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
