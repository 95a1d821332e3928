"""Serve ClickHouse's HTTP interface on 127.0.0.1, with a password: one thread and one chDB connection per request."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

from pipeline.engines.chdb_server.credentials import DoorError, check_credentials, check_origin
from pipeline.engines.chdb_server.database import Answer, Database, StatementError, execute, insert
from pipeline.engines.chdb_server.request import Request, RequestError, body_pieces, read_request, statement_of
from pipeline.engines.chdb_server.statements import find_insert

_NOT_IMPLEMENTED = 48
_ENGINE_DIED = 236
_STATUS = {60: 404, 81: 404, 62: 400, _NOT_IMPLEMENTED: 501}  # as the server maps them; all others are 500
_SECONDS_TO_FINISH = 5.0
_SECONDS_FOR_HEADERS = 60
_SECONDS_BETWEEN_PIECES = 600  # a client may work for long on what it sends or reads
_MOST_DRAINED = 64 << 20


class Server(ThreadingHTTPServer):
    """Answers requests over one `Database`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, database: Database, password: str) -> None:
        """Listen on this port of 127.0.0.1."""
        super().__init__(("127.0.0.1", port), Handler)
        self.database, self.password = database, password
        self._idle = threading.Condition()
        self._running = 0

    def __enter__(self) -> "Server":
        """Count one statement as running."""
        with self._idle:
            self._running += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Count it as finished."""
        with self._idle:
            self._running -= 1
            self._idle.notify_all()

    def finish(self) -> None:
        """Let running statements finish, but not for ever (a ClickHouse server gives them 5 s, too), then stop."""
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, _SECONDS_TO_FINISH)
        self.shutdown()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "chdb"
    disable_nagle_algorithm = True  # else small answers wait 40 ms for the client's acknowledgement
    timeout = _SECONDS_FOR_HEADERS

    def do_GET(self) -> None:
        """Answer ``/ping``, or run a statement that only reads."""
        if "query=" in self.path:
            self._serve(read_only=True)
        else:
            self._send(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})

    def do_HEAD(self) -> None:
        """Answer as GET does, without the body."""
        self.do_GET()

    def do_POST(self) -> None:
        """Run a statement."""
        self._serve(read_only=False)

    def log_message(self, *_: object) -> None:
        """Log nothing per request: statements may hold data."""

    def _serve(self, *, read_only: bool) -> None:
        body = body_pieces(self.headers, self.rfile)  # type: ignore[arg-type]
        self._query_id = str(uuid4())
        try:
            check_origin(self.headers)
            check_credentials(self.headers, self.server.password)
            self.connection.settimeout(_SECONDS_BETWEEN_PIECES)
            request = read_request(self.path, self.headers, body)
            self._query_id = request.parameters.get("query_id", self._query_id)
            with self.server as server:
                self._run(server.database, request, read_only)
        except DoorError as error:
            self.close_connection = True  # and nothing of the body is read
            self._send(403, f"{error}\n".encode(), {"X-ClickHouse-Exception-Code": str(error.code)})
        except StatementError as error:
            self._fail(error.code, str(error), body)
            if error.code == _ENGINE_DIED:
                os._exit(1)  # chDB refuses everything from here on; whoever comes next starts it again
        except (RequestError, ValueError) as error:
            self.close_connection = True
            self._fail(_NOT_IMPLEMENTED, f"Code: {_NOT_IMPLEMENTED}. DB::Exception: {error}. (NOT_IMPLEMENTED)", body)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client is gone: leaving the session has cancelled its statement
        finally:
            self.connection.settimeout(_SECONDS_FOR_HEADERS)

    def _run(self, database: Database, request: Request, read_only: bool) -> None:
        # chDB takes no id of a statement: by its comment system.processes tells who asks whether it is still at work.
        settings = {"log_comment": self._query_id} | request.settings
        if read_only:  # the last one: after it no other can be set
            settings = {name: value for name, value in settings.items() if name != "readonly"} | {"readonly": "1"}
        statement = find_insert(request.head)
        with database.session(settings, request.database) as connection:
            if statement:
                data = _from(request, statement.data_at)
                answer = insert(connection, statement, request.bound, data, database.spool)
            else:
                sql = statement_of(request)
                answer = execute(connection, sql, request.bound, request.default_format)
            with closing(answer):  # also when the client leaves: chDB must see a stream's end before its connection's
                self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        pieces = answer.body
        first = next(pieces, b"")  # most errors come before the first row, when the status can still tell
        headers = {"X-ClickHouse-Format": answer.format} if answer.format else {}
        tag = uuid4().hex[:16]
        self._head(
            200, headers | {"X-ClickHouse-Exception-Tag": tag, "X-ClickHouse-Summary": json.dumps(answer.summary)}
        )
        try:
            self._piece(first)
            for piece in pieces:
                self._piece(piece)
        except StatementError as error:
            self._piece(_tagged(str(error), tag))
            self.close_connection = True  # and no end mark: nobody may take this result for a whole one
            return
        self._write(b"0\r\n\r\n")

    def _fail(self, code: int, message: str, body: Iterator[bytes]) -> None:
        drained = 0
        for piece in body:  # a client that still sends would not see the answer
            drained += len(piece)
            if drained > _MOST_DRAINED:
                self.close_connection = True
                break
        self._send(_STATUS.get(code, 500), message.encode() + b"\n", {"X-ClickHouse-Exception-Code": str(code)})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, headers | {"Content-Length": str(len(body))})
        self._write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {"X-ClickHouse-Server-Display-Name": "chdb", "X-ClickHouse-Timezone": "UTC"}
        if hasattr(self, "_query_id"):
            fixed["X-ClickHouse-Query-Id"] = self._query_id
        if "Content-Length" not in headers:
            fixed["Transfer-Encoding"] = "chunked"
        for name, value in ({"Content-Type": "application/octet-stream"} | fixed | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def _piece(self, piece: bytes) -> None:
        if piece:
            self._write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def _write(self, data: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(data)


def _from(request: Request, offset: int) -> Iterator[bytes]:
    yield request.head[offset:]
    yield from request.rest


def _tagged(message: str, tag: str) -> bytes:
    """An error in the middle of a result, as ClickHouse 25.11 and later mark it."""
    text = message.encode()
    return b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (
        tag.encode(),
        text,
        len(text) + 1,
        tag.encode(),
    )
