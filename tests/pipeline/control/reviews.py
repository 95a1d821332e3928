"""Reviews of the demo's collection ModerationQueue, made by hand: what several tests fill it with."""

from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

REVIEWS = "ModerationQueue"
AT = datetime(2024, 5, 1, tzinfo=UTC)


def numbered(number: int) -> ObjectId:
    """Return the ``_id`` of a document that is known by a number."""
    return ObjectId(f"{number:024x}")


def review(number: int, **changes: Any) -> dict[str, Any]:
    """Return a lawful review, or what some changes make of it."""
    lawful = {
        "_id": numbered(number),
        "review_id": f"R{number}",
        "user_id": "U1",
        "product_id": "P1",
        "review_text": "Good.",
        "rating": 5,
        "moderation_status": "pending",
        "flags": [],
        "submitted_at": AT,
    }
    return lawful | changes
