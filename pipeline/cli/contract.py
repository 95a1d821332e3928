"""``etl contract``: contracts that are found, not written."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts import DEMO
from pipeline.cli import contract_tables
from pipeline.cli.options import AsJson, Collections
from pipeline.cli.output import moment, say_error, show
from pipeline.cli.progress import collection_bars
from pipeline.cli.sessions import mongo_alone, source
from pipeline.errors import DataError, UsageError
from pipeline.text.number import counted

if TYPE_CHECKING:
    from pipeline.inference.infer import Inference

_NAMED = 12  # collections that the next command names; of more, it copies all
app = typer.Typer(no_args_is_help=True)


@app.callback()
def contract() -> None:
    """Find contracts of your collections, try them, and see what has changed since.

    Examples:
      etl contract infer
      etl contract check
      etl contract diff
      etl contract words
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
    database: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where they are.", show_default="what ETL_MONGO_DATABASE says"),
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
      etl contract infer --database crm
    """
    from pipeline.inference.infer import infer as find
    from pipeline.settings import Settings

    settings = Settings.load()
    folders = settings.contracts
    with mongo_alone() as mongo, collection_bars("infer") as progress:
        folder = output or Path(f"contracts-of-{database or mongo.database.name}")
        found = find(
            mongo,
            folder,
            collections or (),
            database=database,
            declared_in=folders,
            marts_in=settings.marts,
            replace=replace,
            strict=strict,
            progress=progress,
        )
    following = _following(found, folders)
    shown = asdict(found) | {"cluster_time": moment(found.cluster_time), "next": following}
    show(shown, *contract_tables.inferred(found, following), as_json=as_json)


@app.command("check")
def check(collections: Collections = None, as_json: AsJson = False) -> None:
    """Try contracts by all documents, before anything is published: what would be refused, why, and which ones.

    Every document goes through MongoDB's gate and through what a copy does with it, up to
    the stores; nothing is written anywhere. Exit code 1 if a document would be refused.

    Examples:
      etl contract check
      etl contract check Orders --json
    """
    from pipeline.inference.check import check as hold

    with source() as (mongo, entities), collection_bars("check") as progress:
        found = hold(mongo, entities, collections or (), progress=progress)
    shown = asdict(found) | {"cluster_time": moment(found.cluster_time), "refused": found.refused}
    show(shown, *contract_tables.checked(found), as_json=as_json)
    if found.refused:
        say_error(
            f"{counted(found.refused, 'document')} would be refused; mend them or their contracts before you copy them"
        )
        raise typer.Exit(DataError.exit_code)


@app.command("diff")
def diff(collections: Collections = None, as_json: AsJson = False) -> None:
    """Tell what has changed in the documents against their contracts, and propose the lines that have to change.

    Fields that are new or gone, values of another type, fields that are no longer in all
    documents, and new words of vocabularies. Every document is read; nothing is written.

    Examples:
      etl contract diff
      etl contract diff Orders
    """
    from contracts.schema.registry import files
    from pipeline.inference.diff import diff as compare
    from pipeline.settings import Settings

    with source() as (mongo, entities), collection_bars("diff") as progress:
        where = files(Settings.load().contracts)
        found = compare(mongo, entities, where, collections or (), progress=progress)
    shown = asdict(found) | {"cluster_time": moment(found.cluster_time)}
    show(shown, *contract_tables.differences(found), as_json=as_json)


@app.command("words")
def words(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="Such as documents.", show_default="all")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the words that contracts are written in, each with an example.

    Examples:
      etl contract words
      etl contract words documents category
    """
    from contracts.schema.examples import EXAMPLES
    from contracts.schema.examples import words as known

    there = known()
    if unknown := [name for name in names or () if name not in there]:
        raise UsageError(f"there is no word {unknown[0]!r}; there are {', '.join(there)}")
    shown = [
        {
            "word": name,
            "effect": (word.__doc__ or "").partition("\n\n")[0].replace("``", "`"),
            "example": EXAMPLES[name].lines if name in EXAMPLES else (),
        }
        for name, word in there.items()
        if not names or name in names
    ]
    show({"words": shown}, *contract_tables.words(shown), as_json=as_json)


def _following(found: "Inference", folders: Sequence[Path]) -> str | None:
    """Return the next command, or None if there is nothing to copy."""
    names = [*found.kept, *(one.collection for one in found.contracts if not one.is_mostly_refused)]
    if not names:
        return None
    ours, accepting = found.folder.resolve(), " --without-snapshot" * any(not one.is_pinned for one in found.contracts)
    others = [one for one in folders if one == DEMO or (one.is_dir() and one.resolve() != ours)]
    paths = [*others, ours]
    joined = shlex.quote(":".join(map(str, paths)))
    are_many = len(names) > _NAMED and not any(one.is_mostly_refused for one in found.contracts)
    if are_many or not all(map(str.isprintable, names)):  # a terminal would not show what is pasted
        return f"export ETL_CONTRACTS={joined}; etl replicate{accepting}"
    if any(name.startswith("-") for name in names):  # which would be taken for options
        return f"export ETL_CONTRACTS={joined}; etl replicate{accepting} -- {shlex.join(names)}"
    return f"export ETL_CONTRACTS={joined}; etl replicate {shlex.join(names)}{accepting}"
