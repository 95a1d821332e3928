"""What has changed in the documents since their contracts were written, and the lines that these should have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bson import Timestamp

from contracts.schema.entity import ID, Entity
from contracts.schema.field import ContractError, Field
from pipeline.inference.check import choose_declared
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.stores.mongo.store import Mongo
from transforms.gc_pause import gc_paused
from transforms.inference.amend import amended
from transforms.inference.decide import decide, decide_id
from transforms.inference.difference import Difference, difference_of_id, differences
from transforms.inference.evidence import DISTINCT, Survey
from transforms.inference.names import Tables
from transforms.inference.render import Contract, render


@dataclass(frozen=True)
class Diff:
    """How a collection's documents differ from their contract.

    Attributes:
        collection: Its name.
        path: The contract's file.
        documents: How many documents were read.
        unreadable: How many of them can't be decoded without loss, so they told nothing.
        changes: The differences.
    """

    collection: str
    path: Path | None
    documents: int
    unreadable: int
    changes: tuple[Difference, ...]


@dataclass(frozen=True)
class Diffs:
    """What ``diff`` found.

    Attributes:
        cluster_time: The moment at which all was read.
        collections: By collection how its documents differ from the contract.
        missing: Collections that have a contract and are not in the database.
        undeclared: Collections that have none.
    """

    cluster_time: Timestamp
    collections: tuple[Diff, ...]
    missing: tuple[str, ...]
    undeclared: tuple[str, ...]


def diff(
    mongo: Mongo,
    entities: Mapping[str, Entity],
    files: Mapping[str, Path],
    collections: Iterable[str] = (),
    *,
    progress: Progress[str] = tell_nobody,
) -> Diffs:
    """Read every document of collections, as ``infer`` does, and hold what was seen against their contracts.

    Args:
        mongo: The source.
        entities: The contracts, by collection.
        files: Where they stand.
        collections: Names of collections or of their tables; all that have a contract if none is named.
        progress: Is told how many documents of a collection there are, and how many of them are through.

    Raises:
        UsageError: A named collection has no contract, is not there.
        SnapshotError: The moment can't be read any more.
    """
    chosen, missing, undeclared = choose_declared(mongo, entities, collections)
    cluster_time = mongo.cluster_time()
    found = tuple(_of(mongo, one, files.get(one.collection), cluster_time, progress) for one in chosen)
    return Diffs(cluster_time, found, missing, undeclared)


@gc_paused()
def _of(mongo: Mongo, entity: Entity, path: Path | None, cluster_time: Timestamp, progress: Progress[str]) -> Diff:
    expected, survey = mongo.extent(entity.collection).documents, Survey.keeping(_most_words(entity.fields) + DISTINCT)
    progress(entity.collection, expected, 0)
    for batch in mongo.in_any_order(entity.collection, cluster_time):
        survey.observe(batch)
        progress(entity.collection, max(expected, survey.documents), survey.documents)
    changes = _changes(entity, survey) if survey.documents > survey.unreadable else []
    source = path.read_text(encoding="utf-8") if path and changes else ""
    told = tuple(_with_lines(one, source) for one in changes)
    return Diff(entity.collection, path, survey.documents, survey.unreadable, told)


def _changes(entity: Entity, survey: Survey) -> list[Difference]:
    ids = survey.root.fields[ID]
    of_id = difference_of_id(entity.id_field, ids, decide_id(ids))
    # What is taken whole holds any field.
    return [*([of_id] if of_id else []), *([] if entity.whole else _changes_of_fields(entity, survey))]


def _changes_of_fields(entity: Entity, survey: Survey) -> list[Difference]:
    proposals = decide(survey.root, entity.table, Tables())
    # Kinds are compared as the words make them, so what is proposed is declared for once.
    contract = Contract(entity.collection, entity.table, True, "OBJECT_ID", survey, proposals, "", strict=False)
    space: dict[str, Any] = {}
    try:
        exec(render(contract), space)
    except ContractError:  # some names meet: then nothing is known of what the words would make of it
        return differences(entity.fields, proposals, (), survey.root)
    return differences(entity.fields, proposals, space["ENTITY"].fields, survey.root)


def _with_lines(change: Difference, source: str) -> Difference:
    if change.lines or not (change.nullable or change.values):
        return change
    lines = amended(source, change.names, nullable=change.nullable, words=change.values) if source else ()
    return replace(change, lines=lines)


def _most_words(fields: Iterable[Field]) -> int:
    return max((max(len(one.vocabulary), _most_words(one.fields)) for one in fields), default=0)
