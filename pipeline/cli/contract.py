"""``etl contract``: contracts that are found, not written."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from contracts import DEMO
from pipeline.cli import tables
from pipeline.cli.options import AsJson
from pipeline.cli.output import moment, show
from pipeline.cli.progress import collection_bars
from pipeline.cli.sessions import mongo_alone
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.inference.infer import Inference

app = typer.Typer(no_args_is_help=True)
_SHOWN = 20  # of what was left out


@app.callback()
def contract() -> None:
    """Find contracts of your collections.

    Examples:
      etl contract infer
      etl contract infer Orders -o my-contracts
    """


@app.command("infer")
def infer(
    collections: Annotated[
        list[str] | None, typer.Argument(metavar="COLLECTION", help="As MongoDB calls it.", show_default="all")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where to.", show_default="contracts-of-DATABASE"),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write contracts anew that are there already.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Require what every document has, and not _id alone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a contract for each collection from all of its documents, and try them by it.

    Every document is read, at one moment; nothing is written to MongoDB or to the
    stores. The contracts are files to edit, with what was seen as comments.

    Examples:
      etl contract infer
      etl contract infer Orders Customers -o my-contracts
      etl contract infer Orders --replace --strict
    """
    from pipeline.inference.infer import infer as find
    from pipeline.settings import Settings

    folders = Settings.load().contracts
    with mongo_alone() as mongo, collection_bars("infer") as progress:
        folder = output or Path(f"contracts-of-{mongo.database.name}")
        found = find(
            mongo,
            folder,
            collections or (),
            declared_in=folders,
            replace=replace,
            strict=strict,
            progress=progress,
        )
    following = _following(found, folders)
    shown = asdict(found) | {"cluster_time": moment(found.cluster_time), "next": following}
    show(shown, *_parts(found, following), as_json=as_json)


def _parts(found: "Inference", following: str | None) -> Iterator[RenderableType]:
    rows = [
        (
            one.collection,
            one.documents,
            one.fields,
            f"{one.tables:,} / {one.columns:,}",
            one.as_json,
            one.in_extra,
            Text(f"{one.refused:,}", style="bold red" if one.refused else "green"),
            one.to_decide,
        )
        for one in found.contracts
    ]
    headings = ("collection", "documents", "fields", "tables /\ncolumns", "JSON", "in\n_extra", "would be\nrefused")
    if rows:
        title = f"Contracts in {found.folder}, from all documents as of {tables.shown(moment(found.cluster_time))} UTC"
        yield tables.table(title, (*headings, "to\ndecide"), rows)
    reasons = [
        (one.collection, reason.rule, reason.path, reason.documents)
        for one in found.contracts
        for reason in one.reasons
    ]
    if reasons:
        yield tables.table("Why documents would be refused", ("collection", "rule", "first path", "documents"), reasons)
    if found.kept:
        yield Text(
            f"Kept, since {found.folder} has their contracts already: {_listed(found.kept)}; --replace writes anew"
        )
    for name, why in list(found.left_out.items())[:_SHOWN]:
        yield Text(visible(f"No contract of {name}: {why}"))
    if (more := len(found.left_out) - _SHOWN) > 0:
        yield Text(f"and {more:,} more have none either")
    if mostly := [one.collection for one in found.contracts if one.is_mostly_refused]:
        yield Text(f"Not in the command below, since a copy would refuse most of their documents: {_listed(mostly)}")
    if following:
        yield Text("Look at the files where there is something to decide; then:")
        yield Text(following, no_wrap=True)


def _listed(names: Sequence[str]) -> str:
    return visible(", ".join(names[:_SHOWN])) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _following(found: "Inference", folders: Sequence[Path]) -> str | None:
    """Return the next command, or None if there is nothing to copy."""
    names = [*found.kept, *(one.collection for one in found.contracts if not one.is_mostly_refused)]
    if not names:
        return None
    ours = found.folder.resolve()
    others = [one for one in folders if one == DEMO or (one.is_dir() and one.resolve() != ours)]
    paths = [*others, ours]
    joined = shlex.quote(":".join(map(str, paths)))
    return f"export ETL_CONTRACTS={joined}; etl replicate {shlex.join(names)}"
