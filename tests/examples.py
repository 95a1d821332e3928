"""How many examples Hypothesis tries of what is dearer or cheaper than most."""

import hypothesis


def examples(by_day: int) -> int:
    """Return so many by day, and by night as many times more as the profile tries of all else (tests/conftest.py).

    A number that is written down would be the same under each profile.
    """
    return by_day * hypothesis.settings().max_examples // 100
