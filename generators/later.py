"""How the world goes on: what becomes of documents that are there, in a window after the one they are from.

Each document's fate hangs on the seed, the window and its ``_id`` alone. Whatever has been changed bears a moment of
the window, or comes out the same again: so what was cut short can be done again.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from bson import Decimal128, ObjectId

from contracts.schema.entity import Entity
from contracts.schema.kinds import OBJECT_ID
from generators.chunk import dates, decimals
from generators.moderation_queue import FLAGGED_REJECTED, PLAIN_REJECTED
from generators.product_price_history import AS_SHOPS_LIKE, CENTS, CHANGED_A_DAY, STEP
from generators.user_recommendations import MOST
from generators.vocabulary import PHRASES, vocabulary
from generators.world import DAY, HOUR, Window, World, stream

Document = Mapping[str, Any]
Update = dict[str, dict[str, Any]]
DELETED_A_DAY = 0.0015  # of all documents
ON = timedelta(hours=1)  # for so long a visit without an end may go on still; of an older one the end is lost
REMEMBERED = timedelta(days=30)  # for so long a solved ticket may be opened again
UNSOLVED, SOLVED = ("open", "in_progress", "waiting"), ("resolved", "closed")
# Up to which luck a ticket gets which status in a week, and who writes then, if anybody does.
TICKET_FATES: dict[str, tuple[tuple[float, str, str], ...]] = {
    **dict.fromkeys(
        UNSOLVED,
        (
            (0.35, "resolved", "agent"),
            (0.6, "closed", "agent"),
            (0.75, "waiting", "agent"),
            (0.85, "in_progress", "user"),
        ),
    ),
    "resolved": ((0.05, "open", "user"), (0.4, "closed", "")),
    "closed": ((0.02, "open", "user"),),
}
ENDED = 0.9  # of the visits that are going on, whatever the window
DECIDED, OVERTURNED, REWRITTEN = 0.85, 0.03, 0.8  # in a week
REPRICED = 1 - (1 - CHANGED_A_DAY) ** 7


@dataclass(frozen=True)
class Step:
    """One step of a collection's world.

    Attributes:
        entity: The collection's contract.
        world: Users and products, as many as there are at its end.
        window: When it happens.
    """

    entity: Entity
    world: World
    window: Window

    @property
    def start(self) -> datetime:
        """When it begins."""
        return _date(self.window.start)

    def fates(self, document: Document) -> np.random.Generator:
        """Return the random numbers of one document."""
        return stream(self.world.seed, self.entity.collection, self.window.start, str(document["_id"]))

    def chance(self, weekly: float) -> float:
        """Return how likely in this step is what has a chance in a week."""
        return float(1 - (1 - weekly) ** ((self.window.end - self.window.start) / (7 * DAY)))

    def moment(self, rng: np.random.Generator, within: int | None = None) -> datetime:
        """Draw a moment after the start, the first hours only if so many milliseconds are given."""
        span = self.window.end - self.window.start
        return _date(self.window.start + 1 + int(rng.random() * (min(span, within or span) - 1)))


def _date(moment: int) -> datetime:
    (date,) = dates(np.array([moment]))
    found: datetime = date
    return found


# --- What is deleted


def may_be_deleted(step: Step) -> dict[str, Any]:
    """Return a filter of the documents that were there when a step began; none are where ids don't tell their time."""
    if step.entity.id_kind is not OBJECT_ID:
        return {"_id": {"$in": []}}
    return {"_id": {"$type": "objectId", "$lte": ObjectId(f"{step.window.start // 1000:08x}{'f' * 16}")}}


def deleted(step: Step, ids: Iterable[ObjectId]) -> list[ObjectId]:
    """Choose the ids of documents that are deleted."""
    key = f"{step.world.seed} {step.window.start} {step.entity.collection}".encode()[:64]
    limit = int(min(0.5, DELETED_A_DAY * (step.window.end - step.window.start) / DAY) * 2**64)

    def lot(one: ObjectId) -> int:
        return int.from_bytes(hashlib.blake2b(one.binary, digest_size=8, key=key).digest(), "big")

    return [one for one in ids if lot(one) < limit]


# --- What is changed


