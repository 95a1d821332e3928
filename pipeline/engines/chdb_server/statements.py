"""Read from a statement's text what the HTTP interface must know: its format, and where an INSERT's data begin."""

import re
from dataclasses import dataclass
from pathlib import Path

# Quoted text and comments are tokens of their own, so that a keyword inside them is never taken for one.
_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_GAP = re.compile(r"[ \t\f]*\r?\n?")
_TRAILING_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^()]*)?;?\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Insert:
    """An INSERT whose data follow its text.

    Attributes:
        sql: The statement without its ``FORMAT`` or ``VALUES``.
        format: Input format of the data.
        data_at: Offset in bytes at which the data begin.
    """

    sql: str
    format: str
    data_at: int


def find_insert(head: bytes) -> Insert | None:
    """Return the INSERT that begins a request, or None for any other statement (``INSERT ... SELECT`` included).

    Args:
        head: The first bytes of the request: the whole statement, and perhaps the beginning of its data.
    """
    text = head.decode("latin-1")  # one character per byte: offsets stay true whatever the data are
    depth, first, previous = 0, True, ""
    for token in _TOKEN.finditer(text):
        word = token["word"].upper() if token["word"] else ""
        if token["skip"]:
            continue
        if first and word != "INSERT":
            return None
        if depth == 0 and previous == "FORMAT" and word:
            sql = text[: text.upper().rindex("FORMAT", 0, token.start())]
            return _insert(sql, token[0], _GAP.match(text, token.end()).end())  # type: ignore[union-attr]
        if depth == 0 and word == "VALUES":
            return _insert(text[: token.start()], "Values", token.end())
        if depth == 0 and word in ("SELECT", "WITH", "INFILE", "WATCH"):
            return None
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        first, previous = False, word
    return None


def _insert(latin: str, data_format: str, data_at: int) -> Insert:
    return Insert(latin.encode("latin-1").decode(), data_format, data_at)


def output_format(sql: str) -> str | None:
    """Return the name after a closing ``FORMAT``, or None when the statement leaves the format open."""
    bare = _TOKEN.sub(lambda token: " " if token["skip"] else "''" if token["quoted"] else token[0], sql)
    found = _TRAILING_FORMAT.search(bare)
    return found[1] if found else None


def read_from(insert: str, file: Path) -> str:
    """Return an INSERT that takes its data from a file.

    Args:
        insert: As ClickHouse's parser writes it, ending with ``FORMAT name``.
        file: The data, whose path needs no quoting.
    """
    depth, previous, at = 0, "", insert.rindex(" FORMAT ")
    for token in _TOKEN.finditer(insert):
        if token["skip"]:
            continue
        if depth == 0 and token[0] == "SETTINGS" and previous not in ("INTO", "TABLE", "FUNCTION", "."):
            at = min(at, token.start() - 1)
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        previous = token[0]
    return f"{insert[:at]} FROM INFILE '{file}' COMPRESSION 'none'{insert[at:]}"
