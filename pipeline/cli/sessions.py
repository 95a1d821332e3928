"""What a command works with: settings from the environment, engines for what they lack, and open connections."""

import gc
import resource
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from contracts import DEMO
from pipeline.cli.interrupt import install_sigint
from pipeline.cli.output import console
from pipeline.errors import UsageError

if TYPE_CHECKING:  # heavy, and etl --help needs none of it
    from contracts.schema.entity import Entity
    from pipeline.connections import Connections
    from pipeline.settings import Settings
    from pipeline.stores.mongo.store import Mongo
    from pipeline.stores.postgres.session import Session


_FEWEST_FILES = 64  # with fewer the libraries end without a sentence, some of them on import


@contextmanager
def connected(
    *, embedded: bool = False, demo: bool = False, wait: str | None = None, workers: int | None = None
) -> Iterator["Connections"]:
    """Open the connections to all three servers.

    Args:
        embedded: Use embedded engines only, whatever URIs the environment names.
        demo: Read the contracts of the demo, too, whatever folders the environment names.
        wait: For how long another command is waited for, such as ``90s``; None for what the environment says.
        workers: How many processes share what is large; None for what the environment says.
    """
    with connected_settings(embedded=embedded, demo=demo, wait=wait, workers=workers) as (_, connections):
        yield connections


@contextmanager
def connected_settings(
    *, embedded: bool = False, demo: bool = False, wait: str | None = None, workers: int | None = None
) -> Iterator[tuple["Settings", "Connections"]]:
    """Open the connections to all three servers, as :func:`connected` does, and yield the complete settings as well."""
    _check_file_limit()
    from pipeline.connections import connect
    from pipeline.runtime.hiding import spare_others
    from pipeline.runtime.memory import tune_allocators
    from pipeline.settings import Settings

    given = {"wait": wait, "workers": workers}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    if demo and settings.contracts:
        settings = settings.model_copy(update={"contracts": tuple(dict.fromkeys((*settings.contracts, DEMO)))})
    with _served(settings, embedded=embedded) as settings:
        tune_allocators(settings.memory)
        spare_others()
        with connect(settings) as connections:
            yield settings, connections


@contextmanager
def source() -> Iterator[tuple["Mongo", dict[str, "Entity"]]]:
    """Open the connection to MongoDB alone, and read the contracts."""
    from contracts.schema.registry import entities
    from pipeline.settings import Settings

    known = entities(Settings.load().contracts)
    with mongo_alone() as mongo:
        mongo.know(known)
        yield mongo, known


@contextmanager
def mongo_alone() -> Iterator["Mongo"]:
    """Open the connection to MongoDB alone; contracts are not even looked for."""
    _check_file_limit()
    from pipeline.settings import Settings
    from pipeline.stores.mongo.store import Mongo

    settings = Settings.load()
    with _served(settings, needed=["mongo"]) as complete:
        assert complete.mongo_uri is not None
        uri = complete.mongo_uri.get_secret_value()
        with closing(Mongo(uri, complete.mongo_database, complete.silence)) as mongo:
            yield mongo


@contextmanager
def bookkeeper() -> Iterator["Session | None"]:
    """Open the connection to PostgreSQL alone; there is none where no engine was ever started."""
    _check_file_limit()
    from pipeline.settings import Settings
    from pipeline.stores.postgres.session import Session

    settings = Settings.load()
    untouched = not settings.home.exists() or (settings.home.is_dir() and not (settings.home / "postgres").exists())
    if settings.postgres_uri is None and untouched:
        yield None
        return
    with _served(settings, needed=["postgres"]) as complete:
        assert complete.postgres_uri is not None
        uri = complete.postgres_uri.get_secret_value()
        with closing(Session(uri, settings.wait, settings.silence)) as postgres:
            yield postgres


@contextmanager
def complete_settings(
    needed: Collection[str] = ("mongo", "postgres", "clickhouse"),
) -> Iterator["Settings"]:
    """Start the embedded engines that the environment lacks; whoever asks opens its connections itself.

    Args:
        needed: Names of the servers that the command talks to.
    """
    _check_file_limit()
    from pipeline.settings import Settings

    with _served(Settings.load(), needed=needed) as complete:
        yield complete


@contextmanager
def _served(
    settings: "Settings", *, embedded: bool = False, needed: Collection[str] = ("mongo", "postgres", "clickhouse")
) -> Iterator["Settings"]:
    """Start the embedded engines that the settings lack, and stop them afterwards.

    Args:
        settings: From the environment.
        embedded: Whether to start them even where a URI is given.
        needed: Names of the servers that the command talks to.

    Yields:
        The settings with the URIs of the needed servers.
    """
    from pydantic import SecretStr

    from pipeline.engines.embedded import NAMES, engines

    install_sigint()
    # A server that nobody talks to needs no engine: that one counts as given.
    unneeded = {f"{name}_uri": SecretStr("") for name in NAMES if name not in needed}
    with ExitStack() as stack:
        with console(stderr=True).status("starting the embedded engines"):
            complete = stack.enter_context(engines(settings.model_copy(update=unneeded), everything=embedded))
        gc.freeze()  # what is imported by now stays
        gc.enable()
        yield complete


def _check_file_limit() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < _FEWEST_FILES:
        raise UsageError(
            f"this process may open {files} files only, and needs {_FEWEST_FILES}; raise that by ulimit -n 4096"
        )
