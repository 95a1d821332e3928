"""Reviews: mostly delighted or angry, in the language of the user; old ones are decided."""

import numpy as np
from numpy.typing import NDArray

from generators import ragged
from generators.chunk import Chunk, Columns, dates
from generators.world import HOUR, Integers

ROWS = 6_000
FLAGS = ("spam", "offensive", "off_topic", "personal_data", "fake")
FLAGGED_REJECTED, PLAIN_REJECTED = 0.7, 0.02  # shares of the decided ones
RATING_WEIGHTS = (0.16, 0.07, 0.1, 0.23, 0.44)


def draw(chunk: Chunk) -> Columns:
    """Draw reviews with what the moderation made of them."""
    submitted = chunk.moments()
    users = chunk.world.users.draw(chunk.rng, chunk.size)
    locales = chunk.world.user_locales[users]
    counts = np.where(chunk.chance(0.82), 0, chunk.rng.integers(1, 4, chunk.size))
    return {
        "_id": chunk.object_ids(submitted),
        "review_id": chunk.keys("R"),
        "user_id": chunk.world.users.ids(users),
        "product_id": chunk.world.products.ids(chunk.world.products.draw(chunk.rng, chunk.size)),
        "review_text": chunk.words.local(chunk.words.reviews, locales, chunk.rng),
        "rating": chunk.pick((1, 2, 3, 4, 5), weights=RATING_WEIGHTS),
        "moderation_status": _statuses(chunk, submitted, counts > 0),
        "flags": [list(dict.fromkeys(flags)) for flags in ragged.split(chunk.pick(FLAGS, int(counts.sum())), counts)],
        "submitted_at": dates(submitted),
    }


def _statuses(chunk: Chunk, submitted: Integers, flagged: NDArray[np.bool_]) -> list[str]:
    """Decide what has waited long enough; flagged reviews mostly fail."""
    pending = submitted + chunk.spans(10 * HOUR, 1.2) > chunk.window.end
    rejected = chunk.rng.random(chunk.size) < np.where(flagged, FLAGGED_REJECTED, PLAIN_REJECTED)
    status = np.select([pending, rejected], ["pending", "rejected"], "approved")
    listed: list[str] = status.tolist()
    return listed
