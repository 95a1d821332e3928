"""Why a document was refused."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# A document of 16 MB can break rules at millions of places; who mends it looks at the first ones.
KEPT = 100
FURTHER = "further reasons, not kept one by one: their number"
VALUE_CHARACTERS, _PATH_CHARACTERS = 200, 1_000
# Where a value stands: a JSON Pointer, and from there on steps to the inside, each behind those before it. To join
# them for each value would take a document's size squared, for a name may have 16 MB.
Location = str | tuple["Location", str | int]


@dataclass(frozen=True)
class Violation:
    """One rule that a document broke.

    Attributes:
        path: JSON Pointer to the value within the document; empty for the document itself.
        rule: What was expected, in words a person can act on.
        value: The offending value, shortened.
    """

    path: str
    rule: str
    value: Any

    def as_json(self) -> dict[str, Any]:
        """Return it as the quarantine keeps it."""
        value = self.value
        shown = value if value is None or isinstance(value, bool | int | str) else repr(value)
        if isinstance(shown, str):
            shown = shorten_text(shown).replace("\0", "\\0")
        return {"path": json_pointer(self.path), "rule": self.rule, "value": shown}


def limit_violations(reasons: Iterable[Violation]) -> list[Violation]:
    """Return the first reasons against a document, and the number of the others as one more."""
    first: list[Violation] = []
    further = 0
    for one in reasons:
        if one.rule == FURTHER:
            further += one.value
        elif len(first) < KEPT:
            first.append(one)
        else:
            further += 1
    return [*first, Violation("", FURTHER, further)] if further else first


def shorten_text(text: str, characters: int = VALUE_CHARACTERS) -> str:
    """Return a text, or its beginning and how long it is."""
    return text if len(text) <= characters else f"{text[:characters]}… ({len(text):,} characters)"


def json_pointer(place: Location) -> str:
    """Return a place as a JSON Pointer; of one that is very long the beginning, and nothing longer is ever made."""
    steps: list[str] = []
    most = _PATH_CHARACTERS
    while not isinstance(place, str):
        place, step = place
        steps.append(pointer_into("", str(step)[: most + 1]))
    path = "".join([place[: most + 1], *reversed(steps)])
    return path if len(path) <= most else f"{path[:most]}…"


def pointer_into(pointer: str, step: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) that goes a step further than another one.

    Args:
        pointer: Where the step begins; empty for the document itself.
        step: The name of a field, or a position in an array.
    """
    if isinstance(step, str) and ("~" in step or "/" in step):
        step = step.replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{step}"
