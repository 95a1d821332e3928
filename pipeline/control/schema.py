"""The tables of the books, and how those of an older version become those of today.

The comment of the schema tells the version: whoever may connect can read it, as ``etl status`` does.
"""

import re
from collections.abc import Callable

from pipeline.control.locks import lock_publishing
from pipeline.errors import UsageError
from pipeline.stores.postgres.session import Session

_QUARANTINE = (
    "collection text NOT NULL, id_hash bytea NOT NULL, _id text NOT NULL, bson bytea NOT NULL, reasons jsonb NOT NULL"
)
_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS etl",
    "CREATE TABLE IF NOT EXISTS etl.runs ("
    "run_id text PRIMARY KEY, kind text NOT NULL, status text NOT NULL, cluster_time bigint NOT NULL, "
    "cluster_time_at timestamptz NOT NULL, targets text[] NOT NULL, single_process boolean NOT NULL, "
    "started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz, message text, plan jsonb)",
    "CREATE TABLE IF NOT EXISTS etl.ledger ("
    "run_id text NOT NULL REFERENCES etl.runs, collection text NOT NULL, partition bigint NOT NULL, "
    "target text NOT NULL, source bigint, loaded bigint, quarantined bigint, bytes bigint, seconds double precision, "
    "loaded_at timestamptz, PRIMARY KEY (run_id, collection, partition, target))",
    "CREATE TABLE IF NOT EXISTS etl.published ("
    "collection text NOT NULL, target text NOT NULL, run_id text NOT NULL REFERENCES etl.runs, "
    "cluster_time bigint NOT NULL, cluster_time_at timestamptz NOT NULL, published_at timestamptz, "
    "PRIMARY KEY (collection, target))",
    f"CREATE TABLE IF NOT EXISTS etl.quarantine ({_QUARANTINE}, run_id text NOT NULL REFERENCES etl.runs, "
    "first_seen_at timestamptz NOT NULL, resolved_at timestamptz, PRIMARY KEY (collection, id_hash))",
    f"CREATE TABLE IF NOT EXISTS etl.refused (run_id text NOT NULL, partition bigint NOT NULL, {_QUARANTINE})",
    "CREATE TABLE IF NOT EXISTS etl.touched (run_id text NOT NULL, collection text NOT NULL, place bigint NOT NULL, "
    "id_hash bytea NOT NULL, element bytea NOT NULL)",
    "CREATE INDEX IF NOT EXISTS touched_by_place ON etl.touched (run_id, collection, place)",
    "CREATE TABLE IF NOT EXISTS etl.drift ("
    "run_id text NOT NULL REFERENCES etl.runs, collection text NOT NULL, partition bigint NOT NULL, "
    "path text NOT NULL, kind text NOT NULL, value text, count bigint NOT NULL, first_id text NOT NULL)",
    "CREATE INDEX IF NOT EXISTS drift_by_run ON etl.drift (run_id)",
    "CREATE TABLE IF NOT EXISTS etl.receipts ("
    "run_id text NOT NULL REFERENCES etl.runs, stage text NOT NULL, seconds double precision NOT NULL)",
    "CREATE INDEX IF NOT EXISTS receipts_by_run ON etl.receipts (run_id)",
    "CREATE TABLE IF NOT EXISTS etl.columns ("
    "target text NOT NULL, schema_name text NOT NULL, root text NOT NULL, table_name text NOT NULL, "
    "column_name text NOT NULL, PRIMARY KEY (target, schema_name, table_name, column_name))",
    "COMMENT ON TABLE etl.runs IS 'One row per run; cluster_time is the moment it read, as seconds * 2^32 + ordinal.'",
    "COMMENT ON TABLE etl.ledger IS 'Per run, collection, partition and target: "
    "source (counted by MongoDB) = loaded (counted in the store) + quarantined.'",
    "COMMENT ON TABLE etl.published IS 'Which run, and so which moment, each collection or mart shows in each target; "
    "published_at is null until ClickHouse has followed PostgreSQL.'",
    "COMMENT ON TABLE etl.columns IS 'Which columns of published tables contracts have made; others are left alone.'",
    "COMMENT ON TABLE etl.refused IS 'What running runs have refused so far.'",
    "COMMENT ON TABLE etl.touched IS 'Which documents running runs have found changed: the BSON element of each _id.'",
    "COMMENT ON TABLE etl.receipts IS 'How long each stage of a run was at work, in seconds; stages overlap.'",
    "COMMENT ON TABLE etl.drift IS 'In what the documents of a run went beyond their contracts.'",
    "COMMENT ON TABLE etl.quarantine IS 'Documents that were refused, whole, with every reason; "
    "resolved_at is null as long as they are refused; what is gone from MongoDB is deleted here too.'",
)
# To replace a view locks its readers out, so it is created once.
_CHECKPOINTS = (
    "CREATE VIEW etl.checkpoints AS SELECT p.collection, p.target, p.cluster_time, p.cluster_time_at, p.run_id "
    "FROM etl.published p JOIN etl.runs USING (run_id) WHERE kind <> 'marts'",
    "COMMENT ON VIEW etl.checkpoints IS 'From which moment on the changes of each collection are followed.'",
)
# Columns that tables lack which are older than the numbers of versions.
_ADDED = (
    ("etl.ledger", "loaded_at", "timestamptz"),
    ("etl.published", "marked", "boolean"),
    ("etl.published", "source", "jsonb"),  # null of marts, and of what an older version has published
    ("etl.published", "tables", "jsonb"),  # null where the rows have still to be counted
)
# Indexes that they lack; CREATE INDEX IF NOT EXISTS would wait for all who write to the table.
_INDEXED = (
    ("etl", "quarantine_by_run", "etl.quarantine (run_id)"),  # or to remove a run would read all of it
    ("etl", "runs_by_kind", "etl.runs (kind, started_at, run_id)"),
    ("etl", "runs_at_work", "etl.runs (run_id) WHERE status = 'running'"),
)

