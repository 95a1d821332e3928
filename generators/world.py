"""Who and what exists, and when things happen: shared by all collections, so that their ids meet."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.schema.entity import Entity

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SECOND = 1_000  # all moments are milliseconds since 1970, in UTC
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
DAYS = 180
BEFORE = 730 * DAY  # users and products came into being during the two years before the first window
END = int(datetime(2026, 6, 30, tzinfo=UTC).timestamp()) * SECOND  # fixed: generators have no clock
START = END - DAYS * DAY


class Window(NamedTuple):
    """A stretch of the world's time.

    Attributes:
        start: Its first moment.
        end: The moment after which nothing has happened yet.
    """

    start: int
    end: int


FIRST = Window(START, END)  # what the world begins with

LOCALES = {
    "en_US": 0.34,
    "de_DE": 0.14,
    "fr_FR": 0.10,
    "es_ES": 0.10,
    "pl_PL": 0.08,
    "ru_RU": 0.05,
    "el_GR": 0.04,
    "ar_AA": 0.05,
    "ja_JP": 0.06,
    "zh_CN": 0.04,
}
CURRENCIES = {"EUR": 0.45, "USD": 0.25, "GBP": 0.1, "JPY": 0.08, "PLN": 0.07, "BRL": 0.05}

PEOPLE_AND_GOODS = ("user_id", "product_id")  # keys of collections with one document for each of them
ROWS_PER_USER = 20
ROWS_PER_PRODUCT = 25
FEWEST = 50
# Spread of ln(activity). At 1.3 the busiest tenth of the users makes about half of the traffic; goods are more unequal.
USER_SPREAD, PRODUCT_SPREAD = 1.3, 1.6

# Traffic by UTC hour and by weekday (Monday first), relative to each other.
_HOURS = (10, 6, 4, 3, 3, 4, 8, 16, 28, 38, 42, 44, 46, 44, 42, 42, 44, 48, 54, 60, 62, 52, 36, 20)
_WEEKDAYS = (1.0, 1.04, 1.06, 1.02, 0.94, 0.76, 0.82)
GROWTH = 1.4  # traffic at the end of the first window, relative to its beginning
_FIRST_WEEKDAY = 3  # of 1970: a Thursday


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random numbers that belong to a name: independent of every other name's, whatever the order of use."""
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


class Population:
    """Numbered individuals of unequal activity, whose ids are a letter and the number.

    A larger population with the same seed begins with the same individuals.
    """

    def __init__(self, seed: int, letter: str, size: int, spread: float) -> None:
        self.letter = letter
        self.size = size
        self._cumulated = np.cumsum(stream(seed, letter, "activity").lognormal(0, spread, size))

    def draw(self, rng: np.random.Generator, size: int) -> Integers:
        """Draw individuals by their activity: a few of them very often, most of them seldom."""
        drawn: Integers = np.searchsorted(self._cumulated, rng.random(size) * self._cumulated[-1], side="right")
        return np.minimum(drawn, self.size - 1)

    def ids(self, numbers: Integers) -> list[str]:
        """Return the ids of individuals."""
        letter = self.letter
        return [f"{letter}{number:07d}" for number in numbers.tolist()]