def may_change(step: Step) -> dict[str, Any] | None:
    """Return a filter of the documents that a step may change; None if its collection's never change."""
    start, until = step.start, {"$type": "date", "$lte": step.start}
    filters: dict[str, dict[str, Any]] = {
        "user_sessions": {"end_time": {"$type": "null"}, "start_time": {**until, "$gt": start - ON}},
        "support_tickets": {
            "messages": {"$type": "array"},
            "user_id": {"$type": "string"},
            "updated_at": until,
            "$or": [
                {"status": {"$in": UNSOLVED}},
                {"status": {"$in": SOLVED}, "updated_at": {"$gte": start - REMEMBERED}},
            ],
        },
        "moderation_queue": {
            "moderation_status": {"$in": ["pending", "approved", "rejected"]},
            "submitted_at": until,
        },
        "user_recommendations": {"last_updated": until},
        "product_price_history": {
            "price_changes": {"$type": "array"},
            "price_changes.changed_at": {"$not": {"$gt": start}},
            "current_price": {"$type": "decimal", "$gt": 0, "$lt": 10**10},
        },
    }
    return filters.get(step.entity.table)


def changed(step: Step, document: Document) -> Update | None:
    """Return what becomes of a document that may change; None if nothing does."""
    return _CHANGES[step.entity.table](step, document, step.fates(document))


def _session(step: Step, _document: Document, rng: np.random.Generator) -> Update | None:
    """A visit ends within the hour, unless its end is lost."""
    return {"$set": {"end_time": step.moment(rng, HOUR)}} if rng.random() < ENDED else None


def _ticket(step: Step, document: Document, rng: np.random.Generator) -> Update | None:
    """An open ticket is answered, and mostly solved by that; a solved one is closed, or opened again by its user."""
    luck, at = rng.random(), step.moment(rng)
    for limit, status, sender in TICKET_FATES[document["status"]]:
        if luck < step.chance(limit):
            told: Update = {"$set": {"status": status, "updated_at": at}}
            message = {"sender": sender, "text": _text(step, document["user_id"], sender, rng), "sent_at": at}
            return told | {"$push": {"messages": message}} if sender else told
    return None


def _text(step: Step, user_id: str, sender: str, rng: np.random.Generator) -> str:
    words, number = vocabulary(step.world.seed), user_id[1:]
    known = number.isascii() and number.isdigit() and int(number) < step.world.user_count
    locale = int(step.world.user_locales[int(number)]) if known else 0
    phrases = words.answers if sender == "agent" else words.questions
    return phrases[locale * PHRASES + int(rng.integers(PHRASES))]


def _review(step: Step, document: Document, rng: np.random.Generator) -> Update | None:
    """A review is decided; of a decided one it is thought again, which overturns half of them."""
    luck, verdict = rng.random(), rng.random()
    rejected = FLAGGED_REJECTED if document.get("flags") else PLAIN_REJECTED
    decided = step.chance(DECIDED)
    if document["moderation_status"] == "pending" and luck < decided:
        return {"$set": {"moderation_status": "rejected" if verdict < rejected else "approved"}}
    # No luck of one that is decided just now: done again, it must not be thought of twice.
    if luck > max(decided, 1 - step.chance(OVERTURNED)):
        return {"$set": {"moderation_status": "rejected" if verdict < 0.5 else "approved"}}
    return None


def _list(step: Step, _document: Document, rng: np.random.Generator) -> Update | None:
    """A list is written anew."""
    if rng.random() >= step.chance(REWRITTEN):
        return None
    numbers = step.world.products.draw(rng, int(rng.integers(3, MOST + 1)))
    products = list(dict.fromkeys(step.world.products.ids(numbers)))
    return {"$set": {"recommended_products": products, "last_updated": step.moment(rng)}}


def _price(step: Step, document: Document, rng: np.random.Generator) -> Update | None:
    """A price moves by some per cent."""
    if rng.random() >= step.chance(REPRICED):
        return None
    current: Decimal128 = document["current_price"]
    cents = int(current.to_decimal().scaleb(CENTS))
    moved = max(1, int(cents * np.exp(rng.normal(0, STEP))))
    (price,) = decimals(np.array([moved // 100 * 100 + 99 if rng.random() < AS_SHOPS_LIKE else moved]), CENTS)
    change = {"changed_at": step.moment(rng), "price": price}
    return {"$push": {"price_changes": change}, "$set": {"current_price": price}}


_CHANGES: dict[str, Callable[[Step, Document, np.random.Generator], Update | None]] = {
    "user_sessions": _session,
    "support_tickets": _ticket,
    "moderation_queue": _review,
    "user_recommendations": _list,
    "product_price_history": _price,
}
