"""Events: what services write down differs by the type of the event, in names, depth and types."""

from collections.abc import Callable
from typing import Any

import numpy as np
from bson import Int64
from numpy.typing import NDArray

from generators.chunk import Chunk, Columns, dates, rounded
from generators.world import CURRENCIES, DAY, DAYS, Integers, stream, weighted

ROWS = 40_000
Details = list[dict[str, Any]]
OUTAGES, FAILING = 3, 0.2  # days on which much goes wrong, and the share of what turns into errors then
SERVICES = ("gateway", "catalog", "checkout", "billing", "search")
ERROR_CODES = (17, 500, 502, "E17", "TIMEOUT", None)  # not all services agree on the type
REFERRERS = (None, None, "https://search.example/", "https://social.example/feed", "")
PATHS = ("/", "/search", "/cart", "/checkout", "/help", "/category/toys", "/category/garden")


def draw(chunk: Chunk) -> Columns:
    """Draw events."""
    happened = chunk.moments()
    users = chunk.world.users.draw(chunk.rng, chunk.size)
    types = weighted(chunk.rng, [weight for weight, _ in TYPES.values()], chunk.size)
    types[_fails(chunk, happened)] = list(TYPES).index("error")
    details: Details = [{}] * chunk.size
    for place, (_, write) in enumerate(TYPES.values()):
        rows = np.flatnonzero(types == place)
        for row, written in zip(rows.tolist(), write(chunk, users[rows], happened[rows]), strict=True):
            details[row] = written
    return {
        "_id": chunk.object_ids(happened),
        "event_id": chunk.keys("E"),
        "timestamp": dates(happened),
        "event_type": [list(TYPES)[place] for place in types.tolist()],
        "details": details,
    }


