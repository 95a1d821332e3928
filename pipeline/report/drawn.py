"""What the page shows: plots, lists and figures, as data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Spec = Mapping[str, Any]  # Vega-Lite


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        spec: Vega-Lite, of the width of what holds it.
        title: What tells it from the others of its plot; empty if it is the only one.
    """

    spec: Spec
    title: str = ""


@dataclass(frozen=True)
class Spark:
    """A line without axes, in a cell or beside a figure.

    Attributes:
        points: Its values; None where there is none.
    """

    points: Sequence[float | None] = ()


@dataclass(frozen=True)
class Table:
    """Values as people read them, in rows.

    Attributes:
        headings: One for each column.
        rows: The rows.
        numeric: Places of the columns that hold numbers.
        further: How many rows there are beside these.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str | Spark]]
    numeric: frozenset[int] = frozenset()
    further: int = 0


@dataclass(frozen=True)
class Plot:
    """A plot or a list.

    Attributes:
        key: Its name among the words.
        mart: The mart that it is drawn from.
        table: Its figures.
        says: What is seen, in a sentence.
        panels: The drawings; a list has none.
        has_running: Whether a period that is not over is among it.
    """

    key: str
    mart: str
    table: Table
    says: str = ""
    panels: Sequence[Panel] = ()
    has_running: bool = False


@dataclass(frozen=True)
class Drawing:
    """What a function of an area draws; nothing is ever drawn from no rows.

    Attributes:
        panels: The drawings.
        table: Their figures.
        says: What is seen.
        has_running: Whether a period that is not over is among it.
    """

    panels: Sequence[Panel]
    table: Table
    says: str
    has_running: bool = False


@dataclass(frozen=True)
class Figure:
    """A headline figure.

    Attributes:
        key: Its name among the words.
        value: The figure as a number.
        text: As people read it.
        change: By how much of a hundred, or how many points of percentage, it has changed; None if that is not known.
        change_text: As people read it.
        tone: ``good``, ``bad`` or ``even``.
        period: Of which time it is, and with which it is compared.
        points: What its sparkline shows.
        is_share: Whether it is a percentage; its change is in points then.
        of: Of how many it is a percentage.
    """

    key: str
    value: float
    text: str
    change: float | None
    change_text: str
    tone: str
    period: str
    points: Spark = Spark()
    is_share: bool = False
    of: int | None = None


@dataclass(frozen=True)
class Fact:
    """What is to be known of the copy at a glance.

    Attributes:
        label: What it is about.
        text: What is so.
        detail: More of it.
        tone: ``good``, ``bad`` or ``even``.
    """

    label: str
    text: str
    detail: str = ""
    tone: str = "even"


Draw = Callable[..., "Drawing | None"]
