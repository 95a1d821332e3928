"""What we hold ourselves to, and whether it is met."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.figures import spread
from benchmarks.speed import CPU, WALL, middle, ratios


@dataclass(frozen=True)
class Target:
    """A bound on a ratio of two contenders' times: at most, or at least.

    Attributes:
        text: For people.
        collection: Of which collection.
        measured: The contender above the line.
        to: The one below it.
        most: The ratio must not be larger.
        least: The ratio must not be smaller.
    """

    text: str
    collection: str
    measured: str
    to: str
    most: float | None = None
    least: float | None = None


TARGETS = (
    Target("first copy into both stores / only reading", "UserSessions", "both_first", "floor", most=1.3),
    Target("first copy into both stores / reading the scalar fields", "EventLogs", "both_first", "floor", most=2.6),
    Target("repeated copy / first copy", "UserSessions", "both_again", "both_first", most=0.9),
    Target("repeated copy / first copy", "EventLogs", "both_again", "both_first", most=0.9),
    Target("repeated copy, 1 % changed / first copy", "UserSessions", "both_changed", "both_first", most=1.0),
    Target("repeated copy, 1 % changed / first copy", "EventLogs", "both_changed", "both_first", most=1.0),
    Target("verify / first copy", "UserSessions", "verify", "both_first", most=1.2),
    Target("verify / first copy", "EventLogs", "verify", "both_first", most=1.2),
    Target("dlt Arrow / ours, PostgreSQL", "UserSessions", "dlt_arrow", "postgres", least=3.5),
    Target("dlt defaults / ours, PostgreSQL", "UserSessions", "dlt_objects", "postgres", least=20.0),
    Target("ingestr / ours, PostgreSQL", "UserSessions", "ingestr", "postgres", least=2.4),
    Target("ingestr / ours, PostgreSQL", "EventLogs", "ingestr", "postgres", least=1.8),
    Target("hand-written COPY / ours, PostgreSQL", "EventLogs", "handwritten", "postgres", least=1.5),
)
GENERATED_PER_S = 60_000


@dataclass(frozen=True)
class Outcome:
    """A target and what was measured.

    Attributes:
        collection: Of which collection.
        commit: At which it was measured.
        text: What is compared.
        bound: The target.
        measured: The ratio of times by the clock.
        by_cpu: The same ratio of all processor time, clients' and servers', which a busy machine bends less.
        met: Whether the bound is kept.
        margin: By which factor it is passed (above 1) or missed.
        agreed: Whether all rounds say the same.
    """

    collection: str
    commit: str
    text: str
    bound: str
    measured: str
    by_cpu: str
    met: bool
    margin: float
    agreed: bool = True

    @property
    def verdict(self) -> str:
        """Met or missed, and whether that holds in every round."""
        word = "met" if self.met else f"missed by {1 / self.margin:.2f}x"
        return word if self.agreed else f"{word}, not in every round"


def outcomes(collections: Mapping[str, Sequence[dict[str, Any]]]) -> list[Outcome]:
    """Hold the results against the targets; what was not measured is left out.

    Args:
        collections: The sessions of each; of those in which both sides were measured the last one counts.
    """
    found = []
    for target in TARGETS:
        for result in reversed(collections.get(target.collection, ())):
            if ratios(result, target.measured, target.to):
                found.append(_outcome(target, result))
                break
    for name, sessions in collections.items():
        measured = [one for one in sessions if "generate" in one["contenders"] and middle(one, "generate", "wall_s")]
        found += [_generated(name, one) for one in measured[-1:]]
    return found


def _generated(name: str, result: dict[str, Any]) -> Outcome:
    rate = result["documents"] / (middle(result, "generate", "wall_s") or 1.0)
    bound, shown = f"at least {GENERATED_PER_S:,}/s", f"{rate:,.0f}/s"
    text, margin = "etl generate, documents per second", rate / GENERATED_PER_S
    return Outcome(name, result["commit"], text, bound, shown, "-", margin >= 1, margin)


def _outcome(target: Target, result: dict[str, Any]) -> Outcome:
    paired, by_cpu = (ratios(result, target.measured, target.to, measures) for measures in (WALL, CPU))
    ratio = median(paired)
    if target.most is not None:
        bound, margins = f"at most {target.most}", [target.most / one for one in (ratio, *paired)]
    else:
        assert target.least is not None
        bound, margins = f"at least {target.least}", [one / target.least for one in (ratio, *paired)]
    margin, agreed = margins[0], len({one >= 1 for one in margins}) == 1
    return Outcome(
        target.collection,
        result["commit"],
        target.text,
        bound,
        spread(paired),
        f"{median(by_cpu):.2f}",
        margin >= 1,
        margin,
        agreed,
    )
