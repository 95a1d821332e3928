"""What the text of a mart's function says of it: whether it asks for anything but the tables and the context."""

import ast
from collections.abc import Iterator
from pathlib import Path

# Modules by which a function learns of the clock, of chance, or of anything outside.
_OUTSIDE = frozenset(
    (
        *("glob", "http", "httpx", "io", "os", "pathlib", "random", "requests", "secrets", "shutil", "socket"),
        *("sqlite3", "subprocess", "sys", "tempfile", "time", "urllib", "uuid"),
        *("adbc_driver_postgresql", "clickhouse_connect", "pipeline", "psycopg", "psycopg2", "pymongo"),
    )
)
_CLOCKS = frozenset(("now", "utcnow", "today"))
_CHANCE = frozenset(("sample", "shuffle"))
_FILES = ("read_", "scan_", "write_", "sink_")
_NOT_LAZY = frozenset(("collect", "fetch"))
_BUILT_IN = frozenset(("open", "print", "input", "exec", "eval"))


def impurities(path: Path) -> Iterator[str]:
    """Yield what a mart's module does that no mart may, each as the end of a sentence with its line.

    Args:
        path: The module.
    """
    for node in ast.walk(ast.parse(path.read_bytes())):
        for says in _says(node):
            yield f"line {getattr(node, 'lineno', 1)} {says}"


def _says(node: ast.AST) -> Iterator[str]:
    for name in _imported(node):
        if name in _OUTSIDE:
            yield f"imports {name}: a mart is computed from its tables and the context alone"
    if not isinstance(node, ast.Call):
        return
    called, name = ast.unparse(node.func), ast.unparse(node.func).rpartition(".")[2]
    if isinstance(node.func, ast.Name) and name in _BUILT_IN:
        yield f"calls {name}(): a mart reads and writes nothing but its tables"
    if not isinstance(node.func, ast.Attribute):
        return
    if name in _CLOCKS:
        yield f"asks a clock by {called}(): the moment is context.as_of, after * among the parameters"
    if name in _CHANCE:
        yield f"calls {called}(): a mart comes out the same each time"
    if name.startswith(_FILES):
        yield f"calls {called}(): a mart reads and writes nothing but its tables"
    if name in _NOT_LAZY:
        yield f"calls {called}(): a mart stays lazy, so that only the columns are read which it needs"


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield the packages that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        yield str(node.module).partition(".")[0]
