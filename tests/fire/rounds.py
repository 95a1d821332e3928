"""Rounds of fire: faults and killed commands while others write and read; then all is quiet, and compared."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo

from tests.fire import commands, faults, oracle
from tests.fire.commands import Command, Outcome
from tests.fire.readers import Readers
from tests.fire.servers import DATABASE, Servers, servers
from tests.fire.writers import Writers, open_accounts

_WRITERS = 2
_TURNS = 6  # of a round


@dataclass(frozen=True)
class Size:
    """How large a fire is.

    Attributes:
        plan: The faults of each round, in their order, each with commands that meet it; chosen anew if none is named.
        scale: How many documents there are in the beginning, as `etl generate` takes it.
        rest: How many seconds each writer does nothing after each operation.
        options: Further variables of the environment that commands have.
    """

    plan: tuple[str, ...] = ()
    scale: float = 0.02
    rest: float = 0.02
    options: Mapping[str, str] = field(default_factory=dict)


FULL = Size()


@dataclass
class Report:
    """What was done, and what came of it.

    Attributes:
        rounds: How many rounds there were.
        written: Documents that were written meanwhile.
        kills: Commands that were killed.
        done: How often each fault was done.
        outcomes: How often commands ended with each exit code.
        compared: Documents that were compared, in each store.
        looks: How often readers looked.
        wrong: What is lost, bent, invented, left, or was shown and must not be.
    """

    rounds: int = 0
    written: int = 0
    kills: int = 0
    done: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[int] = field(default_factory=Counter)
    compared: int = 0
    looks: int = 0
    wrong: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def add(self, outcome: Outcome) -> None:
        """Take a command's end into the report."""
        self.outcomes[outcome.code] += 1
        self.kills += outcome.code == -9
        self.wrong += outcome.wrong


def fire(
    seconds: float,
    seed: int,
    folder: Path,
    tell: Callable[[str], None] = lambda line: None,
    size: Size = FULL,
) -> Report:
    """Burn for a while.

    Args:
        seconds: How long; one round at least, and the round that is under way then is finished.
        seed: Of all choices; what servers do in between is not in its power.
        folder: For the servers' data.
        tell: Is told the state after each round.
        size: How large it is.

    Returns:
        What was done and found; nothing must be wrong.
    """
    report, chance = Report(), random.Random(seed)
    with servers(folder, size.options) as under_fire:
        _fill(under_fire, size.scale)
        readers = Readers(under_fire.postgres.direct_uri, under_fire.clickhouse.direct_uri)
        started = time.monotonic()
        with closing(Writers(under_fire.mongo.uri, seed, _WRITERS, size.rest)) as writers:
            while not report.rounds or (time.monotonic() - started < seconds and not report.wrong):
                with writers.writing():
                    _round(under_fire, chance, report, tell, size.plan)
                _settle(under_fire, report)
                report.rounds += 1
                report.written = writers.written.value
                tell(
                    f"round {report.rounds}: {report.written} written, {report.kills} kills, {report.compared} compared"
                )
        report.looks, seen = readers.close()
        report.wrong += seen
    return report


def _fill(under_fire: Servers, scale: float) -> None:
    for words in (("generate", "--scale", str(scale)), ("replicate",)):
        outcome = commands.run(under_fire, *words)
        assert outcome.code == 0, outcome
        if words[0] == "generate":
            with pymongo.MongoClient(under_fire.mongo.uri) as client:
                open_accounts(client[DATABASE])


def _round(
    under_fire: Servers, chance: random.Random, report: Report, tell: Callable[[str], None], plan: tuple[str, ...]
) -> None:
    """Run commands while things go wrong; some are killed, some run side by side."""
    for fault in plan or chance.choices(faults.possible(under_fire), k=_TURNS):
        after, seconds = chance.uniform(0, 2), chance.uniform(0.2, 4)  # by no thread: the seed decides all choices
        with ThreadPoolExecutor(1, thread_name_prefix="fault") as pool:
            burning = pool.submit(faults.burn, under_fire, fault, after, seconds)
            for outcome in _some_commands(under_fire, chance):
                report.add(outcome)
                tell(f"{fault}: {' '.join(outcome.words)}: {outcome.code} after {outcome.seconds:.1f} s")
            burning.result()
        report.done[fault] += 1


def _some_commands(under_fire: Servers, chance: random.Random) -> list[Outcome]:
    if chance.random() < 0.3:
        command, moment = chance.choice(["sync", "sync", "replicate", "marts"]), chance.choice(commands.moments())
        return [commands.die_at(under_fire, command, moment)]
    running = [Command(under_fire, commands.any_command(chance)) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
    if chance.random() < 0.4:
        time.sleep(chance.uniform(0.3, 5))
        chance.choice(running).kill()
    return [one.end() for one in running]


def _settle(under_fire: Servers, report: Report) -> None:
    """Let one command come through now that all is quiet, and look at what is there."""
    under_fire.mongo.await_primary()
    outcome = commands.run(under_fire, "sync")
    if outcome.code:  # the way out that every refusal of sync names
        outcome = commands.run(under_fire, "replicate")
    report.add(outcome)
    if outcome.code:
        report.wrong.append(f"neither sync nor replicate comes through when all is quiet: {outcome}")
        return
    with (
        pymongo.MongoClient(under_fire.mongo.uri) as client,
        closing(oracle.Stores(under_fire.postgres.direct_uri, under_fire.clickhouse.direct_uri)) as stores,
    ):
        compared, wrong = oracle.compare(client[DATABASE], stores)
        report.compared += compared
        report.wrong += [*wrong, *_left_over(stores)]
        stores.checkpoint()


def _left_over(stores: oracle.Stores) -> list[str]:
    """Return what a command left that must not stay: staging areas, open runs, open books."""
    looks = {
        ("postgres", "staging"): "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'staging_')",
        ("clickhouse", "staging"): "SELECT name FROM system.databases WHERE startsWith(name, 'staging_')",
        ("postgres", "open run"): "SELECT run_id FROM etl.runs WHERE status = 'running'",
        ("postgres", "open books"): "SELECT run_id FROM etl.ledger JOIN etl.runs USING (run_id) "
        "WHERE status = 'published' AND kind <> 'marts' GROUP BY run_id, collection, target "
        "HAVING sum(source) <> sum(loaded) + sum(quarantined)",
        ("postgres", "unfinished publication"): "SELECT collection FROM etl.published WHERE published_at IS NULL",
    }
    return [
        f"{what} in {store}: {one}" for (store, what), query in looks.items() for (one,) in stores.ask(store, query)
    ]
