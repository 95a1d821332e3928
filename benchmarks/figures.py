"""Figures as they are told."""

from collections.abc import Sequence
from statistics import median


def spread(figures: Sequence[float], digits: int = 2) -> str:
    """Return the median of some figures, with the smallest and the largest."""
    return f"{median(figures):.{digits}f} ({min(figures):.{digits}f}-{max(figures):.{digits}f})"
