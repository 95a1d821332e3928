"""Marts on real stores: the same numbers as independent SQL over the replica gives, in both of them."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bson import Decimal128, ObjectId

from contracts.schema.entity import ContractError
from contracts.schema.mart import Mart
from contracts.schema.registry import entities as known_entities
from contracts.schema.registry import marts as known_marts
from pipeline import control
from pipeline.advance import advance
from pipeline.connections import Connections
from pipeline.errors import BooksOpenError, DataError, EtlError, SnapshotError, UsageError
from pipeline.marts import build as marts
from pipeline.marts import computing, reading
from pipeline.replication import replicate
from pipeline.replication.history import prune_history
from pipeline.replication.repair import repair
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.runtime import memory
from pipeline.runtime.memory import MemoryBudget
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.lab import Lab
from tests.sql.rendering import rendered, settings_of
from transforms.marts import compute

MARTS = sorted(known_marts())
TARGETS = ("postgres", "clickhouse")
LATEST = datetime(2299, 12, 30, 1, 2, 3, 4000, tzinfo=UTC)
STATUSES = ("pending", "approved", "rejected", "rejected")
PRICES = [Decimal128(text) for text in ("10.00", "9.99", "8.00", "12.34", "0.00", "0.01", "99999.99")]
SOURCES = sorted(known_entities())
FIRST_DAY = datetime(2024, 2, 28, tzinfo=UTC)
NOW = datetime.now(UTC).replace(microsecond=0)
TERMS = (
    *("sh", "shoe", "shoes", "Shoes ", "boots", "", "  ", "Straße", "STRASSE", "fix\tit", "é" * 700),
    *("\N{FULLWIDTH LATIN SMALL LETTER S}hoe", "\N{LATIN SMALL LIGATURE FI}x it", "ΟΔΟΣ", "οδός"),
)
PRODUCTS = [f"p{number}" for number in range(12)]
# Of which rows as_of is told, where not of all: of those that the clock may change.
AGES = {
    "session_facts": "one.state = 'open'",
    "ticket_resolution": "NOT one.is_resolved",
    "user_activity_daily": "false",
    "search_facts": "false",
    "ticket_changes": "false",
    "review_facts": "false",
    "price_drops": "false",
    "recommendation_facts": "one.listed_at + INTERVAL '7' DAY > {as_of}",
}
SLA = {"": 8 * 3600.0, "billing": 900.0}


def _world(seed: int, size: int) -> dict[str, list[dict[str, Any]]]:
    """Return documents whose times, counts and names stand at the edges of what marts compute."""
    draw = random.Random(seed)
    users = [f"u{number}" for number in range(25)] + ["Ünï", "ü", "Z", "a", "B", "\U0001f600"]

    def user() -> str:
        return users[min(int(draw.expovariate(0.15)), len(users) - 1)]

    def moment(*, lately: bool = False) -> datetime:
        at = FIRST_DAY + timedelta(milliseconds=draw.randrange(9 * 86_400_000))
        if lately or draw.random() < 0.5:  # so that days, windows and sessions are still running, too
            at = NOW - timedelta(milliseconds=draw.choice([1, 24, 24, 24 * 45]) * draw.randrange(3_600_000))
        edges = {
            1: at.replace(hour=0, minute=0, second=0, microsecond=0),
            2: at.replace(hour=23, minute=59, second=59, microsecond=999_000),
            3: datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
            4: datetime(1900, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
            5: LATEST,
        }
        return at if lately else edges.get(draw.randrange(30), at)

    def within_days() -> datetime:
        """Return a moment without one that is long ago: each day from the first one on has a row."""
        at = moment()
        return at if at.year > 2000 else moment(lately=True)

    def milliseconds(*choices: int, below: int = 10**7) -> timedelta:
        return timedelta(milliseconds=draw.choice([*choices, draw.randrange(below)]))

    def session(number: int) -> dict[str, Any]:
        start = within_days()
        return {
            "session_id": f"s{number // 2}",
            "user_id": user(),
            "start_time": start,
            "end_time": None if draw.random() < 0.1 else start + milliseconds(0, 1),
            "pages_visited": [f"/{page}" for page in range(draw.choice([0, 1, 2, 7]))],
            "device": {"type": draw.choice(["desktop", "mobile", "Watch", "ärm"]), "os": "x", "browser": "y"},
            "actions": [
                {
                    "type": draw.choice(["view", "view", "purchase", "add_to_cart", "teleport"]),
                    "target": draw.choice(PRODUCTS),
                    "at": draw.choice([moment(), min(start + milliseconds(0, 0, 0, 9_999, below=60_000), LATEST)]),
                }
                for _ in range(draw.choice([0, 0, 1, 2, 5, 9]))
            ],
        }

    def ticket(number: int) -> dict[str, Any]:
        created = within_days()
        sent = [created + milliseconds(0, -1, 1) - milliseconds(0) for _ in range(draw.choice([0, 1, 1, 2, 6]))]
        return {
            "ticket_id": f"t{number // 2}",
            "user_id": user(),
            "status": draw.choice(["open", "waiting", "resolved", "closed", "closed", "Closed", "escalated", ""]),
            "issue_type": draw.choice(["billing", "billing", "delivery", "", "é" * 600]),
            "messages": [
                {
                    "sender": draw.choice(["user", "agent"]),
                    "text": "",
                    "sent_at": max(at, datetime(1900, 1, 1, tzinfo=UTC)),
                }
                for at in sent
            ],
            "created_at": created,
            "updated_at": created + milliseconds(0, 1, below=10**8),
        }

    def search(number: int) -> dict[str, Any]:
        about = {"query_id": f"q{number}", "user_id": user(), "query_text": draw.choice(TERMS), "filters": {}}
        about |= {"timestamp": within_days(), "results_count": draw.choice([0, 0, 1, 50])}
        if before and draw.random() < 0.6:
            soon = before[-1]["timestamp"] + milliseconds(0, 1, 30_000, 30_001, 300_000, 300_001, below=400_000)
            about |= {"user_id": before[-1]["user_id"], "timestamp": min(soon, LATEST)}
        before.append(about)
        return about

    def review(number: int) -> dict[str, Any]:
        about = {"review_id": f"r{number}", "user_id": user(), "review_text": "", "rating": draw.randint(1, 5)}
        about |= {"product_id": draw.choice(PRODUCTS), "flags": draw.choice([[], ["spam"], ["spam", "fake"]])}
        return about | {"moderation_status": draw.choice(["?", *STATUSES]), "submitted_at": within_days()}

    def event(number: int) -> dict[str, Any]:
        kind = draw.choice(["login", "login", "logout", "", "é" * 601])
        return {"event_id": f"e{number}", "timestamp": within_days(), "event_type": kind, "details": {}}

    def product(number: int) -> dict[str, Any]:
        changes = [
            {"changed_at": moment(lately=draw.random() < 0.8), "price": draw.choice(PRICES)}
            for _ in range(draw.choice([0, 1, 2, 6, 15]))
        ]
        about = {"product_id": f"p{number // 2}", "price_changes": changes, "current_price": PRICES[0]}
        return about | {"currency": draw.choice(["EUR", "XXX"])}

    def recommended(number: int) -> dict[str, Any]:
        products = [draw.choice(PRODUCTS) for _ in range(draw.choice([0, 3, 15]))]
        return {
            "user_id": users[number // 2 % len(users)],
            "recommended_products": products,
            "last_updated": within_days(),
        }

    before: list[dict[str, Any]] = []
    makers = {
        "UserSessions": session,
        "SupportTickets": ticket,
        "SearchQueries": search,
        "ModerationQueue": review,
        "EventLogs": event,
        "ProductPriceHistory": product,
        "UserRecommendations": recommended,
    }
    sizes = {"UserRecommendations": min(size, 50)}
    return {name: [make(number) for number in range(sizes.get(name, size))] for name, make in makers.items()}


def _go_on(lab: Lab, draw: random.Random) -> None:
    """Change and delete some of what versions are kept of, with times that the documents tell right or not."""
    for name, field in {"SupportTickets": "status", "ModerationQueue": "moderation_status"}.items():
        for one in lab.collection(name).find():
            told = {field: draw.choice(["open", "closed", "resolved"] if field == "status" else STATUSES)}
            if field == "status" and (after := [at for at in (NOW, datetime.now(UTC)) if at > one["created_at"]]):
                told |= {"updated_at": draw.choice([one["updated_at"], *after])}
            if draw.random() < 0.5:
                lab.collection(name).update_one({"_id": one["_id"]}, {"$set": told})
            elif draw.random() < 0.1:
                lab.collection(name).delete_one({"_id": one["_id"]})
    for one in lab.collection("UserRecommendations").find():
        products = draw.sample(PRODUCTS, draw.choice([0, 1, 4]))
        written = one["last_updated"] + timedelta(hours=draw.choice([0, 1, 24, 200]))
        if draw.random() < 0.6 and written.year < 2299:
            lists = {"recommended_products": products, "last_updated": written}
            lab.collection("UserRecommendations").update_one({"_id": one["_id"]}, {"$set": lists})
        elif draw.random() < 0.2:
            lab.collection("UserRecommendations").delete_one({"_id": one["_id"]})


def in_pieces(connections: Connections, bucket: int = 16_384) -> Connections:
    """Return connections with next to no memory for what marts are computed from."""
    return replace(connections, memory=MemoryBudget(memory._LIBRARIES + 4 * bucket))


def _compute_by(patch: pytest.MonkeyPatch, function: Callable[..., pl.LazyFrame]) -> None:
    """Let another function say how each mart is computed, be it from rows or, to see what it reads, from nothing."""
    for module in (reading, computing):
        patch.setattr(module, "compute", function)


@contextmanager
def computations() -> Iterator[Counter[str]]:
    """Count how often each mart is computed; from nothing it is once, to find out what it reads."""
    counted: Counter[str] = Counter()
    honest = compute

    def counting(mart: Mart, *given: Any) -> pl.LazyFrame:
        counted[mart.name] += 1
        return honest(mart, *given)

    with pytest.MonkeyPatch.context() as patched:
        _compute_by(patched, counting)
        yield counted


@pytest.fixture(scope="module")
def edges(lab: Lab) -> None:
    """Copy documents whose values stand at edges, and let some of them change."""
    for name, some in _world(1, 400).items():
        lab.collection(name).drop()
        lab.collection(name).insert_many(some)
    replicate.replicate(lab.connections, SOURCES)
    for seed in range(2):
        _go_on(lab, random.Random(seed))
        assert {one.quarantined for one in sync(lab.connections)} == {0}


@pytest.fixture(scope="module", params=["generated", "edges", "edges in pieces"])
def compared(request: pytest.FixtureRequest, lab: Lab) -> str:
    """Build all marts; return the time zone that they report."""
    if request.param == "generated":
        lab.fill(**dict.fromkeys(SOURCES, 400))
        replicate.replicate(lab.connections, SOURCES)
        for _ in range(2):
            advance(lab.connections.mongo.database, lab.connections.entities, 14 * 86_400)
            sync(lab.connections)
        marts.build(replace(lab.connections, timezone="Europe/Berlin", support_sla=SLA))
        return "Europe/Berlin"
    request.getfixturevalue("edges")
    if request.param == "edges":
        with computations() as counted:
            marts.build(replace(lab.connections, support_sla=SLA))
        assert counted == dict.fromkeys(MARTS, 2)
        return "UTC"
    shown = {one.name for one in control.publications(lab.connections.postgres)}
    for name in shown.intersection(MARTS):  # or nothing would be changed, whatever comes of it
        lab.change_postgres(f"TRUNCATE marts.{name}")
        lab.change_clickhouse(f"TRUNCATE TABLE marts.{name}__data")
    with computations() as counted:
        marts.build(replace(in_pieces(lab.connections, bucket=16_384), support_sla=SLA))
    assert {name for name in MARTS if counted[name] > 2} == {
        name for name in MARTS if known_marts()[name].by is not None
    }
    return "UTC"


@pytest.fixture(scope="module")
def built(lab: Lab) -> list[marts.BuiltMart]:
    for name, some in _world(2, 60).items():
        lab.collection(name).drop()
        lab.collection(name).insert_many(some)
    _, accounts = replicate.replicate(lab.connections, SOURCES)
    assert {one.quarantined for one in accounts} == {0}
    return marts.build(lab.connections)


def _frame(lab: Lab, target: str, query: str) -> pl.DataFrame:
    if target == "clickhouse":
        return pl.DataFrame(pl.from_arrow(lab.connections.clickhouse.client.query_arrow(query, use_strings=True)))
    with lab.connections.postgres.transaction(), lab.connections.postgres.connection.cursor() as cursor:
        cursor.execute(query)
        return pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))


@pytest.mark.parametrize("name", MARTS)
@pytest.mark.parametrize("oracle", TARGETS)
def test_marts_say_what_sql_says_cell_by_cell(lab: Lab, compared: str, name: str, oracle: str) -> None:
    connections = replace(lab.connections, timezone=compared, support_sla=SLA)
    mart, settings = known_marts()[name], settings_of(connections, oracle)
    schema, key = mart.table.frame_schema, list(mart.key)
    sql = rendered(name, oracle, settings)
    as_of = f"CASE WHEN {AGES.get(name, 'true').format(**settings)} THEN {settings['as_of']} END AS as_of"
    asked = _frame(lab, oracle, f"SELECT one.*, {as_of} FROM (\n{sql}\n) AS one")
    assert set(asked.columns) >= set(schema)
    expected = asked.select(list(schema)).cast(schema).sort(key)  # type: ignore[arg-type]
    assert not expected.is_empty()
    for target in TARGETS:
        found = lab.stored(target, mart.table, "marts")
        assert found.height == expected.height
        for column in schema:
            wrong = found[column].ne_missing(expected[column])
            assert not wrong.any(), (target, column, found.filter(wrong), expected.filter(wrong))


def test_what_is_built_is_told(lab: Lab, built: list[marts.BuiltMart]) -> None:
    moments = {one.cluster_time for one in control.publications(lab.connections.postgres) if one.name in SOURCES}
    assert len(moments) == 1
    assert {one.name for one in built} == set(MARTS)
    for one in built:
        assert {one.cluster_time} == moments
        for ask in (lab.postgres, lab.clickhouse):
            assert ask(f"SELECT count(*) FROM marts.{one.name}") == [(one.rows,)]
    shown = [one for one in control.publications(lab.connections.postgres) if one.name in MARTS]
    assert len(shown) == 2 * len(MARTS)
    assert {one.cluster_time for one in shown} == moments
    assert all(one.finished for one in shown)
    assert lab.leftovers() == []


@pytest.mark.parametrize("name", MARTS)
def test_the_catalogs_describe_the_marts(lab: Lab, built: list[Any], name: str) -> None:
    table = known_marts()[name].table
    described = lab.postgres(
        "SELECT attname::text, col_description(attrelid, attnum) FROM pg_attribute "
        f"WHERE attrelid = 'marts.{name}'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert described == [(column.name, column.description) for column in table.columns]
    columns = (
        "SELECT name, comment FROM system.columns WHERE database = 'marts' AND table = {t:String} ORDER BY position"
    )
    assert lab.clickhouse(columns, t=name) == described
    about = "SELECT comment FROM system.tables WHERE database = 'marts' AND name = {t:String}"
    assert lab.clickhouse(about, t=name) == [(table.description,)]
    assert lab.postgres(f"SELECT obj_description('marts.{name}'::regclass)") == [(table.description,)]
    keys = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = '{}'::regclass"
    assert lab.postgres(keys.format(f"marts.{name}")) == [(f"PRIMARY KEY ({', '.join(table.key)})",)]


def test_building_again_changes_nothing(lab: Lab, built: list[Any]) -> None:
    rows = {name: f"SELECT xmin::text, ctid::text, m::text FROM marts.{name} m ORDER BY m::text" for name in MARTS}
    before = {name: lab.postgres(query) for name, query in rows.items()}
    marts.build(lab.connections)
    assert {name: lab.postgres(query) for name, query in rows.items()} == before


# --- Some of them, in some stores, from some stores


@pytest.fixture
def lab_of_moments(lab: Lab, built: list[Any]) -> Iterator[Any]:
    """Yield the lab to a test that leaves sources of several moments: the next one finds them at one again."""
    yield lab
    sync(lab.connections)


@pytest.fixture
def lab_of_tickets(lab_of_moments: Any) -> Iterator[Any]:
    """Yield the lab to a test that leaves part of the tickets' replica: the next one finds it whole again."""
    yield lab_of_moments
    replicate.replicate(lab_of_moments.connections, ["SupportTickets"])


