"""What nobody may do here: reach files, programs and other servers through SQL.

Three fences, each where it holds best:

* ClickHouse's own grants: no sources (``file``, ``url``, ``s3``, ``remote``, ``mongodb``, ``mysql``, ...) and only
  the table engines that keep their rows here.
* Constraints on settings that name files, or let data be evaluated as expressions.
* What chDB asks no grant for (``INTO OUTFILE``, ``FROM INFILE``, the function ``file``, dictionaries, disks made up
  in a statement) is looked for in the statement as ClickHouse's own parser writes it, so that comments, quotes and
  case hide nothing.
"""

import re
from pathlib import Path
from uuid import uuid4
from xml.sax.saxutils import escape

_GRANTS = (
    "SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, CREATE DICTIONARY, "
    "DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, SHOW, CHECK, KILL QUERY, BACKUP, dictGet, SYSTEM MERGES, "
    "SYSTEM TTL MERGES, SYSTEM VIEWS, SYSTEM FLUSH LOGS ON *.*",
    "READ, WRITE ON DISK",  # BACKUP and RESTORE, on the one disk that is allowed below
)
_ENGINES = (
    *("MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "CollapsingMergeTree"),
    *("VersionedCollapsingMergeTree", "Memory", "Null", "Log", "TinyLog", "StripeLog", "Set", "Join", "Buffer"),
    *("Merge", "GenerateRandom", "Atomic"),
)
_FIXED = {  # settings that nobody may change, with their value; None leaves the default
    "allow_python_table_function": 0,  # it would read this process's own variables
    "allow_experimental_eval_table_function": 0,
    "input_format_values_interpret_expressions": 0,
    "input_format_values_deduce_templates_of_expressions": 0,
    **dict.fromkeys(
        (
            *("dialect", "format_schema", "format_schema_source", "format_template_row", "format_template_resultset"),
            *("input_format_record_errors_file_path", "output_format_schema", "rename_files_after_processing"),
        )
    ),
}
_USERS = """<clickhouse>
    <profiles><default>{values}<constraints>{constraints}</constraints></default></profiles>
    <quotas><default/></quotas>
    <users><default>
        <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
        <grants>{grants}</grants>
    </default></users>
</clickhouse>
"""
_SERVER = """<clickhouse>
    <users_config>{users}</users_config>
    <default_database>{database}</default_database>
    <access_control_improvements><table_engines_require_grant>true</table_engines_require_grant>
    </access_control_improvements>
    <storage_configuration><disks><backups><type>local</type><path>{backups}/</path></backups></disks>
    </storage_configuration>
    <backups><allowed_disk>backups</allowed_disk></backups>
</clickhouse>
"""
# chDB's own default database shows all files beside its tables, and asks for rights on files when a name is unknown.
_OVERLAY = "_local"

_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_SOURCE = re.compile(r"\bSOURCE\((?!CLICKHOUSE\((?:(?:DB|TABLE|UPDATE_FIELD|UPDATE_LAG) (?:''|`?\w+`?) ?)+\)\))", re.I)
_FORBIDDEN = {  # by what the user is told; all are looked for outside quoted text
    "INTO OUTFILE": re.compile(r"\bINTO OUTFILE\b", re.I),
    "FROM INFILE": re.compile(r"\bFROM INFILE\b", re.I),
    "the function file": re.compile(r"(?<![\w.`])`?file`?\(|\bAPPLY\(?\s*`?file\b|\b(?:array|map)\w*\(`?file\b", re.I),
    "disks made up in a statement": re.compile(r"\bdisk`?\("),  # in capitals it is where a BACKUP goes
    "programs": re.compile(r"\bexecutable(?:pool)?`?\(|\bENGINE = `?executable", re.I),
    "a dictionary's source other than tables here": _SOURCE,
}
# Without any of these there is none of the above, nor a second statement: a backslash may spell any letter in a quoted
# name. To have a statement rewritten costs as much as a small statement itself.
_SUSPECT = re.compile(r"file|disk|executable|source|[;\\]", re.I)


def write_configuration(folder: Path) -> str:
    """Write the server's configuration and users beside the data.

    Args:
        folder: The folder that holds the data's folder.

    Returns:
        The configuration's name in the folder.
    """
    backups = folder / "backups"
    backups.mkdir(mode=0o700, exist_ok=True)
    values = "".join(f"<{name}>{value}</{name}>" for name, value in _FIXED.items() if value is not None)
    constraints = "".join(f"<{name}><const/></{name}>" for name in _FIXED)
    grants = (*_GRANTS, *(f"TABLE ENGINE ON {engine}" for engine in _ENGINES))
    queries = "".join(f"<query>GRANT {grant}</query>" for grant in grants)
    (folder / "users.xml").write_text(_USERS.format(values=values, constraints=constraints, grants=queries))
    server = _SERVER.format(users=escape(str(folder / "users.xml")), database=_OVERLAY, backups=escape(str(backups)))
    (folder / "config.xml").write_text(server)
    return "config.xml"


def keep_default_database(data: Path) -> None:
    """Make ``default`` an ordinary database, with the tables that an earlier version of this server kept in it."""
    metadata = data / "metadata"
    metadata.mkdir(mode=0o700, parents=True, exist_ok=True)
    tables, statement = metadata / "default", metadata / "default.sql"  # the link's target bears the database's UUID
    if not statement.exists():
        uuid = tables.readlink().name if tables.is_symlink() else str(uuid4())
        statement.write_text(f"ATTACH DATABASE _ UUID '{uuid}' ENGINE = Atomic\n")
    if tables.is_symlink():
        tables.unlink()  # chDB would take the UUID for its own database; the ordinary one makes the link again


def may_be_forbidden(sql: str) -> bool:
    """Say of a statement as it came whether it has to be rewritten by the parser, and looked at by `forbidden`."""
    return bool(_SUSPECT.search(sql))


def forbidden(statement: str) -> str | None:
    """Return what of a statement is not allowed to anybody, or None.

    Args:
        statement: As ClickHouse's parser writes it: no comments, one blank between words, keywords in capitals.
    """
    bare = _QUOTED.sub("''", statement)
    return next((name for name, pattern in _FORBIDDEN.items() if pattern.search(bare)), None)
