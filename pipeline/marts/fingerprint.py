"""Whether marts are computed as they were: by the same code, from contracts that say the same."""

from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import contracts.marts
import transforms.marts
from contracts.schema.mart import Mart


def fingerprint(mart: Mart) -> str:
    """Return what changes when a mart may come out otherwise from the same rows: its code, or what its contract says.

    All marts' code counts together, for they share much of it; to compute one whole for nothing does no harm.
    """
    folders = {Path(str(module.__file__)).parent for module in (contracts.marts, transforms.marts)}
    folders |= {mart.home} if mart.home else set()
    columns = [(column.name, column.kind.name, column.nullable) for column in mart.table.columns]
    said = (columns, mart.key, str(mart.by), str(mart.ages), mart.awaits, mart.whole, version("polars"))
    parts = [repr(said), *(_code(folder) for folder in sorted(folders))]
    return sha256("\n".join(parts).encode()).hexdigest()


@cache
def _code(folder: Path) -> str:
    """Return the fingerprint of a folder's modules."""
    found = sha256()
    for path in sorted(folder.glob("*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
