"""Searches: few words, some of them again and again, with filters that depend on the category."""

from typing import Any

import numpy as np

from generators.chunk import Chunk, Columns, dates, rounded
from generators.world import DAY, SECOND, Integers

ROWS = 15_000
UNFILTERED = 0.35
CATEGORIES = ("shoes", "kitchen", "books", "garden")
SIZES = ([41, 42], [38], [36, 37, 38], [44, 45])
FOLLOWED = 0.2  # of the searches with odd numbers: the user of the search before tries again at once
TYPED_ON = 0.25  # of these: the same text, which went on while it was sent
DISAPPOINTED = 0.4  # of these: nothing was found at first
BRANDS = ("Acme", "Börk", "Éclair", "Иней", "日の出", None)


def draw(chunk: Chunk) -> Columns:
    """Draw searches."""
    typed = chunk.moments()
    users = chunk.world.users.draw(chunk.rng, chunk.size)
    found = chunk.rng.lognormal(3, 1.5, chunk.size).astype(np.int64)
    again = np.flatnonzero(chunk.chance(FOLLOWED) & (chunk.numbers % 2 == 1) & (np.arange(chunk.size) > 0))
    users[again] = users[again - 1]
    texts = chunk.words.local(chunk.words.queries, chunk.world.user_locales[users], chunk.rng, skew=2.5)
    results = np.where(chunk.chance(0.06), 0, found)
    _try_again(chunk, again, typed, texts, results)
    return {
        "_id": chunk.object_ids(typed),
        "query_id": chunk.keys("Q"),
        "user_id": chunk.world.users.ids(users),
        "query_text": texts,
        "timestamp": dates(typed),
        "filters": _filters(chunk),
        "results_count": results.tolist(),
    }


def _try_again(chunk: Chunk, again: Integers, typed: Integers, texts: list[str], results: Integers) -> None:
    """Let some searches follow the one before them by seconds or minutes: typed on, or for want of what was found."""
    goes_on = chunk.chance(TYPED_ON, len(again))
    gaps = np.where(goes_on, chunk.spans(3 * SECOND, 0.5, len(again)), chunk.spans(40 * SECOND, 0.8, len(again)))
    typed[again] = np.minimum(typed[again - 1] + gaps, chunk.window.end)
    results[again[chunk.chance(DISAPPOINTED, len(again))] - 1] = 0
    for place in again[goes_on].tolist():
        texts[place - 1] = texts[place][: max(1, len(texts[place]) // 2)].rstrip()


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
        dates(chunk.window.end - chunk.rng.integers(0, 365, chunk.size) * DAY),
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