_UNDECLARED = (
    "CREATE TABLE IF NOT EXISTS etl.undeclared ("
    "collection text PRIMARY KEY, stem text NOT NULL UNIQUE, id_kind text NOT NULL)",
    "COMMENT ON TABLE etl.undeclared IS 'Collections that are copied without a contract, each document whole.'",
)

_HISTORY = (
    "CREATE TABLE IF NOT EXISTS etl.history ("
    "collection text NOT NULL, target text NOT NULL, observed_since bigint NOT NULL, observed_until bigint, "
    "PRIMARY KEY (collection, target, observed_since))",
    "COMMENT ON TABLE etl.history IS 'From which cluster time on, and until which, the former versions of a "
    "collection are kept in each target; observed_until is null as long as they are.'",
)

_VERIFICATIONS = (
    "CREATE TABLE IF NOT EXISTS etl.verifications ("
    "collection text NOT NULL, target text NOT NULL, run_id text NOT NULL, cluster_time bigint NOT NULL, "
    "cluster_time_at timestamptz NOT NULL, verified_at timestamptz NOT NULL, sample text NOT NULL, "
    "is_proven boolean NOT NULL, documents bigint NOT NULL, source bigint NOT NULL, equal bigint NOT NULL, "
    "missing bigint NOT NULL, extra bigint NOT NULL, different bigint NOT NULL, quarantined bigint NOT NULL, "
    "changed_since bigint NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS verifications_last ON etl.verifications (collection, target, (sample = ''))",
    "COMMENT ON TABLE etl.verifications IS 'What came of the last verification of each collection in each target: of "
    "all its documents, and of a sample.'",
)

_CHANGES = (
    "CREATE TABLE IF NOT EXISTS etl.publishes ("
    "collection text NOT NULL, run_id text NOT NULL, follows text NOT NULL, PRIMARY KEY (collection, run_id))",
    "CREATE TABLE IF NOT EXISTS etl.changed ("
    "collection text NOT NULL, run_id text NOT NULL, _id text NOT NULL, former jsonb)",
    "CREATE INDEX IF NOT EXISTS changed_by_run ON etl.changed (collection, run_id)",
    "COMMENT ON TABLE etl.publishes IS 'Which run each publish of a part of a collection followed in PostgreSQL, as "
    "long as marts are computed from what was changed.'",
    "COMMENT ON TABLE etl.changed IS 'Which documents such a publish changed; former is what they were before, in the "
    "columns that marts are computed apart by, null of new ones.'",
)

_NAMES = [
    "checkpoints",
    "undeclared",
    "history",
    "verifications",
    "publishes",
    "changed",
    *re.findall(r"TABLE IF NOT EXISTS etl\.(\w+)", " ".join(_TABLES)),
]
_COMMENT = "The books of the pipeline, version {}."


