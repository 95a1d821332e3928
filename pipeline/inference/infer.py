"""Contracts of collections that nobody has described: every document is read, and the gate proves what was written."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bson import Timestamp

from contracts import DEMO
from contracts.schema.entity import ID, Entity
from contracts.schema.names import snake_case
from contracts.schema.namespace import plain_name
from contracts.schema.registry import entities, marts
from pipeline.connections import is_ours
from pipeline.errors import UsageError
from pipeline.inference.trial import Reason, Trial, tries
from pipeline.runtime.files import check_writable, write_whole
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.timings import ACTIVITY
from pipeline.stores.mongo.measured import Extent
from pipeline.stores.mongo.store import Mongo
from transforms.gc_pause import gc_paused
from transforms.inference.decide import decide, decide_id
from transforms.inference.evidence import Survey
from transforms.inference.maps import why_whole
from transforms.inference.names import Tables
from transforms.inference.render import Contract, render
from transforms.marts import marts_of

_REASONS = 5
_BYTES_PER_SECOND = 5e6  # measured on two cores: documents of 500 bytes, read, and tried by their contract
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inferred:
    """What became of one collection.

    Attributes:
        collection: Its name.
        path: The file of its contract.
        documents: How many there were.
        unreadable: How many of them can't be decoded without loss.
        fields: How many fields are declared, at any level.
        tables: How many tables they become.
        columns: How many columns these have.
        as_json: How many of the fields are JSON.
        in_extra: How many fields are left undeclared.
        to_decide: How many fields a person should look at.
        slow: How many documents go beyond the contract, and so take the slow path.
        refused: How many documents would be refused.
        reasons: Why, the most frequent ones first.
        is_pinned: Whether MongoDB can read it at one moment; a copy takes what it can't only if that is accepted.
    """

    collection: str
    path: Path
    documents: int
    unreadable: int
    fields: int
    tables: int
    columns: int
    as_json: int
    in_extra: int
    to_decide: int
    slow: int
    refused: int
    reasons: tuple[Reason, ...]
    is_pinned: bool = True

    @property
    def is_mostly_refused(self) -> bool:
        """Whether most of its documents would be refused: its contract should be mended before it is copied."""
        return self.refused > self.documents / 2


@dataclass(frozen=True)
class Inference:
    """What ``infer`` found and wrote.

    Attributes:
        cluster_time: The moment at which all was read.
        folder: Where the contracts are.
        contracts: What was written.
        kept: Collections whose contract is in the folder already, and was kept.
        left_out: By collection, why none was written.
    """

    cluster_time: Timestamp
    folder: Path
    contracts: tuple[Inferred, ...]
    kept: tuple[str, ...]
    left_out: dict[str, str]


def infer(
    mongo: Mongo,
    folder: Path,
    collections: Iterable[str] = (),
    *,
    database: str | None = None,
    declared_in: Sequence[Path] = (),
    marts_in: Sequence[Path] = (),
    replace: bool = False,
    strict: bool = False,
    progress: Progress[str] = tell_nobody,
) -> Inference:
    """Read every document of collections, write a contract for each, and try all documents by it.

    Args:
        mongo: The source.
        folder: Where the contracts are written; made if it is not there.
        collections: Names of the collections; all if none is named.
        database: Where they are, if not in the source's own database; the contracts then say so.
        declared_in: Folders of further contracts; those of the demo are among them only if ``DEMO`` is.
        marts_in: Folders of marts of the user's own, whose names no table takes.
        replace: Whether contracts are replaced that are in the folder already.
        strict: Whether what every document has is required, and not ``_id`` alone.
        progress: Is told how many documents of a collection there will be, each read twice, and how many are through.

    Raises:
        UsageError: A named collection is not there, or the folder can't be written.
        ContractError: A contract that is there already can't be read.
        SnapshotError: The moment can't be read any more.
    """
    others = [one for one in declared_in if one.resolve() != folder.resolve() and (one == DEMO or one.is_dir())]
    elsewhere = entities(others) if others else {}
    here = entities((*others, folder)) if folder.is_dir() else elsewhere
    if database is not None:
        mongo.know(mongo.all_of(database))
    names, left_out = _choose(mongo, collections, elsewhere, database)
    kept = tuple(name for name in names if name in here and not replace)
    stems = {name: entity.table for name, entity in here.items()}
    taken = set(_names(one for name, one in here.items() if name in kept or name not in names))
    taken |= {*marts_of(here.values(), marts(marts_in))}
    # Helpers of contracts, and whatever else stands there: what is no contract is nobody's to write anew.
    strange = {file.stem for file in folder.glob("*.py")} - {entity.table for entity in here.values()}
    left_out |= {name: "another contract makes a table of that name" for name in names if name in taken - {*kept}}
    left_out |= {name: f"{name}.py is there, and no contract" for name in names if name in strange}
    names = [name for name in names if name not in left_out]
    tables = Tables(taken.union(stems.values(), names, strange))
    extents = {name: mongo.extent(name) for name in names if name not in kept}
    _warn_of_time(mongo, sum(one.size for one in extents.values()))
    cluster_time = mongo.cluster_time()
    written: dict[str, Contract] = {}
    for name, extent in extents.items():
        contract = _inferred(mongo, name, extent, stems.get(name), tables, cluster_time, progress, strict=strict)
        if isinstance(contract, str):
            left_out[name] = contract
        else:
            _write(folder / f"{contract.stem}.py", render(contract))
            written[name] = contract
    known = entities((*others, folder)) if written else {}
    found = [_tried(mongo, known[name], one, folder, cluster_time, progress) for name, one in written.items()]
    return Inference(cluster_time, folder, tuple(found), kept, left_out)


def _warn_of_time(mongo: Mongo, size: int) -> None:
    """Warn if MongoDB is likely to forget the moment before so many bytes are read at it."""
    work = f"to read {size / 1e9:,.1f} GB twice (name fewer collections at a time)"
    if warning := mongo.history().outlived_by(work, size / _BYTES_PER_SECOND):
        log.warning("%s", warning)


def _choose(
    mongo: Mongo, collections: Iterable[str], declared: Mapping[str, Entity], database: str | None
) -> tuple[list[str], dict[str, str]]:
    """Return the collections to read, and why others are left out."""
    within = {name: one for name, one in sorted(mongo.listed().items()) if not is_ours(plain_name(name))}
    listed = {name: one for name, one in within.items() if database in (None, mongo.database_of(name))}
    called = {plain_name(name) if database else name: name for name in listed}
    chosen = [called.get(name, name) for name in dict.fromkeys(collections)] or list(listed)
    if unknown := [name for name in chosen if name not in listed]:
        there = f"; there are {', '.join(listed)}" if listed else ", which has none"
        raise UsageError(
            f"there is no collection {unknown[0]!r} in the MongoDB database {database or mongo.database.name!r}{there}"
        )
    if not listed and not chosen:
        raise UsageError(
            f"the MongoDB database {database or mongo.database.name!r} has no collections; name another one"
        )
    left_out = {name: "a contract declares it already" for name in chosen if name in declared}
    return [name for name in chosen if name not in left_out], left_out


def _names(known: Iterable[Entity]) -> Iterator[str]:
    for entity in known:
        yield entity.collection
        yield from (table.name for table in entity.tables)


@gc_paused()
def _inferred(
    mongo: Mongo,
    name: str,
    extent: Extent,
    stem: str | None,
    tables: Tables,
    cluster_time: Timestamp,
    progress: Progress[str],
    *,
    strict: bool,
) -> Contract | str:
    """Return a collection's contract, or why it can have none."""
    survey = Survey()
    for batch in ACTIVITY.timed(name, "mongo", mongo.in_any_order(name, cluster_time)):
        survey.observe(batch)
        progress(name, 2 * max(extent.documents, survey.documents), survey.documents)
    if not survey.documents:
        return "it is empty, so there is nothing to infer from"
    if ID not in survey.root.fields:
        return "none of its documents can be decoded without loss"
    id_kind = decide_id(survey.root.fields[ID])
    stem = stem or tables.take_stem(plain_name(name))
    fields = () if why_whole(survey.root) else decide(survey.root, stem, tables, strict=strict)
    moment = f"{datetime.fromtimestamp(cluster_time.time, UTC):%Y-%m-%d %H:%M:%S} UTC"
    said, is_pinned = snake_case(plain_name(name)) != stem, mongo.is_pinned(name)
    return Contract(name, stem, said, id_kind, survey, fields, moment, strict, is_pinned)


def _write(path: Path, text: str) -> None:
    check_writable(path)
    write_whole(path, text)


def _tried(
    mongo: Mongo, entity: Entity, contract: Contract, folder: Path, cluster_time: Timestamp, progress: Progress[str]
) -> Inferred:
    """Send all documents of a collection through what a copy does with them, up to the stores.

    What is not accounted for is certainly not proven; but what can't be read at one moment is read twice at two.
    """
    trial, read = Trial(), contract.survey.documents
    for trial in tries(mongo, entity, cluster_time):
        progress(entity.collection, 2 * read, read + trial.documents)
    declared = [one for one in contract.every if one.word]
    return Inferred(
        entity.collection,
        folder / f"{entity.table}.py",
        read,
        contract.survey.unreadable,
        len(declared),
        len(entity.tables),
        sum(len(table.columns) for table in entity.tables),
        1 if contract.why_whole else sum(one.word is not None and one.word.name == "json" for one in declared),
        len(contract.every) - len(declared),
        len(contract.to_decide),
        trial.slow,
        trial.refused + (abs(read - trial.documents) if mongo.is_pinned(entity.collection) else 0),
        trial.reasons[:_REASONS],
        mongo.is_pinned(entity.collection),
    )
