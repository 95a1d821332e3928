"""Recommendations: one document per user, recomputed at night."""

import numpy as np

from generators import ragged
from generators.chunk import Chunk, Columns, dates
from generators.world import DAY, HOUR, MINUTE

ROWS = 5_000
MOST = 20
NEWCOMERS = 0.03  # users of whom nothing is known yet: an empty list


def draw(chunk: Chunk) -> Columns:
    """Draw the recommendations of the users with the rows' numbers."""
    counts = np.where(chunk.chance(NEWCOMERS), 0, chunk.rng.integers(3, MOST + 1, chunk.size))
    products = chunk.world.products.ids(chunk.world.products.draw(chunk.rng, int(counts.sum())))
    nights = np.minimum(chunk.rng.geometric(0.4, chunk.size), 60)
    computed = chunk.window.end - nights * DAY + 3 * HOUR + chunk.rng.integers(0, 40 * MINUTE, chunk.size)
    known = chunk.moments_before()
    return {
        "_id": chunk.object_ids(known),
        "user_id": chunk.world.users.ids(chunk.numbers),
        # A product is recommended once, at its best place.
        "recommended_products": [list(dict.fromkeys(ids)) for ids in ragged.split(products, counts)],
        "last_updated": dates(np.maximum(computed, known)),
    }
