"""Whether marts are computed as they were: by the same code, from contracts that say the same."""

from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import contracts.marts
import transforms.marts
from contracts.schema.mart import Mart


@cache  # as its function: a mart that is read from its files anew is an object of its own
def fingerprint(mart: Mart) -> str:
    """Return what changes when a mart may come out otherwise from the same rows: its code, or what its contract says.

    All marts' code counts together, for they share much of it; to compute one whole for nothing does no harm.
    """
    columns = [(column.name, column.kind.name, column.nullable) for column in mart.table.columns]
    said = (columns, mart.key, str(mart.by), str(mart.ages), mart.awaits, mart.whole, version("polars"))
    parts = [repr(said), _installed_code(), *([_code(mart.home)] if mart.home else [])]
    return sha256("\n".join(parts).encode()).hexdigest()


@cache  # while a process runs, it is what was imported
def _installed_code() -> str:
    return "\n".join(_code(Path(str(module.__file__)).parent) for module in (contracts.marts, transforms.marts))


def _code(folder: Path) -> str:
    """Return the fingerprint of a folder's modules."""
    found = sha256()
    for path in sorted(folder.glob("*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
