"""What the doctor says of one thing."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What the doctor says of one thing.

    Attributes:
        about: Whose it is: ``this machine``, ``contracts``, ``MongoDB``, ``PostgreSQL`` or ``ClickHouse``.
        check: What was looked at.
        state: How it is: ``fail`` where a command would end or promise too much, ``warn`` where it may.
        says: What was found.
        advice: What to do; empty where all is well.
    """

    about: str
    check: str
    state: State
    says: str
    advice: str = ""


def judged(about: str, check: str, says: str, *, fail: str = "", warn: str = "") -> Finding:
    """Return a finding whose state follows from the advice that there is.

    Args:
        about: Whose it is.
        check: What was looked at.
        says: What was found.
        fail: What to do, if it fails.
        warn: What to do, if it is doubtful.
    """
    state = State.FAIL if fail else State.WARN if warn else State.OK
    return Finding(about, check, state, says, fail or warn)
