"""What is published: which run, and so which moment, each collection and mart shows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import orjson
from bson import Timestamp

from pipeline.control.cluster_time import as_number, as_timestamp
from pipeline.stores.postgres.session import Session
from pipeline.stores.source import Source


@dataclass(frozen=True)
class Held:
    """What a published table held when it was published.

    Attributes:
        rows: How many rows.
        mark: What the store told of it then, :attr:`pipeline.stores.base.TableStats.mark`.
    """

    rows: int
    mark: str


@dataclass(frozen=True)
class Publication:
    """What a collection or mart shows in a target.

    Attributes:
        name: The collection or mart.
        target: Name of the target.
        run_id: The run it is from.
        cluster_time: The moment it shows.
        finished: False while ClickHouse still has to follow what PostgreSQL committed.
        marked: Whether the target's own table tells its run, too; one of an older version may not.
        source: What it was copied from; None of marts, and of what a version has published that did not note it.
        held: What each of its tables held, by name; nothing where that has still to be counted.
        is_pinned: Whether all of it was read at that moment; what can't be was read later, document by document.
        is_alone: Whether it has values that the other store could not hold.
        omitted: What the contract omitted when all of it was copied; None of what a version has published that did not
            note it.
    """

    name: str
    target: str
    run_id: str
    cluster_time: Timestamp
    finished: bool
    marked: bool = False
    source: Source | None = None
    held: Mapping[str, Held] = field(default_factory=dict)
    is_pinned: bool = True
    is_alone: bool = False
    omitted: tuple[str, ...] | None = None


def record_publication(
    postgres: Session, run_id: str, names: Iterable[str], targets: Iterable[str], *, moment_stays: bool = False
) -> None:
    """Enter what a run publishes; in targets other than PostgreSQL it is an intent until :func:`mark_finished`.

    Args:
        postgres: Where the books are.
        run_id: The run.
        names: The collections or marts.
        targets: Names of the targets.
        moment_stays: Whether it puts part of what is shown right: then the moment that is shown is what it was.
    """
    moment = "published" if moment_stays else "excluded"
    postgres.execute(
        "INSERT INTO etl.published SELECT name, target, run_id, cluster_time, cluster_time_at, "
        "CASE WHEN target = 'postgres' THEN now() END "
        "FROM etl.runs, unnest($2::text[]) name, unnest($3::text[]) target WHERE run_id = $1::text "
        "ON CONFLICT (collection, target) DO UPDATE SET run_id = excluded.run_id, "
        f"cluster_time = {moment}.cluster_time, cluster_time_at = {moment}.cluster_time_at, "
        "published_at = excluded.published_at",
        parameters=(run_id, [*names], [*targets]),
    )
    postgres.execute(
        "UPDATE etl.runs SET status = 'published', finished_at = now() WHERE run_id = $1::text", parameters=(run_id,)
    )


def record_source(postgres: Session, name: str, targets: Iterable[str], source: Source) -> None:
    """Enter what a published collection was copied from."""
    for target in targets:
        postgres.execute(
            "UPDATE etl.published SET source = $3::text::jsonb WHERE collection = $1::text AND target = $2::text",
            parameters=(name, target, orjson.dumps(source.as_json()).decode()),
        )


def record_unpinned(postgres: Session, unpinned: Mapping[str, bool], targets: Iterable[str]) -> None:
    """Enter of published collections or marts whether they were read at no one moment."""
    postgres.execute(
        "UPDATE etl.published SET unpinned = collection = ANY ($2::text[]) "
        "WHERE collection = ANY ($1::text[]) AND target = ANY ($3::text[])",
        parameters=([*unpinned], [name for name, is_unpinned in unpinned.items() if is_unpinned], [*targets]),
    )


def record_omitted(postgres: Session, name: str, targets: Iterable[str], omitted: Iterable[str]) -> None:
    """Enter what the contract of a collection omitted when all of it was copied."""
    for target in targets:
        postgres.execute(
            "UPDATE etl.published SET omitted = $3::text::jsonb WHERE collection = $1::text AND target = $2::text",
            parameters=(name, target, orjson.dumps(list(omitted)).decode()),
        )


def record_alone(
    postgres: Session, run_id: str, names: Iterable[str], targets: Iterable[str], *, is_full: bool
) -> None:
    """Enter whether published collections have values, by a run or by an earlier one, that no other store can hold."""
    postgres.execute(
        "UPDATE etl.published SET alone = collection = ANY ($3::text[]) OR (alone IS TRUE AND NOT $4::bool) "
        "WHERE collection = ANY ($1::text[]) AND target = ANY ($2::text[])",
        parameters=([*names], [*targets], [*held_alone(postgres, run_id)], is_full),
    )


def held_alone(postgres: Session, run_id: str) -> set[str]:
    """Return the collections of which a run has loaded values that only its store can hold."""
    query = "SELECT DISTINCT collection FROM etl.drift WHERE run_id = $1::text AND kind = 'only in this store'"
    return {name for (name,) in postgres.rows(query, run_id)}


def record_held(postgres: Session, target: str, held: Mapping[str, Mapping[str, Held]]) -> None:
    """Enter what the tables of published collections or marts hold; nothing if that has to be counted anew.

    Args:
        postgres: Where the books are.
        target: Name of the target.
        held: What the tables hold, by name, of each collection or mart.
    """
    # Of those in other databases the name is more than a text, which orjson takes for no key.
    told = {str(name): {table: asdict(one) for table, one in tables.items()} or None for name, tables in held.items()}
    postgres.execute(
        "UPDATE etl.published SET tables = nullif(value, 'null'::jsonb) FROM jsonb_each($2::text::jsonb) "
        "WHERE collection = key AND target = $1::text",
        parameters=(target, orjson.dumps(told).decode()),
    )


def advance_moment(postgres: Session, shown: Iterable[Publication], cluster_time: Timestamp) -> None:
    """Enter that collections of which nothing was changed show a later moment as well.

    Args:
        postgres: Where the books are.
        shown: What was looked at. What was published anew since is left alone, and so is a target that still has to
            follow an earlier publish.
        cluster_time: The moment.
    """
    keys = [(one.name, one.target, one.run_id) for one in shown]
    if keys:
        postgres.execute(
            "UPDATE etl.published p SET cluster_time = $4::bigint, cluster_time_at = to_timestamp($5::bigint) "
            "FROM unnest($1::text[], $2::text[], $3::text[]) AS looked_at (collection, target, run_id) "
            "WHERE p.collection = looked_at.collection AND p.target = looked_at.target "
            "AND p.run_id = looked_at.run_id AND p.cluster_time < $4::bigint AND p.published_at IS NOT NULL",
            parameters=(*map(list, zip(*keys, strict=True)), as_number(cluster_time), cluster_time.time),
        )


def mark_finished(postgres: Session, run_id: str, names: Sequence[str], target: str) -> None:
    """Enter that a target has followed the publish of collections or marts."""
    postgres.execute(
        "UPDATE etl.published SET published_at = now(), marked = true "
        "WHERE run_id = $1::text AND collection = ANY ($2::text[]) AND target = $3::text",
        parameters=(run_id, [*names], target),
    )


def publications(postgres: Session, names: Iterable[str] | None = None) -> list[Publication]:
    """Return what collections and marts show, in each target.

    Args:
        postgres: Where the books are.
        names: Which of them are asked for; all if it is None.
    """
    if names is None:
        return _publications(postgres, "")
    return _publications(postgres, "WHERE collection = ANY ($1::text[])", [*names])


def unfinished(postgres: Session) -> list[Publication]:
    """Return what was committed and is not yet followed by its target."""
    return _publications(postgres, "WHERE published_at IS NULL")


def _publications(postgres: Session, condition: str, *parameters: Sequence[str]) -> list[Publication]:
    # Where only the books are looked at, they may be of a version that lacks these columns.
    query = (
        "SELECT collection, target, run_id, cluster_time, published_at IS NOT NULL, marked IS TRUE, "
        "to_jsonb(published) ->> 'source', to_jsonb(published) ->> 'tables', "
        "to_jsonb(published) ->> 'unpinned', to_jsonb(published) ->> 'alone', "
        f"to_jsonb(published) ->> 'omitted' FROM etl.published {condition} ORDER BY 1, 2 DESC"
    )
    return [
        Publication(
            name,
            target,
            run,
            as_timestamp(at),
            done,
            marked,
            _source(source),
            _held(tables),
            unpinned != "true",
            alone == "true",
            tuple(orjson.loads(omitted)) if omitted else None,
        )
        for name, target, run, at, done, marked, source, tables, unpinned, alone, omitted in postgres.rows(
            query, *parameters
        )
    ]


def _held(values: str | None) -> dict[str, Held]:
    return {table: Held(**one) for table, one in orjson.loads(values).items()} if values else {}


def _source(values: str | None) -> Source | None:
    return Source.from_json(orjson.loads(values)) if values else None
