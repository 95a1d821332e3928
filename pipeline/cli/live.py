"""What is drawn again and again on stderr while a command works; nothing where that is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.live import Live

from pipeline.cli import output

_A_SECOND = 4  # often enough to look alive


@contextmanager
def living(drawn: RenderableType, *, stays: bool = True, screen: bool = False) -> Iterator[None]:
    """Draw something anew some times a second; lines that are said meanwhile appear above it.

    Args:
        drawn: Is rendered each time.
        stays: Whether it is left on the terminal at the end.
        screen: Whether it takes the whole terminal, which is as before at the end.
    """
    to = output.console(stderr=True)
    if not to.is_terminal:
        yield
        return
    live = Live(drawn, console=to, refresh_per_second=_A_SECOND, transient=not stays, screen=screen)
    before, output.shared = output.shared, to
    try:
        with live:
            yield
    finally:
        output.shared = before
