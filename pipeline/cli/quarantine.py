"""``etl quarantine``: what was refused, and why."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.console import RenderableType
from rich.text import Text

from pipeline.cli import tables
from pipeline.cli.options import AsJson, Collections, Wait
from pipeline.cli.output import say, show
from pipeline.cli.sessions import bookkeeper, connected
from pipeline.errors import UsageError
from pipeline.runtime.files import replacing
from pipeline.text.number import counted
from pipeline.text.printable import visible, visible_json

if TYPE_CHECKING:
    from pipeline.control.quarantine import Quarantined
    from pipeline.stores.postgres.session import Session

app = typer.Typer(no_args_is_help=False, invoke_without_command=True)


class Format(StrEnum):
    """How documents are exported."""

    NDJSON = "ndjson"
    BSON = "bson"


@app.callback()
def quarantine(context: typer.Context, as_json: AsJson = False) -> None:
    """Look at the documents that were refused, export them, retry them.

    Examples:
      etl quarantine list
      etl quarantine show 65f0c0ffee65f0c0ffee65f0
      etl quarantine export --format bson -o refused.bson
      etl quarantine replay
    """
    if context.invoked_subcommand is None:
        listing(as_json=as_json)


@app.command("list")
def listing(collections: Collections = None, as_json: AsJson = False) -> None:
    """Count the refused documents by collection and rule, with a sample of each."""
    from pipeline.control.quarantine import counts

    with _books(collections) as (postgres, names):
        found = counts(postgres, names)
    rows = [(one.collection, one.rule, one.path, one.documents, _short(one.sample)) for one in found]
    headings = ("collection", "rule", "first path", "documents", "sample _id")
    part = tables.table("Quarantine, by rule", headings, rows, wraps=("rule", "first path"))
    show({"rules": found}, part if rows else Text("the quarantine is empty"), as_json=as_json)


@app.command("show")
def one(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The _id as list shows it, or the text in it.")],
    as_json: AsJson = False,
) -> None:
    """Print a refused document and every reason why it was refused."""
    from pipeline.control.quarantine import find

    with _books() as (postgres, _):
        found = find(postgres, identity)
    parts = [part for document in found for part in _parts(document)]
    show({"documents": [_values(document) for document in found]}, *parts, as_json=as_json)


@app.command("export")
def export(
    collections: Collections = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file.", show_default="stdout")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="ndjson: canonical Extended JSON; bson: the bytes as stored.")
    ] = Format.NDJSON,
    as_json: AsJson = False,
) -> None:
    """Write the refused documents to a file, as NDJSON for people and scripts or as BSON for mongorestore."""
    from pipeline.control.quarantine import export as every

    if as_json and output is None:
        raise UsageError("--json tells on stdout what was exported, so the documents need a file: add --output FILE")
    exported = 0
    with _books(collections) as (postgres, names), _opened(output) as file:
        for document in every(postgres, names):
            file.write(document.raw if form is Format.BSON else visible_json(document.document).encode() + b"\n")
            exported += 1
    say(f"{counted(exported, 'document')} exported")
    if as_json:
        show({"exported": exported, "output": str(output), "format": form}, as_json=True)


@app.command("replay")
def replay(collections: Collections = None, wait: Wait = None, as_json: AsJson = False) -> None:
    """Retry the refused documents under the contracts of today, and load those that are lawful now.

    They are taken as they were at the moment that the stores show. What was mended
    in MongoDB since comes with the next etl sync.
    """
    from pipeline.replication.repair import replay as retry

    with connected(wait=wait) as connections:
        found = retry(connections, collections or ())
    rows = [(one.collection, one.retried, one.loaded, one.refused, one.changed) for one in found]
    headings = ("collection", "retried", "loaded", "still refused", "of these changed in MongoDB since")
    parts: list[RenderableType] = (
        [tables.table("Replayed", headings, rows)] if rows else [Text("the quarantine is empty")]
    )
    if any(one.changed for one in found):
        parts.append(Text("etl sync takes over what was changed in MongoDB"))
    show({"replayed": found}, *parts, as_json=as_json)


@contextmanager
def _books(collections: Sequence[str] | None = None) -> Iterator[tuple["Session", list[str]]]:
    """Open the books, and tell which collections are meant."""
    from contracts.schema.registry import entities
    from pipeline.control.quarantine import chosen
    from pipeline.settings import Settings

    with bookkeeper() as postgres:
        if postgres is None:
            raise UsageError("nothing replicated yet, so nothing is in quarantine; run etl demo, or etl replicate")
        yield postgres, chosen(postgres, entities(Settings.load().contracts).values(), collections or ())


@contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield sys.stdout.buffer
        return
    with replacing(output) as file:
        yield file


def _parts(document: "Quarantined") -> Sequence[RenderableType]:
    state = "refused" if document.resolved_at is None else f"resolved at {tables.shown(document.resolved_at)} UTC"
    seen = f"first seen {tables.shown(document.first_seen_at)} UTC, last by run {document.run_id}"
    reasons = [(reason["path"], reason["rule"], reason["value"]) for reason in document.reasons]
    headings = ("path", "rule", "value")
    return (
        Text(visible(f"{document.collection} {document.id}: {state}; {seen}"), style="bold"),
        Text(visible_json(document.document)),
        tables.table("Reasons", headings, reasons, wraps=headings),
    )


def _short(identity: str) -> str:
    """Return the hex digits of an ObjectId, which is what people have at hand; anything else as it is."""
    value = json.loads(identity)
    return value["$oid"] if isinstance(value, dict) and "$oid" in value else identity


def _values(document: "Quarantined") -> dict[str, object]:
    import orjson

    return {
        "collection": document.collection,
        "_id": document.id,
        "document": orjson.Fragment(document.document),
        "reasons": document.reasons,
        "run_id": document.run_id,
        "first_seen_at": document.first_seen_at,
        "resolved_at": document.resolved_at,
    }
