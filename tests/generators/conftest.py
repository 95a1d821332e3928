"""Documents to look at, and a judge of lawfulness that shares no code with the generators."""

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import bson
import polars as pl
import pytest

from contracts.schema.entity import Entity, Field
from contracts.schema.fields import (
    binary,
    boolean,
    booleans,
    categories,
    category,
    decimal,
    decimals,
    documents,
    free_form,
    identifier,
    integer,
    integers,
    json,
    map_of,
    money,
    number,
    numbers,
    object_id,
    object_ids,
    rule,
    subdocument,
    text,
    texts,
    timestamp,
    timestamps,
    uuid,
)
from contracts.schema.kinds import INTEGER, NUMBER
from contracts.schema.registry import entities
from generators import World, generate, rows_at

Document = dict[str, Any]
SEED = 7
PYTHON_TYPES = {
    "ObjectId": bson.ObjectId,
    "text": str,
    "text key": str,
    "category": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "timestamp": datetime,
    "document": dict,
}


@pytest.fixture(scope="session")
def contracts() -> dict[str, Entity]:
    return entities()


@pytest.fixture(scope="session")
def world(contracts: dict[str, Entity]) -> World:
    return World.sized(contracts, _rows(contracts), SEED)


@pytest.fixture(scope="session")
def made(contracts: dict[str, Entity], world: World) -> dict[str, list[Document]]:
    """A tenth of the documents that scale 1 makes, by collection."""
    return {
        name: [document for batch in generate(contracts[name], rows, world=world) for document in batch.documents]
        for name, rows in _rows(contracts).items()
    }


def _rows(contracts: dict[str, Entity]) -> dict[str, int]:
    return {name: rows_at(entity, 0.1) for name, entity in contracts.items()}


@pytest.fixture(scope="session")
def eighth() -> Entity:
    """A contract that uses every kind of field and every option, and has no generator of its own."""
    return Entity(
        collection="WarehouseVisits",
        description="One visit to the warehouse.",
        key="visit_id",
        fields=(
            identifier("visit_id", "Key."),
            timestamp("left_at", "When the visit ended.", nullable=True),
            timestamp("came_at", "When the visit began."),
            identifier("guide_user_id", "Who led it."),
            texts("product_ids", "What was looked at."),
            text("guest_name", "Who came.", min_length=30, max_length=40),
            category("gate", "Which gate.", "north", "south", closed=True),
            categories("badges", "Which badges.", "red", "blue"),
            integer("doors", "Doors opened.", minimum=-3, maximum=3),
            integer("steps", "Steps walked.", maximum=-1),
            number("weight", "Kilograms.", minimum=2, maximum=3),
            boolean("insured", "Whether insured."),
            money("fee", "What it cost.", minimum=5, maximum=7),
            decimal("ratio", "A small number.", 34, 10),
            object_id("ticket", "What they showed."),
            object_ids("tickets", "What others showed.", null_items=True),
            integers("counts", "Of what.", minimum=0),
            numbers("weights", "Kilograms.", null_items=True, nullable=True),
            decimals("prices", "What was seen.", 12, 2, minimum=1),
            booleans("answers", "To what was asked.", null_items=True),
            timestamps("rests", "When they rested.", null_items=True),
            free_form("notes", "Anything."),
            json("remark", "Anything at all."),
            uuid("badge", "Of the badge."),
            binary("photo", "Of the guest.", nullable=True),
            subdocument(
                "car",
                "How they came.",
                text("plate", "Plate."),
                subdocument("owner", "Whose it is.", text("name", "Name.", nullable=True), integer("age", "Years.")),
                nullable=True,
            ),
            documents(
                "stops",
                "Where they stopped.",
                timestamp("at", "When."),
                json("remark", "Anything at all.", nullable=True),
                free_form("notes", "Anything."),
                subdocument("place", "Where.", category("aisle", "Aisle.", "a", "b"), number("height", "Metres.")),
                documents("drinks", "What they drank.", text("drink", "What."), map_of("cups", "By size.", INTEGER)),
            ),
            map_of("names", "By language.", text("name", "Name."), documents("forms", "Forms.", text("form", "Form."))),
            map_of("loads", "Kilograms by shelf.", NUMBER, nullable=True),
        ),
        rules=(rule("left_after_came", pl.col("left_at") >= pl.col("came_at"), "Nobody leaves before coming."),),
    )


