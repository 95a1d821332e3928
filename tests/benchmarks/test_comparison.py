"""The page of the comparison says what was found, and the values that are looked for are told by type and text."""

from datetime import UTC, datetime

from bson import Decimal128, Int64, ObjectId

from benchmarks import comparison, record, strangers


def test_the_page_is_what_was_found() -> None:
    page = comparison.page(record.read("strangers"))
    assert comparison.PAGE.read_text() == page
    assert page.count("| ours |") == page.count("| dlt |") == 5


def test_values_are_told_by_type_and_text_and_empty_ones_counted() -> None:
    document = {
        "_id": ObjectId("65f000000000000000000001"),
        "n": [1, Int64(2), 2.0, Decimal128("2.50")],
        "t": "2",
        "b": True,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "none": [None, {}, []],
    }
    values, empties = strangers._values_of_documents([document])
    assert empties == 3
    assert values == {
        ("text", "65f000000000000000000001"): 1,
        ("number", "1"): 1,
        ("number", "2"): 2,
        ("number", "2.5"): 1,
        ("text", "2"): 1,
        ("boolean", "true"): 1,
        ("date", "2026-01-01T00:00:00+00:00"): 1,
    }
    assert strangers._of_column("bigint", "2") == strangers._of_column("numeric", "2.00") == ("number", "2")
    assert strangers._of_column("character varying", "2") == ("text", "2")
    assert strangers._of_column("timestamp with time zone", "2026-01-01 01:00:00+01") == (
        "date",
        "2026-01-01T00:00:00+00:00",
    )
