"""How far something is, as the work tells whoever shows it."""

from collections.abc import Callable
from typing import TypeVar

What = TypeVar("What")
# Is called with what it is about, how many there are of it in all, and how many of them are done.
Progress = Callable[[What, int, int], None]


def tell_nobody(what: object, total: int, done: int) -> None:
    """Take no notice of how far something is."""
