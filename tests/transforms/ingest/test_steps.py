"""Documents made to take long: the work on one grows with its size, not with the square of it."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import ObjectId

from contracts.schema.registry import entities
from transforms.ingest.batch import transform_batch
from transforms.ingest.slow_path import transform_slowly
from transforms.oracle.expected import expected_frames
from transforms.violations import FURTHER, KEPT, Violation, json_pointer, limit_violations

TICKETS, EVENTS = entities()["SupportTickets"], entities()["EventLogs"]
AT = datetime(2024, 5, 1, tzinfo=UTC)
TICKET = {"_id": ObjectId("65f0c0ffee65f0c0ffee65f0"), "ticket_id": "T", "user_id": "U", "status": "open"}
TICKET |= {"issue_type": "bug", "messages": [], "created_at": AT, "updated_at": AT}
MESSAGE = {"sender": "user", "text": "m", "sent_at": AT}
LONG = "n" * 100_000


def ticket(**changes: Any) -> bytes:
    return bson.encode(TICKET | changes)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "items that are no documents": lambda n: ticket(messages=[1] * n),
    "every second one": lambda n: ticket(messages=[MESSAGE, 1] * (n // 2)),
    "items of wrong types": lambda n: ticket(messages=[MESSAGE | {"text": 4}] * n),
    "items that break a rule": lambda n: ticket(messages=[MESSAGE | {"sender": "nobody"}] * n),
    "items without all fields": lambda n: ticket(messages=[{}] * n),
    "undeclared fields": lambda n: ticket(**{f"f{number}": number for number in range(n)}),
    "undeclared fields of items": lambda n: ticket(messages=[MESSAGE | {f"f{number}": 1} for number in range(n)]),
    "undeclared fields that are refused": lambda n: ticket(more={f"${number}": number for number in range(n)}),
    "a long name": lambda n: ticket(**{LONG: {f"${number}": number for number in range(n)}}),
    "items of items": lambda n: ticket(more=[[{"$x": -0.0}]] * n),
    "references": lambda n: ticket(more=[{"$ref": "c", "$id": 1}] * n),
}


def steps(work: Callable[[], object]) -> int:
    """Count the calls of functions, those of C included, that some work takes."""
    work()  # what is made once, such as schemas, is not counted
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("name", HOSTILE)
def test_the_steps_grow_with_the_document(name: str) -> None:
    small, middle, large = (steps(lambda n=n: transform_slowly([HOSTILE[name](n)], TICKETS)) for n in (400, 800, 1_600))
    assert large - middle < 3 * (middle - small) + 1_000  # twice as many, and of its square four times


@pytest.mark.parametrize("name", HOSTILE)
def test_the_steps_of_the_proof_do_as_well(name: str) -> None:
    small, middle, large = (steps(lambda n=n: expected_frames([HOSTILE[name](n)], TICKETS)) for n in (400, 800, 1_600))
    assert large - middle < 3 * (middle - small) + 1_000


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hundred_reasons_are_kept_and_the_others_counted(name: str) -> None:
    for one in transform_slowly([HOSTILE[name](1_000)], TICKETS).refused:
        *first, last = one.reasons
        assert len(first) == KEPT and all(reason.rule != FURTHER for reason in first)
        assert last.rule == FURTHER and last.value >= 400
        assert all(len(reason.path) <= 1_001 for reason in first)


def test_the_typed_lane_keeps_as_few() -> None:
    one_bad, many_bad = MESSAGE | {"sender": "nobody"}, [MESSAGE | {"sender": "nobody"}] * 1_000
    raws = ticket(messages=[one_bad]), ticket(_id=ObjectId(), messages=many_bad)
    few, many = transform_batch(b"".join(raws), TICKETS).refused
    assert len(few.reasons) == 1
    assert many.reasons[-1] == Violation("", FURTHER, 1_000 - KEPT)


def test_numbers_of_further_reasons_add_up() -> None:
    many = [Violation(f"/{number}", "r", None) for number in range(150)]
    assert limit_violations(many[:KEPT]) == many[:KEPT]
    assert limit_violations([*limit_violations(many), *limit_violations(many)])[-1] == Violation("", FURTHER, 200)


def test_a_place_is_told_by_its_beginning() -> None:
    assert json_pointer((("/a", "b/c"), 3)) == "/a/b~1c/3"
    assert json_pointer(("/" + "x" * 2_000_000, "y")) == "/" + "x" * 999 + "…"


@pytest.mark.parametrize("make", [lambda inner: {"a": inner}, lambda inner: [inner]], ids=["documents", "arrays"])
@pytest.mark.parametrize("leaf", [1, -0.0, {"$ref": "c", "$id": 1}], ids=["lawful", "refused", "reference"])
def test_as_deep_as_mongodb_goes_in_a_deep_stack(make: Callable[[Any], Any], leaf: Any) -> None:
    for _ in range(178):  # MongoDB takes 180 levels
        leaf = make(leaf)
    raw = ticket(more={"x": leaf})

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
            return
        found = transform_slowly([raw], TICKETS)
        assert len(found.refused) + len(found.frames["support_tickets"]) == 1
        expected_frames([raw], TICKETS)

    deeper(400)
