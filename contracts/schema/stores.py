"""What each store can hold exactly: of several stores, what all of them can."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

POSTGRES, CLICKHOUSE = "postgres", "clickhouse"
STORES = (POSTGRES, CLICKHOUSE)


@dataclass(frozen=True)
class Limits:
    """What can be held.

    Attributes:
        first_ms: The earliest moment, in milliseconds since 1970.
        last_ms: The latest one.
        range_of: The store whose range that is.
        has_nul: Whether texts may have a NUL.
        key_bytes: Bytes that a key may have; None for any number.
    """

    first_ms: int
    last_ms: int
    range_of: str
    has_nul: bool
    key_bytes: int | None


KEY_BYTES = 2_600  # which is what an entry of PostgreSQL's b-trees holds, with room for the positions of items
# PostgreSQL: from 4713 BC by the Julian calendar, as far as microseconds have 64 bits.
_POSTGRES = Limits(-210_863_520_000_000, 9_223_371_331_199_999, POSTGRES, has_nul=False, key_bytes=KEY_BYTES)
# ClickHouse: DateTime64 and Date32 are defined for the years 1900 to 2299 only.
_CLICKHOUSE = Limits(-2_208_988_800_000, 10_413_791_999_999, CLICKHOUSE, has_nul=True, key_bytes=None)


@cache
def limits_of(stores: Iterable[str] = STORES) -> Limits:
    """Return what all of some stores can hold.

    Args:
        stores: Their names, as a tuple.
    """
    known = {POSTGRES: _POSTGRES, CLICKHOUSE: _CLICKHOUSE}
    chosen = [known[name] for name in stores]
    narrowest = min(chosen, key=lambda one: one.last_ms)
    return Limits(
        max(one.first_ms for one in chosen),
        narrowest.last_ms,
        narrowest.range_of,
        all(one.has_nul for one in chosen),
        min((one.key_bytes for one in chosen if one.key_bytes is not None), default=None),
    )