def ensure_schema(postgres: Session) -> None:
    """Create the books if they do not exist, and bring those of an older version up to date, all of it or nothing.

    Args:
        postgres: Where the books are; those of this version are left alone.

    Raises:
        UsageError: They are of a newer version than this program knows.
    """
    with postgres.transaction():
        if _found_version(postgres) == _version():
            return
        # Two commands may come here at once, and CREATE ... IF NOT EXISTS is no protection against that.
        lock_publishing(postgres)
        for migrate in _MIGRATIONS[_found_version(postgres) :]:
            migrate(postgres)
        postgres.execute(f"COMMENT ON SCHEMA etl IS '{_COMMENT.format(_version())}'")


def has_books(postgres: Session) -> bool:
    """Return whether there are books to read; no right to create anything is needed for it.

    Raises:
        UsageError: They are of a newer version than this program knows.
    """
    _found_version(postgres)
    return bool(postgres.rows("SELECT to_regclass('etl.runs') IS NOT NULL")[0][0])


def _version() -> int:
    return len(_MIGRATIONS)


def _found_version(postgres: Session) -> int:
    """Return the version of the books; 0 where they have none yet, or a table of them was dropped."""
    query = (
        "SELECT obj_description(to_regnamespace('etl'), 'pg_namespace'), (SELECT count(*) FROM pg_class "
        "WHERE relnamespace = to_regnamespace('etl') AND relname = ANY (string_to_array($1::text, ',')))"
    )
    ((comment, tables),) = postgres.rows(query, ",".join(_NAMES))
    told = re.fullmatch(re.escape(_COMMENT).replace(r"\{\}", r"(\d+)"), comment or "")
    version = int(told[1]) if told else 0
    if version > _version():
        raise UsageError(
            f"the books in PostgreSQL's schema etl are of version {version}, and this mongo-marts knows them up to "
            f"version {_version()}; use the one that made them, or a newer one"
        )
    return version if tables == len(_NAMES) else 0


def _create(postgres: Session) -> None:
    """Make version 1, of nothing or of books that are older than the numbers of versions."""
    postgres.execute(*_TABLES)
    if not postgres.rows("SELECT to_regclass('etl.checkpoints') IS NOT NULL")[0][0]:
        postgres.execute(*_CHECKPOINTS)
    for table, column, kind in _ADDED:
        if not _has(postgres, table, column):  # ADD COLUMN IF NOT EXISTS would wait for all who use the table
            postgres.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    for schema, index, columns in _INDEXED:
        if not postgres.rows("SELECT to_regclass($1::text) IS NOT NULL", f"{schema}.{index}")[0][0]:
            postgres.execute(f"CREATE INDEX {index} ON {columns}")


def _add_undeclared(postgres: Session) -> None:
    """Make version 2: collections may be copied that no contract declares."""
    postgres.execute(*_UNDECLARED)


def _add_history(postgres: Session) -> None:
    """Make version 3: the books know which collections keep their former versions."""
    postgres.execute(*_HISTORY)


def _add_reading(postgres: Session) -> None:
    """Make version 4: the books know what was read at no one moment."""
    if not _has(postgres, "etl.published", "unpinned"):
        postgres.execute("ALTER TABLE etl.published ADD COLUMN unpinned boolean")


def _add_holding(postgres: Session) -> None:
    """Make version 5: the books know what only one store can hold, and what the contract of a copy omitted."""
    for column, kind in (("alone", "boolean"), ("omitted", "jsonb")):
        if not _has(postgres, "etl.published", column):
            postgres.execute(f"ALTER TABLE etl.published ADD COLUMN {column} {kind}")


def _add_verifications(postgres: Session) -> None:
    """Make version 6: the books know what came of the last verifications."""
    postgres.execute(*_VERIFICATIONS)


def _add_changes(postgres: Session) -> None:
    """Make version 7: publishes note which documents they change."""
    postgres.execute(*_CHANGES)


def _has(postgres: Session, table: str, column: str) -> bool:
    query = "SELECT count(*) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = $2::text"
    return bool(postgres.rows(query, table, column)[0][0])


# Each makes the next version of the one before it. What was released is never changed: a change is one more step, and
# leaves alone what is there already, for all are taken again where a table was dropped.
_MIGRATIONS: tuple[Callable[[Session], None], ...] = (
    _create,
    _add_undeclared,
    _add_history,
    _add_reading,
    _add_holding,
    _add_verifications,
    _add_changes,
)
