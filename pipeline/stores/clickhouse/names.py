"""What things are called in ClickHouse: the table behind a view, that of a partition, the run that rows are from."""

import re

from contracts.schema.entity import Table
from contracts.schema.names import DATA, MADE
from pipeline.stores.staging import Staging

STAYING = "_staying"  # in staging, what names the published tables of which all rows stay
NAME = re.compile(r"`(?:[^`\\]|\\.)*`|\w+")  # in a statement as the catalog has it


def data_name(table: Table) -> str:
    """Return the name of the table behind a view."""
    return f"{table.name}{DATA}"


def part_name(table: Table, partition: int) -> str:
    """Return the name of the table in staging that a partition is loaded into."""
    return f"{part_prefix(table)}{partition}"


def part_prefix(table: Table) -> str:
    """Return what the names of all tables begin with that partitions of a table are loaded into."""
    return f"{table.name}{MADE}"


def mark(staging: Staging, table: Table) -> str:
    """Return the comment of a table: the run that its rows are from, and the root table that it belongs to."""
    return f"{staging.run_id} {table.root}"


def run_in(comment: str) -> str:
    """Return the run that the comment of a table tells."""
    return comment.partition(" ")[0]


def root_in(comment: str) -> str:
    """Return the root table that the comment of a table tells; empty if it is no comment of ours."""
    return comment.partition(" ")[2]


def plain(name: str) -> str:
    """Return a name as it was before ClickHouse quoted it."""
    return re.sub(r"\\(.)", r"\1", name.strip("`"))
