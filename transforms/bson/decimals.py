"""Exact decimals: BSON's Decimal128 (IEEE 754-2008, binary integer encoding) as Arrow decimal128."""

from decimal import Decimal
from typing import Any

import bson
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_EXPONENT_BIAS = 6176
_COEFFICIENT_BITS = np.uint64((1 << 49) - 1)
_INT64_DIGITS = 18


def decimal128_array(storage: pa.FixedSizeBinaryArray, precision: int, scale: int) -> pa.Decimal128Array:
    """Convert an array of 16-byte Decimal128 values, exactly.

    Args:
        storage: The values as MongoDB stores them, little-endian; nulls stay null.
        precision: Digits of the result.
        scale: Digits after the point of the result. Every value must be representable with it.

    Returns:
        An Arrow array of ``decimal128(precision, scale)``.

    Raises:
        ValueError: A value has more digits than the result holds.
    """
    if not len(storage):
        return pa.array([], pa.decimal128(precision, scale))
    filled = storage.cast(pa.binary(16)).fill_null(bytes(16))
    words = np.frombuffer(filled.buffers()[1], "<u8").reshape(-1, 2)[filled.offset : filled.offset + len(filled)]
    low, high = words[:, 0], words[:, 1]
    exponent = ((high >> np.uint64(49)) & np.uint64(0x3FFF)).astype(np.int64) - _EXPONENT_BIAS
    # Most amounts of money are small and carry the declared number of digits: those need no arithmetic at all.
    largest = np.uint64(10 ** min(precision, _INT64_DIGITS))
    simple = (exponent == -scale) & ((high & _COEFFICIENT_BITS) == 0) & (low < largest)
    simple &= (high >> np.uint64(61)) & np.uint64(3) != 3
    unscaled = np.where(simple, low, 0).astype(np.int64)
    unscaled = np.where(high >> np.uint64(63) == 1, -unscaled, unscaled)
    fast = _from_int64(unscaled, precision, scale)
    valid = np.asarray(storage.is_valid())
    if not bool((simple | ~valid).all()):
        return _one_by_one(storage, precision, scale)
    return pc.if_else(pa.array(valid), fast, pa.scalar(None, fast.type)) if storage.null_count else fast


def are_plain(words: npt.NDArray[np.uint64], precision: int, scale: int) -> npt.NDArray[np.bool_]:
    """Tell which values are beyond doubt numbers of so many digits, so many of them after the point.

    Args:
        words: The lower and the higher half of each Decimal128.
        precision: Digits that a value may have.
        scale: Digits of these after the point.
    """
    low, high = words[:, 0], words[:, 1]
    # The digits as they would be with all of the scale; what is written with more of them is a matter of doubt.
    spare = ((high >> np.uint64(49)) & np.uint64(0x3FFF)).astype(np.int64) - _EXPONENT_BIAS + scale
    limits = [10 ** min(max(precision - digits, 0), _INT64_DIGITS) for digits in range(scale + 1)]
    largest = np.array(limits, np.uint64)[spare.clip(0, scale)]
    plain: npt.NDArray[np.bool_] = (spare >= 0) & (spare <= scale) & ((high & _COEFFICIENT_BITS) == 0) & (low < largest)
    plain &= (high >> np.uint64(61)) & np.uint64(3) != 3
    return plain


def _from_int64(unscaled: npt.NDArray[np.int64], precision: int, scale: int) -> pa.Decimal128Array:
    pairs = np.empty((len(unscaled), 2), dtype="<i8")
    pairs[:, 0], pairs[:, 1] = unscaled, unscaled >> 63
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(unscaled), [None, pa.py_buffer(pairs)])


def _one_by_one(storage: pa.FixedSizeBinaryArray, precision: int, scale: int) -> pa.Decimal128Array:
    values: list[Decimal | None] = [_decimal(value, precision, scale) for value in storage.to_pylist()]
    return pa.array(values, pa.decimal128(precision, scale))


def _decimal(value: Any, precision: int, scale: int) -> Decimal | None:
    if value is None:
        return None
    number = bson.Decimal128.from_bid(value).to_decimal()
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{number} is no number that decimal({precision}, {scale}) holds")
    # The coefficient as an integer at the wanted scale; plain integers keep clear of the decimal context's rounding.
    unscaled = int("".join(map(str, digits)) or "0")
    shift = exponent + scale
    scaled, rest = (
        (0, 0) if unscaled == 0 else (unscaled * 10**shift, 0) if shift >= 0 else divmod(unscaled, 10**-shift)
    )
    if rest or scaled >= 10**precision:
        raise ValueError(f"{number} has more digits than decimal({precision}, {scale}) holds")
    return Decimal((sign, tuple(map(int, str(scaled))), -scale))
