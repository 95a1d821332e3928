"""The options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer


class TargetName(StrEnum):
    """The stores; the same names as in ``pipeline.connections.TARGETS``."""

    POSTGRES = "postgres"
    CLICKHOUSE = "clickhouse"


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; the rest goes to stderr.")]
Targets = Annotated[
    list[TargetName] | None, typer.Option("--target", help="Only this store; may be repeated.", show_default="both")
]
Collections = Annotated[
    list[str] | None,
    typer.Argument(metavar="COLLECTION", help="Such as UserSessions or user_sessions.", show_default="all"),
]
MaxQuarantined = Annotated[
    str | None,
    typer.Option(metavar="N|P%", help="Publish nothing if more documents are refused.", show_default="no limit"),
]
Wait = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="For how long another command is waited for, such as 90s or 5min.", show_default="10min"
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Processes that share what is large; ETL_MEMORY is for all together.",
        show_default="by cores and memory",
    ),
]
NewSource = Annotated[
    bool, typer.Option("--new-source", help="Take over what was copied from another server or database.")
]
AllowShrink = Annotated[
    bool,
    typer.Option("--allow-shrink", help="Publish even if more than ETL_MAX_SHRINK (50%) of what is published goes."),
]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Copy collections that are not there as empty.")]
Undeclared = Annotated[
    bool,
    typer.Option(
        "--undeclared", help="Also copy collections without a contract, each document whole, now and later on."
    ),
]
WithoutSnapshot = Annotated[
    bool, typer.Option("--without-snapshot", help="Also copy capped collections, which can't be read at one moment.")
]
OfNoSnapshot = Annotated[
    bool,
    typer.Option("--without-snapshot", help="Also read what was copied without a snapshot, at no one moment."),
]
Scale = Annotated[float, typer.Option(help="1 makes about 100,000 documents over the seven collections.")]
Defects = Annotated[float, typer.Option(help="Share of documents (0 to 1) that break their contract.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same documents.")]
Replace = Annotated[bool, typer.Option("--replace", help="Also replace collections that were not generated.")]
