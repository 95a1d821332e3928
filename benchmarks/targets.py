"""What we hold ourselves to, and whether it is met."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.speed import CPU, middle, ratios


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
    Target("first copy into both stores / only reading", "UserSessions", "both_first", "floor", most=1.5),
    Target("first copy into both stores / reading the scalar fields", "EventLogs", "both_first", "floor", most=2.5),
    Target("repeated copy / first copy", "UserSessions", "both_again", "both_first", most=1.5),
    Target("repeated copy / first copy", "EventLogs", "both_again", "both_first", most=1.5),
    Target("verify / first copy", "UserSessions", "verify", "both_first", most=2.0),
    Target("verify / first copy", "EventLogs", "verify", "both_first", most=2.0),
    Target("dlt Arrow / ours, PostgreSQL", "UserSessions", "dlt_arrow", "postgres", least=3.0),
    Target("dlt defaults / ours, PostgreSQL", "UserSessions", "dlt_objects", "postgres", least=20.0),
    Target("ingestr / ours, PostgreSQL", "UserSessions", "ingestr", "postgres", least=2.5),
    Target("ingestr / ours, PostgreSQL", "EventLogs", "ingestr", "postgres", least=1.5),
    Target("hand-written COPY / ours, PostgreSQL", "EventLogs", "handwritten", "postgres", least=1.5),
)
GENERATED_PER_S = 60_000


@dataclass(frozen=True)
class Outcome:
    """A target and what was measured.

    Attributes:
        collection: Of which collection.
        text: What is compared.
        bound: The target.
        measured: The ratio of times by the clock.
        by_cpu: The same ratio of all processor time, clients' and servers', which a busy machine bends less.
        met: Whether the bound is kept.
        margin: By which factor it is passed (above 1) or missed.
        agreed: Whether all rounds say the same.
    """

    collection: str
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


def outcomes(speed: dict[str, Any]) -> list[Outcome]:
    """Hold the results against the targets; what was not measured is left out."""
    found = []
    for target in TARGETS:
        result = speed["collections"].get(target.collection)
        if result and (paired := ratios(result, target.measured, target.to)):
            found.append(_outcome(target, paired, ratios(result, target.measured, target.to, CPU)))
    for name, result in speed["collections"].items():
        if "generate" in result["contenders"] and (seconds := middle(result, "generate", "wall_s")):
            rate = result["documents"] / seconds
            bound, shown = f"at least {GENERATED_PER_S:,}/s", f"{rate:,.0f}/s"
            text, met = "etl generate, documents per second", rate >= GENERATED_PER_S
            found.append(Outcome(name, text, bound, shown, "-", met, rate / GENERATED_PER_S))
    return found


def _outcome(target: Target, paired: list[float], by_cpu: list[float]) -> Outcome:
    ratio = median(paired)
    shown = f"{ratio:.2f} ({min(paired):.2f}-{max(paired):.2f})"
    if target.most is not None:
        bound, margins = f"at most {target.most}", [target.most / one for one in (ratio, *paired)]
    else:
        assert target.least is not None
        bound, margins = f"at least {target.least}", [one / target.least for one in (ratio, *paired)]
    margin, agreed = margins[0], len({one >= 1 for one in margins}) == 1
    return Outcome(target.collection, target.text, bound, shown, f"{median(by_cpu):.2f}", margin >= 1, margin, agreed)