def test_a_named_mart_brings_those_that_it_reads(lab: Lab, built: list[Any]) -> None:
    lab.collection("UserSessions").delete_many({"user_id": "u0"})
    sync(lab.connections)
    told: list[tuple[str, int, int]] = []
    some = marts.build(lab.connections, ["user_activity"], progress=lambda *one: told.append(one))
    assert [one.name for one in some] == ["user_activity_daily", "user_recency", "user_score_cuts", "user_activity"]
    assert told == [(one.name, one.rows, one.rows) for one in some]
    runs = {one.name: one.run_id for one in control.publications(lab.connections.postgres)}
    assert runs["user_activity"] == runs["user_activity_daily"] != runs["ticket_resolution"]
    zero = "SELECT session_count FROM marts.user_activity WHERE user_id = 'u0'"
    assert lab.postgres(zero) == lab.clickhouse(zero)


@pytest.mark.parametrize("target", TARGETS)
def test_one_store_alone(lab_of_tickets: Any, target: str) -> None:
    """Where only one store has the replica of a moment, the marts are read from it."""
    lab = lab_of_tickets
    lab.collection("SupportTickets").update_many({}, {"$set": {"user_id": f"by {target}"}})
    run, _ = replicate.replicate(lab.connections, ["SupportTickets"], [target])
    marts.build(lab.connections, ["ticket_resolution"], ["postgres"])
    users = "SELECT DISTINCT user_id FROM marts.ticket_resolution"
    newest = {
        one.target: one.cluster_time
        for one in control.publications(lab.connections.postgres)
        if one.name == "SupportTickets"
    }
    assert newest[target] == run.cluster_time
    if target == "postgres":  # asked first
        assert lab.postgres(users) == [("by postgres",)]
    assert lab.clickhouse(users) != [(f"by {target}",)]


