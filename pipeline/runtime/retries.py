"""What passes by itself is tried again: after a second, then after two, four and so on, and not for ever."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential, wait_random

from pipeline.errors import BusyError, EtlError, LostError
from pipeline.runtime.signals import came_by_interrupt

_FIRST_S, _LONGEST_S, _JITTER_S = 1.0, 16.0, 1.0
_T = TypeVar("_T")
log = logging.getLogger(__name__)


def retry(
    work: Callable[[tuple[float, ...]], _T],
    what: str,
    seconds: float,
    passing: tuple[type[EtlError], ...] = (LostError, BusyError),
) -> _T:
    """Do something, again and again as long as it fails by what passes; each retry is a line in the log.

    Args:
        work: What is to be done; done twice it must come to the same. It is told how long it was waited for each
            retry so far.
        what: What people call it.
        seconds: For how long it may be waited in all; the time that the work itself takes does not count.
        passing: The errors that pass.

    Returns:
        What the work returns.

    Raises:
        EtlError: The last one, of a kind that does not pass, or when the time was over.
    """
    waits: list[float] = []

    def note(state: RetryCallState) -> None:
        waits.append(state.upcoming_sleep)
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s; %s is tried again in %.1f s (retry %d)", error, what, waits[-1], len(waits))

    retrying = Retrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, passing) and not error.tried and not came_by_interrupt(error)
        ),
        wait=wait_exponential(_FIRST_S, _LONGEST_S) + wait_random(0, _JITTER_S),
        stop=lambda state: state.idle_for + state.upcoming_sleep > seconds,
        before_sleep=note,
        reraise=True,
    )
    try:
        return retrying(lambda: work(tuple(waits)))
    except passing as error:
        error.tried = True  # whoever calls us must not begin anew
        raise
