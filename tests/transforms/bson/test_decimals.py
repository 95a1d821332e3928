"""Decimal128 as Arrow decimals, against bson's own reading of the same 16 bytes."""

from decimal import Context, Decimal

import pyarrow as pa
import pytest
from bson import Decimal128
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from transforms.bson.decimals import decimal128_array

WIDE = Context(prec=10_000, Emin=-20_000, Emax=20_000)


def storage(*values: bytes | None) -> pa.FixedSizeBinaryArray:
    return pa.array(values, pa.binary(16))


def bid(text: str) -> bytes:
    return Decimal128(text).bid


def made(negative: bool, coefficient: int, exponent: int) -> bytes:
    """Return the 16 bytes of a number, also of forms that no one normally writes."""
    number = (int(negative) << 127) | ((exponent + 6176) << 113) | coefficient
    return number.to_bytes(16, "little")


def expected(value: bytes, precision: int, scale: int) -> Decimal | None:
    """Return what the column must hold, or None if it can't; by bson's decoder and wide arithmetic."""
    number = Decimal128.from_bid(value).to_decimal()
    if not number.is_finite():
        return None
    unscaled = WIDE.scaleb(number, scale)
    if unscaled != unscaled.to_integral_value(context=WIDE) or unscaled.copy_abs() >= 10**precision:
        return None
    return number


SCALES = st.sampled_from([(12, 2), (34, 10), (34, 34), (1, 0), (1, 1), (18, 0), (18, 18), (19, 2), (34, 0), (5, 3)])
NUMBERS = st.builds(
    made,
    st.booleans(),
    st.one_of(st.integers(0, 10**34 - 1), st.integers(0, 2000), st.integers(0, 10**19), st.just(0)),
    st.one_of(st.integers(-6176, 6111), st.integers(-12, 4)),
)


@settings(deadline=None, max_examples=examples(500))
@given(NUMBERS | st.binary(min_size=16, max_size=16), SCALES)
@example(bid("-0"), (12, 2))
@example(bid("0E+6111"), (12, 2))
@example(bid("0E-6176"), (12, 2))
@example(bid("1E-6176"), (12, 2))
@example(bid("9.999999999999999999999999999999999E+6144"), (34, 0))
@example(bid("9999999999.99"), (12, 2))
@example(bid("-9999999999.99"), (12, 2))
@example(bid("10000000000.00"), (12, 2))
@example(bid("123456789012345.00"), (12, 2))
@example(bid("1E+9"), (12, 2))
@example(bid("1E+10"), (12, 2))
@example(bid("1.0000000000000000000000000000"), (12, 2))
@example(bid("1.001"), (12, 2))
@example(bid("NaN"), (12, 2))
@example(bid("sNaN"), (12, 2))
@example(bid("-Infinity"), (12, 2))
@example(made(False, 10**18 - 1, -2), (34, 2))
@example(made(False, 10**18, -2), (34, 2))
@example(made(True, 2**64 - 1, -2), (34, 2))
@example(made(True, 2**64, -2), (34, 2))
@example(made(False, 2**113 - 1, -2), (34, 2))  # more than 34 digits: IEEE 754 reads it as zero
@example((0b11 << 125 | 5).to_bytes(16, "little"), (12, 2))  # the other form of a coefficient
@example((0b11 << 125 | (6174 << 111) | 5).to_bytes(16, "little"), (12, 2))
def test_a_number_is_exact_or_refused(value: bytes, digits: tuple[int, int]) -> None:
    wanted = expected(value, *digits)
    if wanted is None:
        with pytest.raises(ValueError, match=r"more digits|no number"):
            decimal128_array(storage(value), *digits)
        return
    found = decimal128_array(storage(value), *digits)
    assert found.type == pa.decimal128(*digits)
    (number,) = found.to_pylist()
    assert number == wanted
    assert number.as_tuple().exponent == -digits[1]
    found.validate(full=True)


@settings(deadline=None, max_examples=examples(200))
@given(
    st.lists(st.none() | st.integers(-(10**12) + 1, 10**12 - 1), max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
    st.booleans(),
)
def test_slices_and_nulls_keep_their_places(
    units: list[int | None], start: int, length: int, one_is_unusual: bool
) -> None:
    values = [None if unit is None else made(unit < 0, abs(unit), -2) for unit in units]
    numbers = [None if unit is None else Decimal(unit).scaleb(-2) for unit in units]
    if one_is_unusual:  # sends the array another way
        values, numbers = [*values, bid("1E+2")], [*numbers, Decimal(100)]
    array = storage(*values).slice(min(start, len(values)), length)
    found = decimal128_array(array, 12, 2)
    assert found.to_pylist() == numbers[start : start + length]
    assert len(found) == len(array)


@pytest.mark.parametrize("values", [(), (None,), (None, None, None)])
def test_nothing_stays_nothing(values: tuple[None, ...]) -> None:
    found = decimal128_array(storage(*values), 12, 2)
    assert found.to_pylist() == list(values)
    assert found.type == pa.decimal128(12, 2)


def test_what_is_under_a_null_does_not_matter() -> None:
    garbage = pa.py_buffer(bid("NaN") + bid("1.00") + b"\xff" * 16)
    array = pa.Array.from_buffers(pa.binary(16), 3, [pa.py_buffer(b"\x02"), garbage])
    assert decimal128_array(array, 12, 2).to_pylist() == [None, Decimal("1.00"), None]


def test_one_bad_value_among_many_is_told() -> None:
    many = [bid(f"{number}.00") for number in range(1000)]
    with pytest.raises(ValueError, match=r"0\.001 has more digits than decimal\(12, 2\) holds"):
        decimal128_array(storage(*many, bid("0.001")), 12, 2)
