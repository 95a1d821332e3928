"""Figures in the text format of Prometheus."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_ESCAPED_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True)
class Sample:
    """One figure.

    Attributes:
        labels: What it is of, by the names of labels.
        value: The figure.
    """

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Metric:
    """A gauge: figures of one kind, each of something else.

    Attributes:
        name: Its name.
        help: What it says, in a line.
        samples: The figures.
    """

    name: str
    help: str
    samples: tuple[Sample, ...]


def as_text(metrics: Iterable[Metric]) -> str:
    """Return metrics as Prometheus reads them; one without figures is left out."""
    return "".join(f"{line}\n" for metric in metrics if metric.samples for line in _lines(metric))


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help.translate(_ESCAPED_HELP)}"
    yield f"# TYPE {metric.name} gauge"
    for one in metric.samples:
        labels = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in one.labels.items())
        yield f"{metric.name}{{{labels}}} {one.value!r}" if labels else f"{metric.name} {one.value!r}"