def test_sources_of_different_moments_are_refused(lab_of_moments: Any) -> None:
    lab = lab_of_moments
    lab.collection("SearchQueries").insert_one({"a": 1})
    replicate.replicate(lab.connections, ["SearchQueries"])
    marts.build(lab.connections, ["ticket_resolution"])  # reads tickets alone
    with pytest.raises(UsageError, match="show different moments; run etl sync"):
        marts.build(lab.connections, ["user_activity"])
    assert lab.leftovers() == []


def test_what_is_missing_is_named(lab_of_tickets: Any) -> None:
    lab = lab_of_tickets
    with pytest.raises(UsageError, match=r"no mart 'nothing'; there are .*user_activity"):
        marts.build(lab.connections, ["nothing"])
    lab.change_postgres("DELETE FROM etl.published WHERE collection = 'SupportTickets'")
    with pytest.raises(UsageError, match=r"SupportTickets.* not replicated; run etl replicate"):
        marts.build(lab.connections, ["ticket_resolution"])


def test_a_replica_that_clickhouse_has_not_reached_is_not_read(
    lab_of_tickets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_of_tickets
    lab.change_postgres("DELETE FROM etl.published WHERE collection = 'SupportTickets'")
    replicate.replicate(lab.connections, ["SupportTickets"], ["clickhouse"])
    monkeypatch.setattr(marts, "recover", lambda *_: {})
    lab.change_postgres("UPDATE etl.published SET published_at = NULL WHERE collection = 'SupportTickets'")
    with pytest.raises(UsageError, match=r"SupportTickets.* not replicated"):
        marts.build(lab.connections, ["ticket_resolution"])


def test_a_publish_meanwhile_is_noticed(lab_of_moments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of_moments
    before = lab.stored("postgres", known_marts()["ticket_resolution"].table, "marts")
    read = Postgres.read

    def meddle(self: Postgres, *arguments: Any, **options: Any) -> Any:
        if self is lab.connections.postgres:
            with lab.another() as other:
                lab.collection("SupportTickets").insert_one({"later": True})
                replicate.replicate(other, ["SupportTickets"])
        return read(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Postgres, "read", meddle)
        with pytest.raises(SnapshotError, match="published anew"):
            marts.build(lab.connections, ["ticket_resolution"])
    assert lab.stored("postgres", known_marts()["ticket_resolution"].table, "marts").equals(before)
    assert lab.leftovers() == []


@pytest.mark.parametrize("repaired", [False, True])
def test_marts_are_of_what_one_run_published_whatever_its_moment(
    lab_of_tickets: Any, monkeypatch: pytest.MonkeyPatch, *, repaired: bool
) -> None:
    """A moment may move on while the replica is read; rows that are put right at the same moment are other rows."""
    lab = lab_of_tickets
    lab.change_postgres("UPDATE replica.support_tickets SET user_id = 'bent'")
    found = verify(lab.connections, ["SupportTickets"])
    read, seen = Postgres.read, list[bool]()

    def meddle(self: Postgres, *arguments: Any, **options: Any) -> Any:
        if self is lab.connections.postgres and not seen:
            seen.append(True)
            lab.collection("NotOurs").insert_one({})
            with lab.another() as other:
                repair(other, found) if repaired else sync(other)
        return read(self, *arguments, **options)

    moment = found[0].cluster_time
    with monkeypatch.context() as patched:
        patched.setattr(Postgres, "read", meddle)
        if repaired:
            with pytest.raises(SnapshotError, match="published anew"):
                marts.build(lab.connections, ["ticket_resolution"])
        else:
            *_, built = marts.build(lab.connections, ["ticket_resolution"])
            assert built.cluster_time == moment


def _rows(lab: Lab) -> list[Any]:
    """Return what the stores show of the marts: of each how many rows, and the sum of their hashes in any order."""
    asked = (
        (lab.postgres, "SELECT '{0}', count(*), sum(hashtextextended(one::text, 0))::text FROM marts.{0} AS one"),
        (lab.clickhouse, "SELECT '{0}', count(), sum(cityHash64(formatRow('JSONCompactEachRow', *))) FROM marts.{0}"),
    )
    return [sorted(ask(" UNION ALL ".join(map(query.format, MARTS)))) for ask, query in asked]


def test_a_mart_that_breaks_its_contract_publishes_nothing(
    lab: Lab, built: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _rows(lab)
    shown = control.publications(lab.connections.postgres)
    lab.collection("SupportTickets").delete_many({"status": "open"})
    sync(lab.connections)
    wrong = compute

    def bent(mart: Mart, *given: Any) -> pl.LazyFrame:
        if mart.name != "ticket_resolution":
            return wrong(mart, *given)
        return wrong(mart, *given).with_columns(message_count=pl.col("message_count") + 1)

    with monkeypatch.context() as patched:
        _compute_by(patched, bent)
        with pytest.raises(
            DataError, match=r"ticket_resolution breaks its contract.*messages_add_up.*nothing was"
        ) as error:
            marts.build(lab.connections, ["user_activity", "ticket_resolution"])
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)
    assert _rows(lab) == before
    after = [one for one in control.publications(lab.connections.postgres) if one.name in MARTS]
    assert after == [one for one in shown if one.name in MARTS]
    assert lab.leftovers() == []


# --- In pieces


@pytest.fixture
def rows_before(lab: Lab, built: list[Any]) -> Iterator[None]:
    """Hold what is published after a test against what was before it."""
    before = _rows(lab)
    yield
    assert _rows(lab) == before
    assert lab.leftovers() == []


def _declared(connections: Connections, name: str, by: pl.Expr) -> Connections:
    """Return connections by which a mart is said to be computed apart by something else."""
    return replace(connections, known_marts=known_marts() | {name: replace(known_marts()[name], by=by)})


@pytest.mark.usefixtures("rows_before")
def test_a_piece_that_breaks_the_contract_publishes_nothing(
    lab: Lab, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, pieces = compute, []

    def bent(mart: Mart, *given: Any) -> pl.LazyFrame:
        pieces.append(mart.name)
        if pieces.count("ticket_resolution") < 5:
            return honest(mart, *given)
        return honest(mart, *given).with_columns(message_count=pl.col("message_count") + 1)

    _compute_by(monkeypatch, bent)
    with pytest.raises(DataError, match=r"ticket_resolution breaks its contract.*messages_add_up.*nothing was"):
        marts.build(in_pieces(lab.connections, bucket=8_192), ["ticket_resolution"], full=True)
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("rows_before")
@pytest.mark.parametrize("targets", [TARGETS, ["postgres"]])
def test_a_mart_that_can_not_be_computed_apart_as_declared_is_refused(lab: Lab, targets: list[str]) -> None:
    connections = _declared(lab.connections, "support_efficiency_daily", pl.col("_id").alias("issue_type"))
    with pytest.raises(DataError, match=r"support_efficiency_daily can't be computed apart by .*_id.*nothing was"):
        marts.build(in_pieces(connections), ["support_efficiency_daily"], targets, full=True)


@pytest.mark.usefixtures("rows_before")
def test_keys_that_come_out_twice_are_found_by_the_stores_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = _declared(lab.connections, "support_efficiency_daily", pl.col("_id").alias("issue_type"))
    monkeypatch.setattr(computing, "_check_buckets", lambda *_: None)
    with pytest.raises(BooksOpenError, match=r"support_efficiency_daily has .* rows, of which clickhouse holds"):
        marts.build(in_pieces(connections), ["support_efficiency_daily"])


@pytest.mark.usefixtures("rows_before")
def test_a_table_that_can_not_be_cut_is_named(lab: Lab) -> None:
    connections = _declared(lab.connections, "user_activity_daily", pl.col("session_id").alias("user_id"))
    with pytest.raises(ContractError, match=r"user_activity_daily: .*session_id.* search_queries"):
        marts.build(connections, ["user_activity_daily"])


@pytest.mark.usefixtures("rows_before")
def test_a_full_disk_publishes_nothing(lab: Lab, temporary: Path, room_for: Callable[[int], Any]) -> None:
    with pytest.raises(EtlError, match=f"{temporary}, has no room") as error, room_for(1_000):
        marts.build(lab.connections)
    assert error.value.exit_code == 2
    assert list(temporary.iterdir()) == []


# --- Whatever the replica holds


def test_nothing_gives_empty_marts(lab_of_moments: Any) -> None:
    lab = lab_of_moments
    for name in SOURCES:
        lab.collection(name).delete_many({})
    replicate.replicate(lab.connections, SOURCES)
    prune_history(lab.connections, datetime.now(UTC) + timedelta(days=1))  # what is gone has a past
    assert {one.rows for one in marts.build(lab.connections)} == {0}
    for name in MARTS:
        for ask in (lab.postgres, lab.clickhouse):
            assert ask(f"SELECT count(*) FROM marts.{name}") == [(0,)]
    for name, some in _world(2, 60).items():
        lab.collection(name).insert_many(some)


@pytest.mark.parametrize("contract_says_so", [True, False])
def test_marts_that_read_versions_do_without_them(lab_of_moments: Any, *, contract_says_so: bool) -> None:
    """Whether no history is kept, or it has not begun: what is known then is the present."""
    lab, names = lab_of_moments, ["support_efficiency_daily", "moderation_daily", "recommendation_reach_daily"]
    connections, counts = lab.connections, "SELECT count(*), count(observed_since) FROM marts.{}"
    if not contract_says_so:
        entities = {name: replace(one, history=False) for name, one in lab.connections.entities.items()}
        connections = replace(lab.connections, entities=entities)
    else:
        lab.change_postgres("UPDATE etl.history SET observed_until = observed_since")
    marts.build(connections, names)
    for name in (*names, "ticket_resolution", "review_facts"):
        ((rows, observed),) = lab.postgres(counts.format(name))
        assert lab.clickhouse(counts.format(name)) == [(rows, observed)]
        assert rows > 0
        assert observed == 0
    assert lab.postgres("SELECT DISTINCT backlog_basis FROM marts.support_efficiency_daily") == [("proxy",)]


def test_texts_longer_than_an_index_entry_are_no_hindrance(lab_of_moments: Any) -> None:
    """Whatever the replica holds, marts must be able to show."""
    lab = lab_of_moments
    draw = random.Random(1)
    long = "".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(4000))
    for ticket in _world(3, 5)["SupportTickets"]:
        lab.collection("SupportTickets").insert_one(ticket | {"_id": ObjectId(), "issue_type": long, "status": long})
    sync(lab.connections)
    built = {one.name: one.rows for one in marts.build(lab.connections, ["ticket_changes", "support_efficiency_daily"])}
    assert built.keys() >= {"ticket_changes", "ticket_resolution", "support_efficiency_daily"} and all(built.values())
    lab.collection("SupportTickets").delete_many({"issue_type": long})


def test_a_mart_of_a_users_objects_survives(lab: Lab, built: list[Any]) -> None:
    lab.change_postgres("CREATE VIEW public.answered AS SELECT count(*) AS n FROM marts.ticket_resolution")
    lab.change_clickhouse("CREATE VIEW default.answered AS SELECT count() AS n FROM marts.ticket_resolution")
    lab.collection("SupportTickets").delete_one({})
    sync(lab.connections)
    *_, one = marts.build(lab.connections, ["ticket_resolution"])
    assert lab.postgres("SELECT n FROM public.answered") == [(one.rows,)]
    assert lab.clickhouse("SELECT n FROM default.answered") == [(one.rows,)]
    lab.change_postgres("DROP VIEW public.answered")
    lab.change_clickhouse("DROP VIEW default.answered")
