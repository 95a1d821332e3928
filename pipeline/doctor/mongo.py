"""MongoDB, as a source: what a copy and what a sync needs of it."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from bson import Timestamp
from pymongo.errors import OperationFailure, PyMongoError

from contracts.schema.entity import Entity
from pipeline.control import Publication
from pipeline.doctor.common import clock, duration, encryption, size, version
from pipeline.doctor.finding import Finding, State, judged
from pipeline.stores.mongo.errors import first_line
from pipeline.stores.mongo.store import Mongo

ABOUT = "MongoDB"
_LEAST = (5, 0)  # since then one moment can be read by several processes
_GRANT = "grant the role read on it: db.getSiblingDB('admin').grantRolesToUser(USER, [{{role: 'read', db: {0!r}}}])"
_SHORT_OPLOG_S = 86_400.0


def examine_mongo(
    mongo: Mongo, uri: str, entities: Mapping[str, Entity], publications: Collection[Publication], rate: float
) -> Iterator[Finding]:
    """Yield what is to be said of the source.

    Args:
        mongo: The source; it answers.
        uri: Its URI.
        entities: The contracts.
        publications: What the books say is published.
        rate: Bytes of BSON a second that a copy reads, about.

    Raises:
        ServerError: It can't be reached, refuses us, or is no replica set.
    """
    mongo.cluster_time()
    yield judged(ABOUT, "reachable", "yes, and a member of a replica set")
    yield version(ABOUT, mongo.client.server_info()["version"], _LEAST)
    yield clock(ABOUT, mongo.client.admin.command("hello")["localTime"])
    yield encryption(ABOUT, uri, encrypted=_is_encrypted(uri), how="tls=true in ETL_MONGO_URI")
    listed = mongo.listed()
    there = set(listed)
    declared = sorted(set(entities) & there)
    yield _collections(_named(_databases(mongo, entities)), entities, there)
    if unpinned := [name for name in declared if not listed[name].is_pinned]:
        says = f"not of {', '.join(unpinned[:5])}{' and others' * (len(unpinned) > 5)}, which MongoDB can't read so"
        yield judged(ABOUT, "one moment", says, warn="etl replicate --without-snapshot copies them as they are by then")
    rights = [_rights(mongo, declared), _following(mongo, declared)]
    yield from rights
    if any(one.state is State.FAIL for one in rights):
        return  # what follows takes them
    yield _history(mongo, declared, rate)
    yield _oplog(mongo, publications)


def _is_encrypted(uri: str) -> bool:
    options = {name.lower(): value.lower() for name, value in parse_qsl(urlsplit(uri).query)}
    said = options.get("tls", options.get("ssl"))
    implied = uri.startswith("mongodb+srv://") or any(name.startswith("tls") for name in options)
    return implied if said is None else said == "true"


def _collections(databases: str, entities: Mapping[str, Entity], there: set[str]) -> Finding:
    missing = sorted(set(entities) - there)
    says = f"{len(entities) - len(missing)} of the {len(entities)} declared ones are in {databases}"
    if not missing:
        return judged(ABOUT, "collections", says)
    says += f"; {', '.join(missing[:5])} {'is' if len(missing) == 1 else 'are'} not"
    advice = "look at ETL_MONGO_DATABASE and ETL_CONTRACTS, if that surprises you; etl contract infer writes contracts"
    return judged(ABOUT, "collections", says, warn=advice)


def _rights(mongo: Mongo, declared: Collection[str]) -> Finding:
    for collection in declared:
        try:
            mongo.collection(collection).find_one({}, {"_id": 1})
        except OperationFailure as error:
            grant = _GRANT.format(mongo.database_of(collection))
            return judged(ABOUT, "right to read", f"refused: {first_line(error)}", fail=grant)
    return judged(ABOUT, "right to read", f"given on {_named(_databases(mongo, declared))}")


def _databases(mongo: Mongo, collections: Iterable[str]) -> list[str]:
    """Return the databases that collections are in; our own if there are no collections."""
    return list(dict.fromkeys(map(mongo.database_of, collections))) or [mongo.database.name]


def _named(databases: Iterable[str]) -> str:
    return ", ".join(map(repr, databases))


def _following(mongo: Mongo, declared: Collection[str]) -> Finding:
    for name in _databases(mongo, declared):
        try:
            with mongo.client[name].watch(max_await_time_ms=1) as stream:
                stream.try_next()
        except PyMongoError as error:
            return judged(ABOUT, "right to follow", f"refused: {first_line(error)}", fail=_GRANT.format(name))
    return judged(ABOUT, "right to follow", "given: sync can read the change stream")


def _history(mongo: Mongo, declared: Collection[str], rate: float) -> Finding:
    history, bytes_there = mongo.snapshot_window(), sum(mongo.extent(name).size for name in declared)
    says = f"{duration(history.seconds)}; a copy of {size(bytes_there)} takes about {duration(bytes_there / rate)}"
    if history.unread:
        says += f" (the default, for it could not be read: {history.unread})"
    return judged(ABOUT, "remembers", says, warn=history.outlived_by("a copy", bytes_there / rate) or "")


def _oplog(mongo: Mongo, publications: Collection[Publication]) -> Finding:
    """Judge how far back changes can be followed, from what is published to now."""
    try:
        oldest = mongo.client["local"]["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
    except PyMongoError as error:
        return judged(ABOUT, "oplog", f"can't be read ({first_line(error)}); sync looks itself")
    if oldest is None:
        return judged(ABOUT, "oplog", "empty")
    first = oldest["ts"]
    shown = [one.cluster_time for one in publications if one.source is not None]
    says = f"reaches back {duration(time.time() - first.time)}"
    if shown and min(shown) < Timestamp(first.time, first.inc):
        advice = "a full copy is needed: changes can't be followed any more"
        return judged(ABOUT, "oplog", f"{says}, not to what is published", fail=advice)
    short = time.time() - first.time < _SHORT_OPLOG_S and _is_full(mongo)
    advice = "let sync run more often than that, or give the oplog more room (replSetResizeOplog)"
    return judged(ABOUT, "oplog", says, warn=advice if short else "")


def _is_full(mongo: Mongo) -> bool:
    """Return whether the oplog throws away its oldest entries: a young one is short without need."""
    stats = next(mongo.client["local"]["oplog.rs"].aggregate([{"$collStats": {"storageStats": {}}}]))["storageStats"]
    return bool(stats["size"] > 0.9 * stats["maxSize"])
