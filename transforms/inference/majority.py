"""Which type decides what a field is, and what it leaves aside: one that half of the values have.

Nulls do not vote, and neither do empty texts: applications write both where there is nothing.
"""

from collections import Counter

from transforms.inference.evidence import Evidence

NUMBERS = {"int", "long", "double"}
# What the words for one type hold of others is nothing; here is what they do not hold of their own.
_OF_WORD = {
    "text": "text",
    "integer": "number",
    "number": "number",
    "decimal": "decimal",
    "boolean": "boolean",
    "timestamp": "date",
    "object_id": "ObjectId",
    "subdocument": "document",
    "documents": "array",
}


def winning_type(evidence: Evidence) -> str:
    """Return the type that decides, all numbers taken for one; nothing where none has half of the values."""
    votes = _votes(evidence)
    if not votes:
        return "text" if evidence.empty else ""
    # Of two halves the text, whose column tells more; else what comes first, whatever was read first.
    winner = min(votes, key=lambda name: (-votes[name], name != "text", name))
    return winner if 2 * votes[winner] >= votes.total() else ""


def has_half(evidence: Evidence, misfits: int) -> bool:
    """Return whether what is left without so many values, empty texts among them, is half of those that vote."""
    voting = _votes(evidence).total()
    return 2 * (voting + evidence.empty - misfits) >= voting


def misfits_of(evidence: Evidence, word: str) -> int:
    """Return how many values a word for one scalar type does not hold."""
    own = _OF_WORD[word]
    others = sum(seen.count for name, seen in evidence.types.items() if name != "null" and _group(name) != own)
    return others + sum(_unheld(evidence, word).values())


def find_misfits(evidence: Evidence, winner: str, word: str) -> tuple[str, ...]:
    """Return what goes aside of what was seen, with counts, for people.

    Args:
        evidence: What was seen.
        winner: The type that decided.
        word: The word that was found.
    """
    if word in ("json", ""):
        return ()
    others = {name: seen.count for name, seen in evidence.ranked if name != "null" and _group(name) != winner}
    if "text" in others and evidence.empty:
        others["text"] -= evidence.empty
        others["empty text"] = evidence.empty
    found = {**others, **_unheld(evidence, word)}
    if word == "documents" and evidence.items:
        items = evidence.items.ranked
        found |= {f"{name} among the items": seen.count for name, seen in items if name != "document"}
    return tuple(f"{count:,} {name}" for name, count in found.items() if count)


def _votes(evidence: Evidence) -> Counter[str]:
    votes: Counter[str] = Counter()
    for name, seen in evidence.types.items():
        if name != "null":
            votes[_group(name)] += seen.count - (evidence.empty if name == "text" else 0)
    return +votes


def _group(name: str) -> str:
    return "number" if name in NUMBERS else name


def _unheld(evidence: Evidence, word: str) -> dict[str, int]:
    """Return what a word does not hold of its own type."""
    return {
        "integer": {"double that is no 64-bit integer": evidence.fractions + evidence.beyond},
        "number": {"long": evidence.count("long")},
        "timestamp": {"date that no store holds": evidence.far_dates},
        "decimal": {"decimal that is NaN or infinite": evidence.odd_decimals},
    }.get(word, {})


def number_word(evidence: Evidence) -> str:
    """Return the word for numbers: integers if all are, else doubles if no 64-bit integer is among them, or nothing."""
    longs = evidence.count("long")
    # A double's -0.0 would be 0 as an integer.
    if not (evidence.fractions or evidence.beyond or (evidence.negative_zeros and not longs)):
        return "integer"
    return "" if longs else "number"
