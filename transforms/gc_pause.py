"""Python's cyclic garbage collector, out of the way of bulk work."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the collector from looking at documents again and again: none of them is in a circle.

    It takes more than half of the time of making many small objects. They are freed all the same, by their reference
    counts. It also serves as a decorator.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
