"""``etl up`` and ``etl down``: the embedded engines, for psql, mongosh, notebooks and Airflow."""

import shlex
import shutil
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from pipeline.cli.options import AsJson
from pipeline.cli.outcome import console, say, show


def up(as_json: AsJson = False) -> None:
    """Start the embedded engines and keep them running; print their URIs, passwords included.

    Examples:
      etl up
      psql "$(etl up --json | jq -r .postgres)"
      etl down
    """
    from pipeline.embedded import up as start
    from pipeline.settings import Settings

    settings = Settings.load()
    with console(stderr=True).status("starting the embedded engines"):
        uris = asdict(start(settings.home))
    for name in uris:
        if getattr(settings, f"{name}_uri") is not None:
            say(f"note: ETL_{name.upper()}_URI is set, so other commands use that server, not the embedded one")
    lines = [f"{name:<11} {uri}" for name, uri in uris.items()]
    lines += ["", f"{psql()} {shlex.quote(uris['postgres'])}", "etl down    stops them"]
    show(uris, Text("\n".join(lines), no_wrap=True, overflow="ignore"), as_json=as_json)


def down(as_json: AsJson = False) -> None:
    """Stop the embedded engines; their data stay.

    Examples:
      etl down
    """
    from pipeline.embedded import down as stop
    from pipeline.settings import Settings

    stopped = stop(Settings.load().home)
    show({"stopped": stopped}, f"stopped: {', '.join(stopped) or 'nothing ran'}", as_json=as_json)


def psql() -> str:
    """Return how to call psql here: the one of the wheel if none is installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    if shutil.which("psql"):
        return "psql"
    try:
        wheels = Path(str(distribution("pgserver").locate_file("pgserver/pginstall/bin/psql")))
    except PackageNotFoundError:
        return "psql"
    return shlex.quote(str(wheels)) if wheels.exists() else "psql"
