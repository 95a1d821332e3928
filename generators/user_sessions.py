"""Visits: pages one after the other, actions on them, and an end that is the sum of the time spent."""

import numpy as np

from generators import ragged
from generators.chunk import Chunk, Columns, dates
from generators.world import SECOND, Integers, weighted

ROWS = 25_000
DEVICES = [
    {"type": kind, "os": system, "browser": browser}
    for kind, system, browsers in (
        ("desktop", "Windows", ("Chrome", "Edge", "Firefox", "Opera")),
        ("desktop", "macOS", ("Safari", "Chrome", "Firefox")),
        ("desktop", "Linux", ("Firefox", "Chrome")),
        ("mobile", "Android", ("Chrome", "Chrome", "Firefox", "Opera")),
        ("mobile", "iOS", ("Safari", "Safari", "Safari", "Chrome")),
        ("tablet", "iOS", ("Safari", "Chrome")),
        ("tablet", "Android", ("Chrome",)),
    )
    for browser in browsers
]
LOYALTY = 0.8  # how often a user visits with the device of choice

PAGES = ("/", "/search", "/category/garden", "/category/kitchen", "/category/toys", "/cart", "/checkout", "/help")
PAGE_WEIGHTS = (22, 14, 7, 7, 6, 5, 3, 2, 34)  # the last one: a product's page
PRODUCT_PAGE = len(PAGES)
SEARCH, CART, CHECKOUT = PAGES.index("/search"), PAGES.index("/cart"), PAGES.index("/checkout")
MOST_PAGES, MOST_ACTIONS = 40, 3  # actions: per page
LOST = 0.002  # visits whose end was never reported


def draw(chunk: Chunk) -> Columns:
    """Draw visits; what would happen after the end of the world's window has not happened yet."""
    starts = chunk.moments()
    users = chunk.world.users.draw(chunk.rng, chunk.size)
    counts = chunk.counts(4.0, MOST_PAGES, least=1)
    gaps = chunk.spans(35 * SECOND, 1.0, int(counts.sum()))
    left = np.repeat(starts, counts) + ragged.running_totals(gaps, counts)
    reached = left - gaps
    kinds = weighted(chunk.rng, list(PAGE_WEIGHTS), len(gaps))
    products = np.where(kinds == PRODUCT_PAGE, chunk.world.products.draw(chunk.rng, len(gaps)), -1)
    ends = left[np.cumsum(counts) - 1]
    seen = reached <= chunk.window.end
    pages = [page for page, shown in zip(_paths(chunk, kinds, products), seen.tolist(), strict=True) if shown]
    return {
        "_id": chunk.object_ids(starts),
        "session_id": chunk.keys("S"),
        "user_id": chunk.world.users.ids(users),
        "start_time": dates(starts),
        "end_time": dates(ends, missing=(ends > chunk.window.end) | chunk.chance(LOST)),
        "pages_visited": ragged.split(pages, ragged.kept_counts(counts, seen)),
        "device": _devices(chunk, users),
        "actions": _actions(chunk, counts, kinds, products, reached, gaps),
    }


def _devices(chunk: Chunk, users: Integers) -> list[dict[str, str]]:
    own = chunk.world.user_tastes[users].astype(np.int64) % len(DEVICES)
    other = chunk.rng.integers(0, len(DEVICES), chunk.size)
    return [DEVICES[place] for place in np.where(chunk.chance(LOYALTY), own, other).tolist()]


def _paths(chunk: Chunk, kinds: Integers, products: Integers) -> list[str]:
    shown = iter(chunk.world.products.ids(products[products >= 0]))
    return [f"/product/{next(shown)}" if kind == PRODUCT_PAGE else PAGES[kind] for kind in kinds.tolist()]


def _actions(
    chunk: Chunk, counts: Integers, kinds: Integers, products: Integers, reached: Integers, gaps: Integers
) -> list[list[dict[str, object]]]:
    """Draw some actions on each page, in order, while the user is on it."""
    per_page = np.minimum(chunk.rng.geometric(0.6, len(gaps)) - 1, MOST_ACTIONS)
    page = ragged.owners(per_page)
    shares = (ragged.positions(per_page) + chunk.rng.random(len(page))) / per_page[page]
    times = reached[page] + (gaps[page] * shares).astype(np.int64)
    happened = times <= chunk.window.end
    page, times = page[happened], times[happened]
    counts_left = np.bincount(ragged.owners(counts)[page], minlength=chunk.size)
    types = _action_types(chunk, kinds[page])
    ids = iter(chunk.world.products.ids(products[page][products[page] >= 0]))
    targets = [next(ids) if kind == PRODUCT_PAGE else PAGES[kind] for kind in kinds[page].tolist()]
    items = [
        {"type": kind, "target": target, "at": at}
        for kind, target, at in zip(types, targets, dates(times), strict=True)
    ]
    return ragged.split(items, counts_left)


def _action_types(chunk: Chunk, kinds: Integers) -> list[str]:
    names = np.array(["view", "click", "scroll", "search", "add_to_cart", "purchase"], dtype=object)
    luck = chunk.rng.random(len(kinds))
    usual = np.select([luck < 0.4, luck < 0.75], [0, 1], 2)
    product = np.select([luck < 0.5, luck < 0.65, luck < 0.85], [0, 1, 2], 4)
    chosen = np.select(
        [kinds == PRODUCT_PAGE, kinds == SEARCH, (kinds == CHECKOUT) & (luck < 0.6)], [product, 3, 5], usual
    )
    listed: list[str] = names[chosen].tolist()
    return listed
