"""Run statements in chDB: each on a connection of its own, results and inserted data in bounded memory."""

import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chdb.state import connect
from chdb.state.sqlitelike import Connection, StreamingResult

from pipeline.engines.chdb_server.access import forbidden, may_be_forbidden
from pipeline.engines.chdb_server.statements import Insert, output_format, read_from

# chDB hands out a stream as pieces that each are a whole document of the format. Only these join to one document again.
_JOINABLE = {"native", "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "csv", "rowbinary", "jsoneachrow"}
_ARROW_STREAM = "arrowstream"
_ARROW_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_TSV, _TSV_WITH_NAMES = "TabSeparated", "TabSeparatedWithNames"
_CODE = re.compile(r"Code: (\d+)\.")
_ACCESS_DENIED = 497
_NOT_ENOUGH_SPACE = 243
# As ClickHouse's own parser writes it; the parameter is given in its escaped form.
_CANONICAL = "SELECT formatQuerySingleLine({statement:String})"
_SCOPE = re.compile(r": In scope SELECT formatQuerySingleLine.*(?= \(\w+\)$)", re.DOTALL)
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": r"\0", "\b": r"\b", "\f": r"\f"})


class StatementError(Exception):
    """chDB refused or broke off a statement.

    Attributes:
        code: ClickHouse's error code.
    """

    def __init__(self, message: str) -> None:
        """Keep the part of chDB's message that a ClickHouse server would send."""
        found = _CODE.search(message)
        super().__init__(message[found.start() :] if found else f"Code: 1001. DB::Exception: {message}")
        self.code = int(found[1]) if found else 1001


@dataclass
class Answer:
    """What a statement returned.

    Attributes:
        body: The result's bytes, read while they are sent.
        format: The result's format; None when the statement has no result.
        summary: Counters by the names of ``X-ClickHouse-Summary``.
    """

    body: Iterator[bytes] = field(default_factory=lambda: iter(()))
    format: str | None = None
    summary: dict[str, str] = field(default_factory=dict)

    def close(self) -> None:
        """Cancel what has not been read."""
        if isinstance(self.body, Generator):
            self.body.close()


class Database:
    """The one chDB engine of this process."""

    def __init__(self, path: Path, memory: int, configuration: str) -> None:
        """Open (or create) the data.

        Args:
            path: Folder of the data. The working directory must be its parent: in a longer path chDB would take
                `?` and `&` for options.
            memory: Bytes that the engine may take.
            configuration: Name of the configuration beside the data.
        """
        options = {
            "config-file": configuration,
            "max_server_memory_usage": memory,
            "mark_cache_size": memory // 8,
        }
        self._address = f"{path.name}?" + "&".join(f"{name}={value}" for name, value in options.items())
        self.spool = path.with_name("incoming")
        self._anchor = self._connect()  # without an open connection the engine would shut down

    def close(self) -> None:
        """Shut the engine down, with everything on disk."""
        self._anchor.close()

    @contextmanager
    def session(self, settings: Mapping[str, str], database: str | None) -> Iterator[Connection]:
        """Open a connection (0.1 ms) with these settings; nothing of it outlives the request."""
        with closing(self._connect()) as connection:
            with _engine_errors():
                if database:
                    connection.query(f"USE {_identifier(database)}")
                if settings:
                    pairs = (f"{_identifier(name)} = {_literal(value)}" for name, value in settings.items())
                    connection.query(f"SET {', '.join(pairs)}")
            yield connection

    def _connect(self) -> Connection:
        return connect(self._address)


def insert(
    connection: Connection, statement: Insert, parameters: Mapping[str, str], data: Iterable[bytes], spool: Path
) -> Answer:
    """Insert the data once they are complete; an error in their arrival leaves nothing of them.

    chDB's own streaming insert says that all is well whatever becomes of the rows: a full disk, a violated
    constraint, a view that throws. A statement that reads a file tells.

    Args:
        connection: From `Database.session`.
        statement: What to insert into, and the format of the data.
        parameters: Values of ``{name:Type}``, in ClickHouse's escaped form.
        data: Pieces of the data.
        spool: Folder in which they may lie meanwhile.

    Raises:
        StatementError: It is not allowed, or can't be done.
    """
    sql = allowed(connection, f"{statement.sql} FORMAT {statement.format}")
    with tempfile.NamedTemporaryFile(dir=spool, prefix="insert") as file:
        try:
            for piece in data:
                file.write(piece)
            file.flush()
        except OSError as error:
            if isinstance(error, (ConnectionError, TimeoutError)):
                raise
            message = f"Code: {_NOT_ENOUGH_SPACE}. DB::Exception: {error.strerror}: {spool}. (NOT_ENOUGH_SPACE)"
            raise StatementError(message) from error
        with _engine_errors():
            read = read_from(sql, Path(spool.name, Path(file.name).name))
            result = connection.query(read, _TSV, params=dict(parameters))
    return Answer(summary=_counters(result))


def allowed(connection: Connection, sql: str) -> str:
    """Return a statement as ClickHouse's parser writes it.

    Raises:
        StatementError: It is not one statement, or not allowed to anybody.
    """
    try:
        canonical = connection.query(_CANONICAL, "RawBLOB", params={"statement": sql.translate(_ESCAPED)})
    except RuntimeError as error:
        raise StatementError(_SCOPE.sub("", str(error))) from error
    statement = str(canonical.bytes(), "utf-8")
    if reason := forbidden(statement):
        message = f"Code: {_ACCESS_DENIED}. DB::Exception: {reason}: not allowed to anybody here. (ACCESS_DENIED)"
        raise StatementError(message)
    return statement


def execute(connection: Connection, sql: str, parameters: Mapping[str, str], default_format: str) -> Answer:
    """Run any statement but an INSERT with data.

    Args:
        connection: From `Database.session`.
        sql: The statement.
        parameters: Values of ``{name:Type}``, in ClickHouse's escaped form.
        default_format: Output format when the statement names none.
    """
    if may_be_forbidden(sql):
        allowed(connection, sql)
    named = output_format(sql)
    wanted = named or default_format
    with _engine_errors():
        if wanted.lower() in _JOINABLE or wanted.lower() == _ARROW_STREAM:
            pieces = _stream(connection, sql, parameters, wanted)
            if pieces is not None:
                return Answer(pieces, wanted)
        if named is None and wanted == _TSV:
            return _execute_unnamed(connection, sql, parameters)
        result = connection.query(sql, wanted, params=dict(parameters))
        return Answer(iter([result.bytes()]), wanted, _counters(result))


def _stream(connection: Connection, sql: str, parameters: Mapping[str, str], wanted: str) -> Iterator[bytes] | None:
    """Start a SELECT; None when the statement is none, or has an empty result whose format needs a header."""
    try:
        stream = connection.send_query(sql, wanted, params=dict(parameters))
    except Exception as error:
        if "Streaming query is not supported" in str(error):  # raised before anything runs
            return None
        raise
    pieces = _pieces(stream)
    first = next(pieces, None)
    if wanted.lower() == _ARROW_STREAM:
        return None if first is None else _one_arrow_stream(first, pieces)
    return _chain(first or b"", pieces)


def _pieces(stream: StreamingResult) -> Generator[bytes, None, None]:
    with _engine_errors(), closing(stream):
        for piece in stream:
            yield piece.bytes()


def _chain(first: bytes, rest: Generator[bytes, None, None]) -> Iterator[bytes]:
    with closing(rest):
        yield first
        yield from rest


def _one_arrow_stream(first: bytes, rest: Generator[bytes, None, None]) -> Iterator[bytes]:
    """Join streams of one schema: drop the schema message of all but the first, the end mark of all but the last."""
    with closing(rest):
        yield first.removesuffix(_ARROW_END)
        for piece in rest:
            schema_size = 8 + int.from_bytes(piece[4:8], "little")  # mark, length, metadata; a schema has no body
            yield piece[schema_size:].removesuffix(_ARROW_END)
        yield _ARROW_END


def _execute_unnamed(connection: Connection, sql: str, parameters: Mapping[str, str]) -> Answer:
    """Tell a result without rows from no result: only a result brings the line with its names."""
    result = connection.query(sql, _TSV_WITH_NAMES, params=dict(parameters))
    names, line_end, rows = result.bytes().partition(b"\n")
    return Answer(iter([rows]), _TSV if names or line_end else None, _counters(result))


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # chDB's own errors are RuntimeErrors too
        raise StatementError(str(error)) from error


def _counters(result: object) -> dict[str, str]:
    names = ("rows_read", "bytes_read", "rows_written", "bytes_written")
    read_rows, read_bytes, written_rows, written_bytes = (getattr(result, name)() for name in names)
    return _summary(read_rows=read_rows, read_bytes=read_bytes, written_rows=written_rows, written_bytes=written_bytes)


def _summary(**counters: int) -> dict[str, str]:
    return {name: str(count) for name, count in counters.items()}


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
