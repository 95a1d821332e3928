"""Prices: a walk in steps of some per cent that ends in the current price; one document per product."""

import numpy as np

from generators import ragged
from generators.chunk import Chunk, Columns, dates, decimals
from generators.world import CURRENCIES, DAY, Floats, Integers

ROWS = 4_000
MOST_CHANGES = 30
CHANGED_A_DAY = 0.011  # how likely a price is to change: as often as those of the first window do
STEP, AS_SHOPS_LIKE = 0.06, 0.75  # by how much a price moves mostly, and how many end in 99
CENTS = 2  # digits after the point, for all currencies, also yen
DEAREST = 5_000_000  # cents
UNITS_PER_EURO = {"EUR": 1.0, "USD": 1.1, "GBP": 0.85, "JPY": 170.0, "PLN": 4.3, "BRL": 6.2}


def draw(chunk: Chunk) -> Columns:
    """Draw the prices of the products with the rows' numbers, oldest first."""
    launched = chunk.moments_before()
    days = (chunk.window.end - chunk.window.start) / DAY
    changes = 5.0 if chunk.is_first else CHANGED_A_DAY * days / 2  # of a later window's products half of it is past
    counts = chunk.counts(1 + changes, MOST_CHANGES, least=1)
    places = chunk.world.product_currencies[chunk.numbers % chunk.world.product_count]
    currencies = [list(CURRENCIES)[place] for place in places.tolist()]
    rates = np.array([UNITS_PER_EURO[currency] for currency in currencies])
    prices = _prices(chunk, counts, rates)
    last = prices[np.cumsum(counts) - 1]
    items = [
        {"changed_at": moment, "price": price}
        for moment, price in zip(dates(_changes(chunk, launched, counts)), decimals(prices, CENTS), strict=True)
    ]
    return {
        "_id": chunk.object_ids(launched),
        "product_id": chunk.world.products.ids(chunk.numbers),
        "price_changes": ragged.split(items, counts),
        "current_price": decimals(last, CENTS),
        "currency": currencies,
    }


def _prices(chunk: Chunk, counts: Integers, rates: Floats) -> Integers:
    """Return cents: the first price, then steps, most of them ending in 99 as shops like it."""
    first = np.log(2_500) + chunk.rng.normal(0, 1.1, chunk.size)
    steps = (chunk.rng.normal(0, STEP, int(counts.sum())) * 1e6).astype(np.int64)
    walk = ragged.running_totals(np.where(ragged.positions(counts) == 0, 0, steps), counts) / 1e6
    owners = ragged.owners(counts)
    cents = np.minimum(np.exp(first[owners] + walk), DEAREST) * rates[owners]
    rounded: Integers = np.maximum(cents, 1).astype(np.int64)
    return np.where(chunk.chance(AS_SHOPS_LIKE, len(rounded)), rounded // 100 * 100 + 99, rounded)


def _changes(chunk: Chunk, launched: Integers, counts: Integers) -> Integers:
    """Return when each price began: the first at the launch, the others between it and the end, in order."""
    owners = ragged.owners(counts)
    weights = chunk.rng.exponential(1.0, len(owners)) + 0.01
    parts = (weights * 1e6).astype(np.int64)
    passed = ragged.running_totals(parts, counts) - parts
    whole = np.bincount(owners, weights=parts)
    moments: Integers = launched[owners] + (passed / whole[owners] * (chunk.window.end - launched[owners])).astype(
        np.int64
    )
    return moments
