"""Searches: few words, some of them again and again, with filters that depend on the category."""

from typing import Any

import numpy as np

from generators.chunk import Chunk, Columns, dates, rounded
from generators.world import DAY, END

ROWS = 15_000
UNFILTERED = 0.35
CATEGORIES = ("shoes", "kitchen", "books", "garden")
SIZES = ([41, 42], [38], [36, 37, 38], [44, 45])
BRANDS = ("Acme", "Börk", "Éclair", "Иней", "日の出", None)


def draw(chunk: Chunk) -> Columns:
    """Draw searches."""
    typed = chunk.moments()
    users = chunk.world.users.draw(chunk.rng, chunk.size)
    found = chunk.rng.lognormal(3, 1.5, chunk.size).astype(np.int64)
    return {
        "_id": chunk.object_ids(typed),
        "query_id": chunk.keys("Q"),
        "user_id": chunk.world.users.ids(users),
        "query_text": chunk.words.local(chunk.words.queries, chunk.world.user_locales[users], chunk.rng, skew=2.5),
        "timestamp": dates(typed),
        "filters": _filters(chunk),
        "results_count": np.where(chunk.chance(0.06), 0, found).tolist(),
    }


def _filters(chunk: Chunk) -> list[dict[str, Any]]:
    least = chunk.rng.lognormal(3, 0.8, chunk.size)
    rows = zip(
        chunk.chance(UNFILTERED).tolist(),
        chunk.pick(CATEGORIES, weights=(0.4, 0.25, 0.2, 0.15)),
        rounded(least, 2),
        rounded(least * (1 + chunk.rng.random(chunk.size) * 4), 2),
        chunk.pick(BRANDS),
        chunk.chance(0.5).tolist(),
        chunk.pick(SIZES),
        dates(END - chunk.rng.integers(0, 365, chunk.size) * DAY),
        strict=True,
    )
    return [{} if bare else _filter(*row) for bare, *row in rows]


def _filter(
    category: str, low: float, high: float, brand: str | None, flag: bool, sizes: list[int], released: object
) -> dict[str, Any]:
    """Return the filters that a category offers."""
    chosen: dict[str, Any] = {"category": category, "price": {"min": low, "max": high}}
    if category == "shoes":
        chosen |= {"size": sizes, "brand": brand, "in_stock": flag}
    elif category == "books":
        chosen |= {"released_after": released, "author": {"translated": flag, "languages": ["en", "el", "日本語"]}}
    elif category == "kitchen":
        chosen |= {"brand": brand, "energy": {"classes": ["A", "B"], "kwh": low / 10}}
    elif flag:
        chosen["sort"] = [{"by": "price", "descending": True}, {"by": "rating", "descending": False}]
    return chosen
