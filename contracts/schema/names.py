"""Names that both stores can bear, and that no other name meets."""

import re
from collections.abc import Iterable

from contracts.schema.field import ContractError

IDENTIFIER_BYTES = 63  # PostgreSQL cuts longer names without a word
# ClickHouse names files after a table, with three characters for each byte that is no letter, digit or underscore; of
# the 255 that a file's name may have, the run's staging database and the number of a part take the rest.
FILE_CHARACTERS = 174
DATA = "__data"  # ClickHouse keeps the rows of the view that people read in a table of that name
MADE = "#"  # what a run makes for a while has a name with it, so that it is taken for nothing else
# ClickHouse keeps these two beside the contract's columns: the newest version of a key wins, a deleted one is hidden.
VERSION, DELETED = "_version", "_deleted"
_POSTGRES = frozenset({"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"})
# The virtual columns of a MergeTree: some are refused by CREATE TABLE, with the others no row can be deleted.
_CLICKHOUSE = frozenset(
    {
        "__grouping_set",
        "_block_number",
        "_block_offset",
        "_database",
        "_disk_name",
        "_distance",
        "_part",
        "_part_data_version",
        "_part_granule_offset",
        "_part_index",
        "_part_offset",
        "_part_starting_offset",
        "_part_uuid",
        "_partition_id",
        "_partition_value",
        "_row_exists",
        "_sample_factor",
        "_shard_num",
        "_table",
    }
)
_SAY_TABLE = "give it another name by table='...' in the contract, and its file that name too"
_STAGING = re.compile(r"_partitions|_(?:documents|changed|changing)_[0-9a-f]{32}")  # what a staging area holds besides


def check_column(table: str, name: str) -> None:
    """Refuse a column whose name a store can't bear.

    Raises:
        ContractError: With the store that keeps the name for itself.
    """
    _check_identifier(name, f"column {table}.{name}", "; say alias='...' of its field")
    if reason := _cannot_be_a_column(name):
        say = f"call the field otherwise, such as by alias={plain_name(name)!r}"
        raise ContractError(f"{table}: no column can be called {name!r}: {reason}; {say}")
    keepers = {
        "PostgreSQL": name in _POSTGRES,
        "ClickHouse": name in _CLICKHOUSE,
        "the pipeline": name in {VERSION, DELETED} or name.startswith(MADE),
    }
    for keeper, is_kept in keepers.items():
        if is_kept:
            raise ContractError(
                f"{table}: {name!r} is a name that {keeper} keeps for itself; call the field otherwise, such as by "
                f"alias={plain_name(name) + '_2'!r}"
            )


def check_table(name: str) -> None:
    """Refuse a table whose name a store can't bear.

    Raises:
        ContractError: With what to do.
    """
    _check_identifier(name, f"table {name}")
    if MADE in name or _STAGING.fullmatch(name):
        raise ContractError(f"table {name}: that is how runs name what they keep for a while; {_SAY_TABLE}")
    if (characters := _in_file_names(name)) > FILE_CHARACTERS:
        raise ContractError(
            f"table {name} takes {characters} characters in the names of ClickHouse's files, which have room for "
            f"{FILE_CHARACTERS}; {_SAY_TABLE}"
        )


def check_apart(tables: Iterable[tuple[str, str]]) -> None:
    """Refuse tables of one schema of which one takes a name that a store gives to something of the other.

    Args:
        tables: Pairs of who makes a table, and the table's name.

    Raises:
        ContractError: With both, and what to do.
    """
    owners = {name: owner for owner, name in tables}
    for name, owner in owners.items():
        if other := owners.get(name + DATA):
            say = f"call the field {DATA[1:]!r} otherwise: by alias='...'"
            raise ContractError(
                f"{other} makes a table {name + DATA!r}, where ClickHouse keeps the rows of {owner}'s table {name!r}; "
                f"{say if owner == other else _SAY_TABLE}"
            )
        if other := owners.get(f"_{name}"):
            raise ContractError(
                f"{other} makes a table {'_' + name!r}, as PostgreSQL calls the type of arrays of {owner}'s table "
                f"{name!r}; {_SAY_TABLE}"
            )


def _cannot_be_a_column(name: str) -> str:
    if "." in name:
        return "ClickHouse takes a dot for a nested column"
    return "Polars takes it for a pattern" if name == "*" or name.startswith("^") else ""


def plain_name(name: str) -> str:
    """Return a name like another one that a column can have."""
    return re.sub(r"\W+", "_", name).strip("_") or "value"


def _check_identifier(name: str, what: str, way_out: str = "") -> None:
    if not name or "\0" in name:
        raise ContractError(f"{what!r} has no name that a store could bear{way_out}")
    if len(name.encode()) > IDENTIFIER_BYTES:
        much = f"longer than {IDENTIFIER_BYTES} bytes, more than PostgreSQL keeps of a name"
        raise ContractError(f"{what} is {much}{way_out}")


def _in_file_names(name: str) -> int:
    return sum(1 if re.fullmatch("[A-Za-z0-9_]", one) else 3 * len(one.encode()) for one in name)


def snake_case(collection: str) -> str:
    """Return what a collection's table is called if its contract says nothing else, whether it can be or not."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", collection).lower()
