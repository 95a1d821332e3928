"""How a table of former versions follows the columns of its contract: it only ever gains some."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.schema.names import IDENTIFIER_BYTES


@dataclass(frozen=True)
class Following:
    """What is done to a table of former versions.

    Attributes:
        renamed: The names that columns get of which the contract has another type by now: they keep their values.
        added: The columns that are added then, and their types.
        columns: All columns that it has afterwards, in order, and their types.
    """

    renamed: Mapping[str, str]
    added: Mapping[str, str]
    columns: Mapping[str, str]


def following(there: Mapping[str, str], wanted: Mapping[str, str]) -> Following:
    """Return how a table gets columns of some types and loses none.

    Args:
        there: The columns that it has, in order, and their types.
        wanted: The columns that it is to have, and their types; both as the store's catalog spells them.
    """
    retyped = [name for name, kind in wanted.items() if there.get(name, kind) != kind]
    taken, renamed = {*there, *wanted}, dict[str, str]()
    for name in retyped:
        renamed[name] = _old_name(name, there[name], taken)
        taken.add(renamed[name])
    stayed = {renamed.get(name, name): kind for name, kind in there.items()}
    added = {name: kind for name, kind in wanted.items() if name not in stayed}
    return Following(renamed, added, stayed | added)


def _old_name(column: str, kind: str, taken: set[str]) -> str:
    """Return what a column is called from now on: its name and the type that it has."""
    plain = re.sub(r"\W+", "_", f"{column}_{kind}").strip("_").lower()
    stem = plain.encode()[: IDENTIFIER_BYTES - 3].decode(errors="ignore")
    return next(name for n in range(len(taken) + 1) if (name := f"{stem}{n or ''}") not in taken)