def _fails(chunk: Chunk, happened: Integers) -> NDArray[np.bool_]:
    """Tell what turns into an error: some of what happens on days of an outage, which all chunks agree on."""
    bad_days = stream(chunk.world.seed, "outages").choice(DAYS, OUTAGES, replace=False)
    luck = stream(chunk.world.seed, chunk.entity.collection, "outages", chunk.first).random(chunk.size)
    failing: NDArray[np.bool_] = np.isin((happened - chunk.world.first.start) // DAY, bad_days) & (luck < FAILING)
    return failing


def _records(**columns: list[Any]) -> Details:
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _login(chunk: Chunk, users: Integers, _: Integers) -> Details:
    size = len(users)
    return _records(
        user_id=chunk.world.users.ids(users),
        method=chunk.pick(("password", "sso", "passkey"), size),
        success=chunk.chance(0.93, size).tolist(),
        attempts=chunk.rng.geometric(0.8, size).tolist(),
        ip=chunk.pick(chunk.words.addresses, size),
        user_agent=chunk.pick(chunk.words.user_agents, size),
    )


def _logout(chunk: Chunk, users: Integers, _: Integers) -> Details:
    size = len(users)
    return _records(
        user_id=chunk.world.users.ids(users),
        reason=chunk.pick(("user", "expired", None), size),
        session_seconds=rounded(chunk.rng.lognormal(5.5, 1, size), 3),
    )


def _page_view(chunk: Chunk, users: Integers, _: Integers) -> Details:
    size = len(users)
    return _records(
        user_id=chunk.world.users.ids(users),
        path=chunk.pick(PATHS, size),
        referrer=chunk.pick(REFERRERS, size),
        load_ms=rounded(chunk.rng.lognormal(6, 0.6, size), 1),
        viewport=chunk.pick(([1920, 1080], [1440, 900], [390, 844], [412, 915]), size),
    )


def _purchase(chunk: Chunk, users: Integers, _: Integers) -> Details:
    size = len(users)
    products = chunk.world.products.ids(chunk.world.products.draw(chunk.rng, 2 * size))
    prices = rounded(chunk.rng.lognormal(3.2, 1, 2 * size), 2)
    quantities = chunk.rng.geometric(0.7, 2 * size).tolist()
    items = [
        {"product_id": product, "quantity": quantity, "unit_price": price}
        for product, quantity, price in zip(products, quantities, prices, strict=True)
    ]
    carts = [items[2 * row : 2 * row + (2 if two else 1)] for row, two in enumerate(chunk.chance(0.4, size).tolist())]
    locales = chunk.world.user_locales[users]
    names = chunk.words.local(chunk.words.names, locales, chunk.rng)
    cities = chunk.words.local(chunk.words.cities, locales, chunk.rng)
    return _records(
        user_id=chunk.world.users.ids(users),
        items=carts,
        total=[round(sum(item["quantity"] * item["unit_price"] for item in cart), 2) for cart in carts],
        shipping=[
            {"name": name, "city": city, "express": express}
            for name, city, express in zip(names, cities, chunk.chance(0.2, size).tolist(), strict=True)
        ],
        coupon=chunk.pick((None, None, None, "SPRING26", "ŁÓDŹ10"), size),
        order=chunk.references(size),
    )


def _error(chunk: Chunk, users: Integers, _: Integers) -> Details:
    size = len(users)
    retries = chunk.rng.integers(0, 4, size).tolist()
    return _records(
        service=chunk.pick(SERVICES, size),
        code=chunk.pick(ERROR_CODES, size),
        message=chunk.pick(("timeout after 30 s", 'unexpected token "<"', "connection reset\n\tby peer"), size),
        stack=chunk.pick(([], ["main.py:12"], ["main.py:12", "cart.py:88", "db.py:7"]), size),
        context=[
            {"retry": retry, "final": retry == 3, "memory": {"used_bytes": Int64(used), "limit": None}}
            for retry, used in zip(retries, chunk.rng.integers(2**20, 2**55, size).tolist(), strict=True)
        ],
    )


def _payment(chunk: Chunk, users: Integers, happened: Integers) -> Details:
    size = len(users)
    scores = rounded(chunk.rng.beta(1.2, 9, size), 6)
    rules = chunk.pick(([], [], ["velocity"], ["country", "velocity"]), size)
    return _records(
        user_id=chunk.world.users.ids(users),
        amount=rounded(chunk.rng.lognormal(3.5, 1, size), 2),
        currency=chunk.pick(list(CURRENCIES), size, list(CURRENCIES.values())),
        captured_at=dates(np.minimum(happened + chunk.spans(2_000, 0.7, size), chunk.window.end)),
        approved=chunk.chance(0.96, size).tolist(),
        risk=[{"score": score, "rules": rule} for score, rule in zip(scores, rules, strict=True)],
    )


def _signup(chunk: Chunk, users: Integers, happened: Integers) -> Details:
    size = len(users)
    locales = chunk.world.user_locales[users]
    signups = _records(
        user_id=chunk.world.users.ids(users),
        name=chunk.words.local(chunk.words.names, locales, chunk.rng),
        city=chunk.words.local(chunk.words.cities, locales, chunk.rng),
        birthday=dates(happened // DAY * DAY - chunk.rng.integers(18 * 365, 80 * 365, size) * DAY),
        newsletter=chunk.pick((True, False, None), size),
        position=[list(pair) for pair in zip(*(rounded(chunk.rng.normal(0, 30, size), 4) for _ in "xy"), strict=True)],
        campaign=chunk.pick(({}, {"source": "mail", "tags": ["spring", "новый"]}), size),
    )
    for signup, known in zip(signups, chunk.chance(0.8, size).tolist(), strict=True):
        if not known:
            del signup["position"]
    return signups


# How often each type happens, and what is written down then.
TYPES: dict[str, tuple[float, Callable[[Chunk, Integers, Integers], Details]]] = {
    "login": (0.14, _login),
    "logout": (0.1, _logout),
    "page_view": (0.54, _page_view),
    "purchase": (0.07, _purchase),
    "error": (0.05, _error),
    "payment": (0.07, _payment),
    "signup": (0.03, _signup),
}