@pytest.fixture(scope="session")
def problems() -> Callable[[Entity, Document], list[str]]:
    """Return what is wrong with a document, by path; an independent reading of the contract."""

    def find(entity: Entity, document: Document) -> list[str]:
        inside = list(_document_problems((entity.id_field, *entity.fields), document, ""))
        return inside or list(_rule_problems(entity, document))

    return find


def _document_problems(fields: tuple[Field, ...], document: Document, path: str) -> Iterator[str]:
    if not isinstance(document, dict):
        yield f"{path}: no document"
        return
    declared = {field.name: field for field in fields}
    yield from (f"{path}/{name}: undeclared" for name in document if name not in declared)
    for name, field in declared.items():
        value = document.get(name)
        if value is None:
            if not field.nullable:
                yield f"{path}/{name}: missing"
        else:
            yield from _field_problems(field, value, f"{path}/{name}")


def _field_problems(field: Field, value: Any, path: str) -> Iterator[str]:
    if field.keyed:
        if not isinstance(value, dict):
            yield f"{path}: no document"
            return
        for key, item in value.items():
            if not field.bare:
                yield from _document_problems(field.fields, item, f"{path}/{key}")
            elif item is not None:
                yield from _field_problems(field.fields[0], item, f"{path}/{key}")
    elif field.repeated or (field.kind is not None and field.kind.item is not None):
        if not isinstance(value, list):
            yield f"{path}: no array"
            return
        for item in value:
            if field.repeated:
                yield from _document_problems(field.fields, item, path)
            else:
                if not (item is None and field.kind.null_items):
                    yield from _value_problems(field, field.kind.item.name, item, path)
    elif field.kind is None:
        yield from _document_problems(field.fields, value, path)
    else:
        yield from _value_problems(field, field.kind.name, value, path)


def _value_problems(field: Field, kind: str, value: Any, path: str) -> Iterator[str]:
    if field.kind.subtype is not None:
        if not isinstance(value, bytes) or getattr(value, "subtype", 0) != field.kind.subtype:
            yield f"{path}: subtype"
        return
    if kind == "JSON":
        yield from _free_form_problems(value, path)
        return
    if kind.startswith("decimal"):
        if not isinstance(value, bson.Decimal128):
            yield f"{path}: no decimal"
            return
        value = value.to_decimal()
        if (
            -value.as_tuple().exponent != (field.kind.item or field.kind).frame.scale
            or len(value.as_tuple().digits) > 38
        ):
            yield f"{path}: digits"
    elif type(value) is not PYTHON_TYPES[kind] and not (kind == "integer" and type(value) is bson.Int64):
        yield f"{path}: {type(value).__name__} for {kind}"
        return
    if isinstance(value, str):
        yield from _text_problems(field, value, path)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        low = -math.inf if field.minimum is None else field.minimum
        high = math.inf if field.maximum is None else field.maximum
        if not low <= value <= high:
            yield f"{path}: {value} out of range"
    if isinstance(value, datetime) and not 1900 <= value.year <= 2299:
        yield f"{path}: far date"
    if isinstance(value, dict):
        yield from _free_form_problems(value, path)


def _text_problems(field: Field, value: str, path: str) -> Iterator[str]:
    if "\0" in value:
        yield f"{path}: NUL"
    if not (field.min_length or 0) <= len(value) <= (field.max_length or math.inf):
        yield f"{path}: length"
    if field.closed and value not in field.vocabulary:
        yield f"{path}: unknown value"


def _free_form_problems(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path}: key {key}" for key in value if key.startswith("$") or "\0" in key)
        for key, inner in value.items():
            yield from _free_form_problems(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _free_form_problems(inner, path)
    elif isinstance(value, float):
        if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
            yield f"{path}: {value}"
    elif isinstance(value, str):
        if "\0" in value:
            yield f"{path}: NUL"
    elif not isinstance(value, bool | int | datetime | bson.ObjectId | None):
        yield f"{path}: {type(value).__name__}"


def _rule_problems(entity: Entity, document: Document) -> Iterator[str]:
    for one in entity.rules:
        names = one.condition.meta.root_names()
        frame = pl.DataFrame({name: [document.get(name)] for name in names})
        if frame.select(one.condition.fill_null(True)).item() is False:
            yield f"rule {one.name}"
