"""Why a document was refused."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reason:
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
            shown = shown[:200].replace("\0", "\\0")
        return {"path": self.path, "rule": self.rule, "value": shown}


def escaped(name: str) -> str:
    """Return a field's name as a step of a JSON Pointer (RFC 6901)."""
    if "~" not in name and "/" not in name:  # hardly any has: this is asked of each field of each document
        return name
    return name.replace("~", "~0").replace("/", "~1")
