"""Contracts of collections that nobody has described: every document is read, and the gate proves what was written."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bson import Timestamp

from contracts import DEMO
from contracts.schema.entity import ID, Entity
from contracts.schema.field import ContractError
from contracts.schema.names import snake_case
from contracts.schema.namespace import plain_name
from contracts.schema.registry import entities, marts
from pipeline.connections import is_ours
from pipeline.errors import DataError, EtlError, LostError, ServerError, SnapshotError, UsageError
from pipeline.inference.trial import Reason, Trial, tries
from pipeline.runtime.files import check_writable, write_whole
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.timings import ACTIVITY
from pipeline.stores.mongo.measured import Extent
from pipeline.stores.mongo.store import Mongo
from transforms.bson.identity import identify
from transforms.gc_pause import gc_paused
from transforms.inference.decide import decide, decide_id
from transforms.inference.evidence import Survey
from transforms.inference.maps import why_whole
from transforms.inference.names import Tables
from transforms.inference.render import Contract, render
from transforms.marts import marts_of
from transforms.violations import shorten_text

_REASONS = 5
_OF_MONGODB = {"admin", "config", "local"}
_BYTES_PER_SECOND = 5e6  # measured on two cores: documents of 500 bytes, read, and tried by their contract
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
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
    if database is not None:
        mongo.know(mongo.all_of(database))
    plan = _plan(mongo, folder, others, collections, database, marts_in, replace=replace)
    failures: dict[str, Exception] = {}
    extents: dict[str, Extent] = {}
    for name in plan.names:
        with _aside(name, failures):
            extents[name] = mongo.extent(name)
    _warn_of_time(mongo, sum(one.size for one in extents.values()))
    cluster_time = mongo.cluster_time()
    written: dict[str, Contract] = {}
    for name, extent in extents.items():
        with _aside(name, failures):
            stem = plan.stems.get(name)
            one = _inferred(mongo, name, extent, stem, plan.tables, cluster_time, progress, strict=strict)
            exec(text := render(one), {})  # what does not load would stop whoever reads the folder
            _write(folder / f"{one.stem}.py", text)
            written[name] = one
    if (refusals := [one for one in failures.values() if isinstance(one, ServerError)]) and not written:
        raise refusals[0]  # it is no matter of a single collection
    known = entities((*others, folder)) if written else {}
    found: list[Inferred] = []
    for name, one in written.items():
        with _aside(name, failures):
            found.append(_tried(mongo, known[name], one, folder, cluster_time, progress))
    left_out = plan.left_out | {name: str(error) for name, error in failures.items()}
    return Inference(cluster_time, folder, tuple(found), plan.kept, left_out)


@contextmanager
def _aside(name: str, failures: dict[str, Exception]) -> Iterator[None]:
    """Note why a collection can have no contract, so that all others have theirs.

    A view whose pipeline fails, and what this user may not read, concern nothing else; a lost server concerns all.
    """
    try:
        yield
    except (LostError, SnapshotError, UsageError):
        raise
    except (EtlError, ContractError) as error:
        failures[name] = error


@dataclass(frozen=True)
class _Plan:
    """What is to be inferred.

    Attributes:
        names: The collections, without those that are kept.
        kept: Those whose contract is in the folder already.
        stems: What the tables are called of the collections that have a contract.
        tables: The names that are taken.
        left_out: By collection, why none is to be written.
    """

    names: tuple[str, ...]
    kept: tuple[str, ...]
    stems: dict[str, str]
    tables: Tables
    left_out: dict[str, str]


def _plan(
    mongo: Mongo,
    folder: Path,
    others: Sequence[Path],
    collections: Iterable[str],
    database: str | None,
    marts_in: Sequence[Path],
    *,
    replace: bool,
) -> _Plan:
    elsewhere = entities(others) if others else {}
    here = entities((*others, folder)) if folder.is_dir() else elsewhere
    names, left_out = _choose(mongo, collections, elsewhere, database)
    kept = tuple(name for name in names if name in here and not replace)
    stems = {name: entity.table for name, entity in here.items()}
    taken = set(_names(one for name, one in here.items() if name in kept or name not in names))
    taken |= {*marts_of(here.values(), marts(marts_in))}
    # Helpers of contracts, and whatever else stands there: what is no contract is nobody's to write anew.
    strange = {file.stem for file in folder.glob("*.py")} - {entity.table for entity in here.values()}
    left_out |= {name: "another contract makes a table of that name" for name in names if name in taken - {*kept}}
    left_out |= {name: f"{name}.py is there, and no contract" for name in names if name in strange}
    there = [name for name in names if name not in left_out]
    tables = Tables(taken.union(stems.values(), strange), reserved=set(map(plain_name, there)))
    return _Plan(tuple(name for name in there if name not in kept), kept, stems, tables, left_out)


def _warn_of_time(mongo: Mongo, size: int) -> None:
    """Warn if MongoDB is likely to forget the moment before so many bytes are read at it."""
    work = f"to read {size / 1e9:,.1f} GB twice (name fewer collections at a time)"
    if warning := mongo.snapshot_window().outlived_by(work, size / _BYTES_PER_SECOND):
        log.warning("%s", warning)


def _choose(
    mongo: Mongo, collections: Iterable[str], declared: Mapping[str, Entity], database: str | None
) -> tuple[list[str], dict[str, str]]:
    """Return the collections to read, and why others are left out."""
    within = {name: one for name, one in sorted(mongo.listed().items()) if not is_ours(plain_name(name))}
    listed = {name: one for name, one in within.items() if database is None or mongo.database_of(name) == database}
    called = {plain_name(name) if database else name: name for name in listed}
    chosen = [called.get(name, name) for name in dict.fromkeys(collections)] or list(listed)
    if unknown := [name for name in chosen if name not in listed]:
        there = f"; there are {', '.join(listed)}" if listed else ", which has none"
        raise UsageError(
            f"there is no collection {unknown[0]!r} in the MongoDB database {database or mongo.database.name!r}{there}"
        )
    if not listed and not chosen:
        raise UsageError(_why_nothing(mongo, database))
    left_out = {name: "a contract declares it already" for name in chosen if name in declared}
    return [name for name in chosen if name not in left_out], left_out


def _why_nothing(mongo: Mongo, database: str | None) -> str:
    """Return what to do where a database has no collections: its name is wrong, or it is in another place."""
    others = [name for name in mongo.databases() if name not in _OF_MONGODB]
    there = f"; there are {', '.join(others)}" if others else ""
    empty = f"the MongoDB database {database or mongo.database.name!r} has no collections"
    return f"{empty}: name another one by {'--database' if database else 'ETL_MONGO_DATABASE'}{there}"


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
) -> Contract:
    """Return a collection's contract.

    Raises:
        DataError: Its documents tell nothing that one could be made of.
    """
    survey = Survey()
    for batch in ACTIVITY.timed(name, "mongo", mongo.in_any_order(name, cluster_time)):
        survey.observe(batch)
        progress(name, 2 * max(extent.documents, survey.documents), survey.documents)
    if not survey.documents:
        raise DataError("it is empty, so there is nothing to infer from")
    if survey.unreadable == survey.documents:
        raise DataError("none of its documents can be decoded without loss")
    if ID not in survey.root.fields:
        raise DataError("its documents have no _id, by which their rows could be told apart")
    if not mongo.is_plain(name) and (repeated := mongo.repeated_ids(name, cluster_time)):
        number, first = repeated
        such = shorten_text(identify(first)[1])
        raise DataError(f"{number:,} of its _ids stand more than once, such as {such}, so _id can't be the primary key")
    id_kind = decide_id(survey.root.fields[ID])
    stem = stem or tables.take_stem(name)
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
    is_pinned = mongo.is_pinned(entity.collection)
    return Inferred(
        collection=entity.collection,
        path=folder / f"{entity.table}.py",
        documents=read,
        unreadable=contract.survey.unreadable,
        fields=len(declared),
        tables=len(entity.tables),
        columns=sum(len(table.columns) for table in entity.tables),
        as_json=1 if contract.why_whole else sum(one.word is not None and one.word.name == "json" for one in declared),
        in_extra=len(contract.every) - len(declared),
        to_decide=len(contract.to_decide),
        slow=trial.slow,
        refused=trial.refused + (abs(read - trial.documents) if is_pinned else 0),
        reasons=trial.reasons[:_REASONS],
        is_pinned=is_pinned,
    )
