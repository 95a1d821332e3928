"""All that the doctor looks at, one after the other; what can't be reached doesn't keep it from the rest."""

from collections.abc import Callable, Iterator
from contextlib import closing

from contracts.schema.entity import Entity
from pipeline import control
from pipeline.control import Publication
from pipeline.doctor import clickhouse, mongo, postgres
from pipeline.doctor.clickhouse import examine_clickhouse
from pipeline.doctor.finding import Finding, judged
from pipeline.doctor.machine import examine_contracts, examine_machine
from pipeline.doctor.mongo import examine_mongo
from pipeline.doctor.postgres import examine_postgres
from pipeline.errors import EtlError
from pipeline.settings import Settings
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.mongo.errors import translated
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.postgres.session import Session
from pipeline.text.redaction import remember

_BYTES_PER_SECOND = 10e6  # until there is a copy to go by


def examine(given: Settings, complete: Settings) -> Iterator[Finding]:
    """Look at what people get wrong, and yield what is found, one thing at a time.

    Args:
        given: The settings of the environment.
        complete: The same with the URIs of all servers.
    """
    yield from examine_machine(given)
    finding, entities = examine_contracts(given)
    yield finding
    books = _Books()
    yield from _told(postgres.ABOUT, lambda: _of_postgres(complete, books))
    yield from _told(mongo.ABOUT, lambda: _of_mongo(complete, entities, books))
    yield from _told(clickhouse.ABOUT, lambda: _of_clickhouse(complete))


class _Books:
    """What the books say, as far as they can be read."""

    publications: tuple[Publication, ...] = ()
    rate: float = _BYTES_PER_SECOND


def _told(about: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield findings; an error that ends them is one, too."""
    check = "reachable"
    try:
        for finding in look():
            yield finding
            check = "further questions"  # for it has answered some
    except EtlError as error:
        yield judged(about, check, str(error), fail="see what the sentence says, then look again")


def _of_postgres(settings: Settings, books: _Books) -> Iterator[Finding]:
    uri = _uri(settings, "postgres")
    with closing(Session(uri, settings.wait, settings.silence)) as session:
        yield from examine_postgres(session, uri)
        if control.has_books(session):
            books.publications = tuple(control.publications(session))
            books.rate = control.bytes_per_second(session) or _BYTES_PER_SECOND


def _of_mongo(settings: Settings, entities: dict[str, Entity], books: _Books) -> Iterator[Finding]:
    uri = _uri(settings, "mongo")
    with closing(Mongo(uri, settings.mongo_database, settings.silence)) as source:
        source.know(entities)
        with translated(remember(uri)):
            yield from examine_mongo(source, uri, entities, books.publications, books.rate)


def _of_clickhouse(settings: Settings) -> Iterator[Finding]:
    uri = _uri(settings, "clickhouse")
    with closing(ClickHouse(uri, silence=settings.silence)) as store:
        yield from examine_clickhouse(store, uri)


def _uri(settings: Settings, name: str) -> str:
    return str(getattr(settings, f"{name}_uri").get_secret_value())
