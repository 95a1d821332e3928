"""Read an HTTP request as ClickHouse does: the statement, its settings and parameters, and the data that follow."""

import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from itertools import chain
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlsplit

_PIECE = 1 << 20
_MOST_STATEMENT = 16 << 20  # a form's fields included
_MOST_DATA = 8 << 30  # of a request, before and after it is unpacked
_PRINTABLE = re.compile(r"[ -~]*")
# What the HTTP interface itself uses; the rest of the URL's parameters are settings of the statement.
_OWN = {
    *("buffer_size", "client_protocol_version", "close_session", "compress", "database", "decompress"),
    *("default_format", "password", "query", "query_id", "quota_key", "role", "session_check", "session_id"),
    *("session_timeout", "stacktrace", "user", "wait_end_of_query"),
}


class RequestError(Exception):
    """The request can't be understood, or asks for what this server doesn't have."""


@dataclass
class Request:
    """One statement as it came in.

    Attributes:
        parameters: The URL's parameters (and a form's fields), by name.
        head: The first bytes of the statement and its data.
        rest: The bytes after the head, read from the network as they are asked for.
        default_format: Output format when the statement names none.
    """

    parameters: dict[str, str]
    head: bytes
    rest: Iterator[bytes]
    default_format: str

    @property
    def database(self) -> str | None:
        """The database that unqualified names belong to."""
        return self.parameters.get("database")

    @property
    def settings(self) -> dict[str, str]:
        """Settings of this statement."""
        return {k: v for k, v in self.parameters.items() if k not in _OWN and not k.startswith("param_")}

    @property
    def bound(self) -> dict[str, str]:
        """Values of the statement's ``{name:Type}``."""
        return {k.removeprefix("param_"): v for k, v in self.parameters.items() if k.startswith("param_")}


def read_request(path: str, headers: Message, raw: Iterator[bytes]) -> Request:
    """Decode a request's parts.

    Args:
        path: The request's path with its parameters.
        headers: The request's headers.
        raw: Its body, see `body_pieces`.

    Raises:
        RequestError: An encoding or a protocol option that isn't supported.
    """
    parameters = dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))
    _check_echoed(parameters, headers)
    if {parameters.get("compress"), parameters.get("decompress")} & {"1", "true"}:
        raise RequestError("ClickHouse's own block compression isn't supported: use Content-Encoding, or none")
    pieces = _bounded(_decoded(_bounded(raw, _MOST_DATA), headers.get("Content-Encoding", "identity")), _MOST_DATA)
    if headers.get_content_type() == "multipart/form-data":
        parameters |= _form(headers["Content-Type"], b"".join(_bounded(pieces, _MOST_STATEMENT)))
        _check_echoed(parameters, headers)
        pieces = iter(())
    if query := parameters.get("query"):
        pieces = chain([query.encode() + b"\n"], pieces)
    default_format = parameters.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated"
    database = headers.get("X-ClickHouse-Database")
    return Request(({"database": database} if database else {}) | parameters, _head(pieces), pieces, default_format)


def statement_of(request: Request) -> str:
    """Return the text of a request that carries no data.

    Raises:
        RequestError: It is longer than any statement.
    """
    return b"".join(_bounded(chain([request.head], request.rest), _MOST_STATEMENT)).decode()


def body_pieces(headers: Message, stream: BinaryIO) -> Iterator[bytes]:
    """Yield a request's body as it arrives, chunked or of a given length.

    Raises:
        ConnectionError: The client left before the end: what it sent must not pass for the whole.
    """
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        while size := int(stream.readline().split(b";")[0] or b"-1", 16):
            yield from _exactly(stream, size)
            stream.readline()
        while stream.readline().strip():  # trailers
            pass
    else:
        yield from _exactly(stream, int(headers.get("Content-Length", 0)))


def _exactly(stream: BinaryIO, size: int) -> Iterator[bytes]:
    if size < 0:
        raise ConnectionError("the client left before its request was complete")
    while size:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            raise ConnectionError("the client left before its request was complete")
        size -= len(piece)
        yield piece


def _decoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    if encoding == "identity":
        return pieces
    if encoding not in _DECODERS:
        raise RequestError(f"Content-Encoding {encoding} isn't supported: use {', '.join(_DECODERS)}")
    return _inflate(pieces, _DECODERS[encoding])


def _inflate(pieces: Iterator[bytes], new_decoder: Callable[[], Any]) -> Iterator[bytes]:
    """Unpack at most a piece at a time: a small body may be a very large one packed."""
    decoder, complete = new_decoder(), True
    for piece in pieces:
        while piece:
            try:
                yield from (_zlib_pieces if hasattr(decoder, "unconsumed_tail") else _framed_pieces)(decoder, piece)
            except (RequestError, GeneratorExit):
                raise
            except Exception as error:  # each library raises its own
                raise RequestError(f"the compressed request is damaged: {error}") from error
            complete = decoder.eof
            piece = decoder.unused_data or b"" if complete else b""  # another frame may follow
            if complete:
                decoder = new_decoder()
    if not complete:
        raise RequestError("the compressed request ends in the middle")


def _zlib_pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    unpacked = b""
    while data or len(unpacked) == _PIECE:  # a full piece: there may be more of what it has taken already
        unpacked = decoder.decompress(data, _PIECE)
        yield unpacked
        data = b"" if decoder.eof else decoder.unconsumed_tail


def _framed_pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data, _PIECE)
    while not (decoder.eof or decoder.needs_input):
        yield decoder.decompress(b"", _PIECE)


def _bounded(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise RequestError(f"the request is longer than {most:,} bytes")
        yield piece


def _check_echoed(parameters: Mapping[str, str], headers: Message) -> None:
    """Refuse control characters in what an answer's headers repeat: they could write headers of their own."""
    echoed = (parameters.get("query_id"), parameters.get("default_format"), headers.get("X-ClickHouse-Format"))
    if not all(_PRINTABLE.fullmatch(value or "") for value in echoed):
        raise RequestError("a query_id or a format has characters that can't be printed")


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    return zstd.ZstdDecompressor()


def _lz4() -> Any:
    from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped, unused-ignore]

    return LZ4FrameDecompressor()


_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": zlib.decompressobj,
    "lz4": _lz4,
    "zstd": _zstd,
}


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """Return a form's text fields by name."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields = {}
    for part in message.iter_parts():
        if part.get_filename():
            raise RequestError("external tables aren't supported: load the data into a table first")
        payload = part.get_payload(decode=True)
        fields[str(part.get_param("name", header="content-disposition"))] = payload.decode()  # type: ignore[union-attr]
    return fields


def _head(pieces: Iterator[bytes]) -> bytes:
    """Read up to the size in which any statement without its data fits."""
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) >= _PIECE:
            break
    return bytes(head)
