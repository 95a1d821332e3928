"""ClickHouse, as a target."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from contracts.schema.history import HISTORY
from pipeline.doctor.common import clock, encryption, size, version
from pipeline.doctor.finding import Finding, judged
from pipeline.errors import EtlError
from pipeline.runs.published import MARTS, REPLICA
from pipeline.stores.clickhouse.store import ClickHouse

ABOUT = "ClickHouse"
_LEAST = (24, 10)  # since then rights can be given on names with *
_STAGING = "staging_doctor"
_ON_TABLES = "SELECT, INSERT, ALTER TABLE, TRUNCATE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW"
_LITTLE = 0.1  # of a disk


def examine_clickhouse(clickhouse: ClickHouse, uri: str) -> Iterator[Finding]:
    """Yield what is to be said of a server that answers.

    Args:
        clickhouse: An open store.
        uri: Its URI.
    """
    yield judged(ABOUT, "reachable", "yes")
    ((shown, now, user),) = clickhouse.rows("SELECT version(), now64(3, 'UTC'), currentUser()")
    yield version(ABOUT, shown, _LEAST)
    yield clock(ABOUT, now)
    encrypted = urlsplit(uri).scheme in ("https", "clickhouses")
    yield encryption(ABOUT, uri, encrypted=encrypted, how="https:// in ETL_CLICKHOUSE_URI")
    yield _rights(clickhouse, user)
    yield from _disks(clickhouse)


def _rights(clickhouse: ClickHouse, user: str) -> Finding:
    wanted = [f"CREATE DATABASE, DROP DATABASE ON {_STAGING}.*", f"{_ON_TABLES} ON {_STAGING}.*"]
    for database in (REPLICA, MARTS, HISTORY):
        wanted += [f"CREATE DATABASE ON {database}.*", f"{_ON_TABLES} ON {database}.*"]
    try:
        lacking = [one for one in wanted if not int(clickhouse.rows(f"CHECK GRANT {one}")[0][0])]
    except EtlError as error:
        return judged(ABOUT, "rights", f"can't be asked for: {error}", warn="docs/permissions.md has the statements")
    grants = "; ".join(f"GRANT {one.replace(_STAGING, 'staging_*')} TO {user}" for one in lacking)
    return judged(ABOUT, "rights", f"{len(lacking)} are lacking" if lacking else "given", fail=grants)


def _disks(clickhouse: ClickHouse) -> Iterator[Finding]:
    try:
        disks = clickhouse.rows("SELECT name, free_space, total_space FROM system.disks ORDER BY name")
    except EtlError:  # a right that nothing else needs
        return
    for name, free, total in disks:
        advice = (
            "make room: a full copy takes the room of its tables twice for a while" if free < _LITTLE * total else ""
        )
        yield judged(ABOUT, f"disk {name}", f"{size(free)} of {size(total)} free", warn=advice)