@dataclass(frozen=True)
class World:
    """The users and products of one seed.

    Attributes:
        seed: Decides everything; not negative.
        user_count: How many users exist.
        product_count: How many products exist.
        end: The end of its first window, in which it begins.
    """

    seed: int
    user_count: int
    product_count: int
    end: int = END

    @classmethod
    def sized(cls, entities: Mapping[str, Entity], rows: Mapping[str, int], seed: int, end: int = END) -> "World":
        """Return a world that is large enough for the rows to be made.

        The populations grow with the volume, and a collection with one document per user or product has enough of them.

        Args:
            entities: The contracts by collection.
            rows: Documents to make per collection.
            seed: Decides everything; not negative.
            end: The end of its first window.
        """
        total = sum(rows.values())
        return cls(
            seed,
            user_count=max(FEWEST, total // ROWS_PER_USER, _keyed(entities, rows, "user_id")),
            product_count=max(FEWEST, total // ROWS_PER_PRODUCT, _keyed(entities, rows, "product_id")),
            end=end,
        )

    @property
    def first(self) -> Window:
        """The window that it begins with."""
        return Window(self.end - DAYS * DAY, self.end)

    def at(self, moment: int) -> "World":
        """Return the world as large as it has grown by a later moment."""
        users, products = (self._came(size, moment) for size in (self.user_count, self.product_count))
        return replace(self, user_count=users, product_count=products)

    def grown(self, entity: Entity, rows: int, moment: int) -> int:
        """Return how many documents a collection has made by a later moment that had so many at the first window's end.

        One document per user or product follows these; all else goes on as it went in the last days before.
        """
        if entity.key in PEOPLE_AND_GOODS:
            return self._came(rows, moment)
        return rows + round(rows * GROWTH * _traffic(self.end, moment) / _traffic(*self.first, growth=GROWTH))

    def _came(self, size: int, moment: int) -> int:
        return size + size * (moment - self.end) // BEFORE

    @cached_property
    def users(self) -> Population:
        """Who acts."""
        return Population(self.seed, "U", self.user_count, USER_SPREAD)

    @cached_property
    def products(self) -> Population:
        """What is sold."""
        return Population(self.seed, "P", self.product_count, PRODUCT_SPREAD)

    @cached_property
    def user_locales(self) -> NDArray[np.uint8]:
        """Number of each user's locale in ``LOCALES``."""
        return weighted(stream(self.seed, "locale"), list(LOCALES.values()), self.user_count).astype(np.uint8)

    @cached_property
    def user_tastes(self) -> NDArray[np.uint8]:
        """A number from 0 to 255 that stays with a user, such as for the device of choice."""
        return stream(self.seed, "taste").integers(0, 256, self.user_count, dtype=np.uint8)

    @cached_property
    def product_currencies(self) -> NDArray[np.uint8]:
        """Number of each product's currency in ``CURRENCIES``."""
        return weighted(stream(self.seed, "currency"), list(CURRENCIES.values()), self.product_count).astype(np.uint8)


def weighted(rng: np.random.Generator, weights: list[float], size: int) -> Integers:
    """Draw places in a list of weights, each as often as it weighs."""
    cumulated = np.cumsum(weights)
    drawn: Integers = np.searchsorted(cumulated[:-1], rng.random(size) * cumulated[-1], side="right")
    return drawn


def moments(shares: Floats, window: Window = FIRST, growth: float = GROWTH) -> Integers:
    """Return the moments by which given shares (0 to 1) of a window's whole traffic have happened."""
    edges, cumulated = _rhythm(window, growth)
    return np.interp(shares, cumulated, edges).astype(np.int64)


def _keyed(entities: Mapping[str, Entity], rows: Mapping[str, int], key: str) -> int:
    return max((count for name, count in rows.items() if entities[name].key == key), default=0)


def _traffic(start: int, end: int, growth: float = 1) -> float:
    """Return how much happens in a stretch of time, the rest of its last hour included by its share."""
    hours = -(-(end - start) // HOUR)
    if not hours:
        return 0.0
    traffic = _hourly(start, hours) * np.linspace(1, growth, hours)
    return float(traffic.sum() - traffic[-1] * (hours - (end - start) / HOUR))


def _hourly(start: int, hours: int) -> Floats:
    numbers = np.arange(hours) + start // HOUR
    traffic: Floats = np.array(_HOURS)[numbers % 24] * np.array(_WEEKDAYS)[(numbers // 24 + _FIRST_WEEKDAY) % 7]
    return traffic


@cache
def _rhythm(window: Window, growth: float) -> tuple[Floats, Floats]:
    """Return the hours' edges and the share of the traffic before each."""
    edges = np.append(np.arange(window.start, window.end, HOUR), window.end).astype(np.float64)
    hours = len(edges) - 1
    cumulated = np.concatenate([[0.0], np.cumsum(_hourly(window.start, hours) * np.linspace(1, growth, hours))])
    return edges, cumulated / cumulated[-1]
