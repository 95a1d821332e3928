"""Everything people read, written by Faker once per seed; rows then only pick from it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from faker import Faker
from numpy.typing import NDArray

from generators.world import LOCALES

PHRASES = 200  # per locale: enough to look varied, built for all locales in a quarter of a second
EMOJI = ("", "", "", "", " 👍", " 🙏", " 😡", " 🎉")


@dataclass(frozen=True)
class Vocabulary:
    """Texts to pick from.

    The first six lists hold ``PHRASES`` texts for each of ``LOCALES``, in that order; the others know no locale.
    """

    names: list[str]
    cities: list[str]
    queries: list[str]
    questions: list[str]
    answers: list[str]
    reviews: list[str]
    user_agents: list[str]
    addresses: list[str]

    def local(
        self, phrases: list[str], locales: NDArray[np.uint8], rng: np.random.Generator, *, skew: float = 1.0
    ) -> list[str]:
        """Pick one phrase per locale number; a ``skew`` above 1 prefers the first phrases of each locale."""
        places = (PHRASES * rng.random(len(locales)) ** skew).astype(np.int64)
        return [phrases[place] for place in (locales.astype(np.int64) * PHRASES + places).tolist()]


@cache
def vocabulary(seed: int) -> Vocabulary:
    """Return the texts of a seed."""
    fakers = [_faker(locale, seed) for locale in LOCALES]
    anywhere = fakers[0]
    return Vocabulary(
        names=[faker.name() for faker in fakers for _ in range(PHRASES)],
        cities=[faker.city() for faker in fakers for _ in range(PHRASES)],
        queries=[_query(faker) for faker in fakers for _ in range(PHRASES)],
        questions=[faker.paragraph(nb_sentences=2) for faker in fakers for _ in range(PHRASES)],
        answers=[f"{faker.first_name()}: {faker.sentence(nb_words=10)}" for faker in fakers for _ in range(PHRASES)],
        reviews=[_review(faker) for faker in fakers for _ in range(PHRASES)],
        user_agents=[anywhere.user_agent() for _ in range(PHRASES)],
        addresses=[anywhere.ipv6() if anywhere.boolean(30) else anywhere.ipv4() for _ in range(PHRASES)],
    )


def _faker(locale: str, seed: int) -> Faker:
    faker = Faker(locale)
    faker.seed_instance(seed)
    return faker


def _query(faker: Faker) -> str:
    return " ".join(faker.words(nb=faker.random_int(1, 3)))


def _review(faker: Faker) -> str:
    ending = faker.random_element(EMOJI)
    return f"{faker.paragraph(nb_sentences=faker.random_int(1, 4))}{ending}"
