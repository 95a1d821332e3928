"""The data dictionary: what every column of the stores means and where it comes from, in Markdown for people.

``python -m contracts.schema.dictionary [FOLDER]...`` prints it; folders are those of contracts and marts of your own.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl

from contracts import DEMO
from contracts.schema.entity import EXTRA, ID, Column, Entity, Table
from contracts.schema.history import HISTORY, versions_table
from contracts.schema.kinds import ANY, ANY_ID, BOOLEAN, DATE, INTEGER, JSON, NUMBER, TIMESTAMP, Kind
from contracts.schema.mart import Mart
from contracts.schema.omitted import omitted
from contracts.schema.printable import escaped
from contracts.schema.registry import entities, marts
from contracts.schema.special_names import SPECIAL_NAMES
from contracts.schema.table import dotted

INTRODUCTION = """\
# Data dictionary

What stands in PostgreSQL and ClickHouse, column by column. This page is derived from the contracts in `contracts/`
(`make dictionary` writes it anew, a test fails if it is stale); the same descriptions are comments in both catalogs.

* The copies of the collections are in `replica`, the marts in `marts`: schemas in PostgreSQL, databases in ClickHouse.
* **In the document** says where a value stands in MongoDB; `a.b` is the field `b` of the subdocument `a`, and
  `'a.b'` a field of that name.
* **BSON** names the types that are admitted. A document with any other there is quarantined, never bent.
* **Null** says whether the column may be null, which is also whether the field may be null or missing in MongoDB.
* **Rules** are conditions on values. A document that breaks one is quarantined whole, and the reason bears the name
  `<column>_<rule>`, such as `user_id_max_length`. Known values are only known: a new one is loaded and reported as
  drift. Where a value must be *one of* some, any other is refused.
"""

EVERYWHERE = """\
## What holds for every collection

| Column | What it is |
|---|---|
| `_id` | Identity of the document and primary key of its row. An ObjectId is written as 24 hexadecimal digits; \
where `_id`s may be of any type (`any_id()`), each is canonical Extended JSON, as `{"$oid":"..."}`. |
| `<subdocument>_<field>` | A field of a subdocument. |
| `<array>` | An array of scalars, as an array of the store. |
| `<array>_count` | The number of items of that array; null if the array is null or missing. |
| `_position` | In a child table: the item's place in its array, from 0. With `_id` it is the primary key. |
| `_key` | In the child table of a map: the entry's name. The entries of a map have no order. |
| `item_id` | In a child table: the item's own `_id`, if it is declared. |
| `_extra` | The undeclared fields of the whole document, at any level, and its misfits, as one flat JSON object. \
Its keys are JSON Pointers (RFC 6901): `/actions/0/foo` is the field `foo` of the first of the `actions`. Null if \
there are none. |

An array of documents is a table of its own, `<table>_<array>`, with one row per item. In PostgreSQL its `_id` is a
foreign key. An array of documents within such an item is a child of that table, `<table>_<outer>_<array>`. Its key is
`_id`, the outer item's place (`_<outer>_position`) and its own `_position`; all but the last refer to the outer item.

In ClickHouse the names below are views; each shows the newest version of the rows of the table `<name>__data`, a
`ReplacingMergeTree` that has two columns more: `_version` and `_deleted`.

### Misfits, and how to read `_extra`

A field that says `misfits="extra"`, or whose contract does, loses no row to an odd value. A value of another type, and
one that a store can't hold (below), goes whole into `_extra`; its column is null, of an array also its count. What
should be an array of documents or a subdocument, and is not, goes aside as a whole; an item that is no document goes
aside under its own pointer, and its row stays, with nulls. A number among texts that have no rules is shown as a text
as well: `7`, with `7.0` aside. So a null with its pointer in `_extra` was something else,
and `etl verify` proves what. Each run reports misfits by field and type, as drift.

| to see | in PostgreSQL | in ClickHouse |
|---|---|---|
| what was at `/price` | `_extra -> '/price'` | `JSONExtractRaw(_extra, '/price')` |
| it as a text | `_extra ->> '/price'` | `JSONExtractString(_extra, '/price')` |
| it as a number | `(_extra ->> '/price')::float8` | `JSONExtractFloat(_extra, '/price')` |
| where there is one | `WHERE _extra ? '/price'` | `WHERE JSONHas(_extra, '/price')` |
| all that is aside | `jsonb_each(_extra)` | `JSONExtractKeysAndValuesRaw(_extra)` |

### Refused wherever it stands

A value that a store can't hold exactly is a broken rule as well, and its document is quarantined, unless the field's
misfits go into `_extra`:

* text with a NUL character (`<column>_has_no_nul_for_postgres`): PostgreSQL has no such text;
* moments before 1900 or after 2299 (`<column>_in_clickhouse_range`): ClickHouse computes wrongly with them;
* numbers beyond the column: fractions, NaN and infinities where integers are declared, 64-bit integers where doubles
  are, and decimals with more digits than the column has;
* the BSON types `symbol`, `undefined` and `dbPointer`, in free-form documents and undeclared fields;
* a null among the items of an array, unless its contract says `null_items=True`;
* a field name that stands twice in one document, and text that is no UTF-8.
"""

INDISTINCT = """\
## What can't be told apart in a store

The copy is exact value by value, within the limits below. `etl verify` takes the values of one line for equal, and all
others for different.

{table}

Free-form documents, values declared as `json` and `_extra` are relaxed Extended JSON v2, `jsonb` in PostgreSQL and
text in ClickHouse:

* What JSON has no type for keeps its BSON type's name, as in `{{"$oid": ...}}`, `{{"$date": ...}}` or
  `{{"$numberDecimal": ...}}`; the special names are below.
* A name of the document that looks like a special one has one `$` more than in MongoDB: `{{"$oid": 1}}` is written
  `{{"$$oid": 1}}`, and `{{"$$oid": 1}}` as `{{"$$$oid": 1}}`. Other names stay as they are, such as `$set`, or `$ref`
  and `$id` of a DBRef, which is a document like any other.
* `pipeline.read_json` of the [Python API](api.md) turns such JSON back into the values that it was made of.
* int and long are one; an integral double keeps its point: `7.0` is not `7`. Doubles read back bit for bit.
* Within them null and missing are told apart, and so are empty arrays and documents. Where such a field itself is null
  or missing, the column is null.
* `jsonb` does not keep the order of names. Two documents that differ in that only are equal.

{names}
"""

INDISTINCT_HEAD = ("In MongoDB", "In PostgreSQL", "In ClickHouse", "Told apart?")
INDISTINCT_ROWS = (
    ("a scalar that is null, or missing", "null", "null", "no"),
    ("an empty text, and null", "`''`, and null", "`''`, and null", "yes"),
    ("an array that is null, or missing", "null", "`[]`", "no"),
    (
        "an empty array, and one that is null or missing",
        "`{}`, and null",
        "`[]` for both",
        "yes; in ClickHouse by `<array>_count`, which is 0 or null",
    ),
    (
        "an array of documents that is empty, and one that is null or missing",
        "no row in the child table",
        "likewise",
        "yes, by `<array>_count`, which is 0 or null",
    ),
    (
        "a nullable subdocument that is null, missing or empty, or whose fields are all null",
        "its columns are null",
        "likewise",
        "no",
    ),
    (
        "a declared integer as int, long or integral double: `7`, `NumberLong(7)`, `7.0`; `0` and `-0.0`",
        "`7`; `0`",
        "likewise",
        "no",
    ),
    ("a declared number as int or double: `7`, `7.0`", "`7`", "`7`", "no"),
    ("a declared number that is NaN, an infinity, null, `-0.0`", "as it is", "as it is", "yes, but all NaNs are one"),
    (
        "`_id`s that MongoDB takes for equal where they may be of any type: `7`, `7.0`; they can't both be there",
        "as they are",
        "likewise",
        "yes",
    ),
    ("decimals of one value: `1.5`, `1.50`, `15E-1`; `0` and `-0`", "`1.50`; `0.00`", "likewise", "no"),
    ("moments", "to the millisecond, as BSON has them", "likewise", "yes"),
    ("the order of a document's fields", "not kept", "kept within free-form documents only", "no"),
)
MARTS = """## The marts

A mart shows the moment of MongoDB that its sources show: `as_of`. It stands in each row or, where rows are computed
only when they may have changed, in those that the clock may still change: in all others it is null, for they are so at
any moment. `etl status` and `etl.published` tell the moment of every mart. What holds for all of them:

* Days and weeks are those of one reporting zone, `ETL_TIMEZONE` (UTC, if nothing is said). Weeks begin on Monday.
  A session counts on the day of its start. Moments stay UTC.
* Ages, open states and `is_complete` refer to `as_of`. A period with `is_complete` false is still running.
* Null is not 0: null could not be known or doesn't apply, 0 was counted. A percentage (0 to 100) is null if there is
  nothing that it is of. The two numbers that it is made of stand beside it: add those up, not percentages.
* Distinct users and quantiles don't add up at all: count them anew from the rows that they come from.
* Durations are seconds. Quantiles interpolate linearly between neighbours, as `percentile_cont` of SQL does.
* Rows are told apart by `_id`. Documents that share a business key are all counted, except where the key of the mart
  is that business key. Equal items of an array are all counted too: nothing tells that a message which is there twice
  was written once.
* MongoDB keeps no history: what it has overwritten is known by the [versions](history.md) that copies kept, and of the
  time before `observed_since` not at all. A column with `basis` says by what a row is known: `observed`, by versions
  before and after; `proxy`, by what comes closest to it, such as the last change of a document.
* A day or week that lies after the running one is there only if there are data of it.
"""
# What the last part of a mart's column tells of its unit; the kind tells the rest.
UNITS = {"_s": "seconds", "_days": "days", "_pct": "percent, 100 is all", "_count": "count", "_28d": "count"}
KIND_UNITS = {TIMESTAMP: "UTC, to the millisecond", DATE: "day of the reporting zone", BOOLEAN: "true or false"}
ENTITY_HEAD = ("Column", "Meaning", "In the document", "BSON", "PostgreSQL", "ClickHouse", "Null", "Rules")
MART_HEAD = ("Column", "Meaning", "Unit", "PostgreSQL", "ClickHouse", "Null", "Rules")


def dictionary(folders: Iterable[Path] = ()) -> str:
    """Return the data dictionary of all contracts as Markdown.

    Args:
        folders: Folders of contracts and of marts instead of the ones of this package, for which the word ``demo``
            stands.

    Raises:
        ContractError: A contract can't be derived.
    """
    folders = tuple(folders) or (DEMO,)
    collections, own = entities(folders), marts(folder for folder in folders if folder != DEMO)
    tables = {name: mart for name, mart in own.items() if mart.home or DEMO in folders}
    links = [
        f"* [{_plain(name)}](#{quote(name.lower())}): {entity.description}" for name, entity in collections.items()
    ]
    links += [f"* [marts.{name}](#marts{name}): {mart.description}" for name, mart in tables.items()]
    parts = [
        INTRODUCTION,
        "\n".join(links) + "\n",
        EVERYWHERE,
        INDISTINCT.format(
            table="\n".join(_grid(INDISTINCT_HEAD, INDISTINCT_ROWS)),
            names="\n".join(_grid(("Special name", "What it says"), _special_names())),
        ),
        "## The collections\n",
        *(_entity(entity) for entity in collections.values()),
        *([MARTS] if tables else []),
        *(_mart(mart) for mart in tables.values()),
    ]
    return "\n".join(parts)


def _special_names() -> Iterator[tuple[str, str]]:
    written = {name: meaning for name, meaning in SPECIAL_NAMES.items() if meaning}
    yield from ((f"`${name}`", meaning) for name, meaning in written.items())
    others = ", ".join(f"`${name}`" for name in SPECIAL_NAMES if name not in written)
    yield others, "never written; other readers of Extended JSON take them for values"


def _entity(entity: Entity) -> str:
    tables = (_table(table, "replica", entity) for table in entity.tables)
    shared = f"Business key: {_span(entity.key)}. Two documents may share one: both are loaded, and reported."
    key = "" if entity.key == ID else f"{shared}\n\n"
    left_out = _code(dotted(tuple(field.name for field in path)) for path in omitted(entity))
    told = f"Omitted, so neither read nor kept: {left_out}.\n\n" if left_out else ""
    names = _code(f"{HISTORY}.{versions_table(table).name}" for table in entity.tables)
    kept = f"What was before is kept: {names} ([history](history.md)).\n\n" if entity.history else ""
    return f"### {_plain(entity.collection)}\n\n{entity.description}\n\n{key}{told}{kept}" + "\n".join(tables)


def _table(table: Table, schema: str, entity: Entity) -> str:
    head = f"#### {schema}.{_plain(table.name)}\n"
    if table.parent is not None:
        refers = f"{_code(table.key[:-1])} refer{'s' if len(table.key) == 2 else ''} to {_span(table.parent)}"
        one = "entry" if table.is_map else "item"
        head += f"\n{table.description} One row per {one} of {_span(_items(table))}; {refers}.\n"
    rows = [
        (
            _span(column.name),
            _plain(column.description) if column.counts else column.description,  # which names the field
            _origin(column, table),
            _bson_types(column),
            *_store_types(column),
            "; ".join(_rules(column)),
        )
        for column in table.columns
    ]
    return "\n".join([head, *_grid(ENTITY_HEAD, rows), "", *_facts(table)])


def _mart(mart: Mart) -> str:
    rows = [
        (f"`{column.name}`", column.description, _unit(column), *_store_types(column), "; ".join(_rules(column)))
        for column in mart.table.columns
    ]
    told = {"Question": mart.question, "Grain": mart.description, "Definition": mart.definition}
    about = [f"**{what}.** {text}" for what, text in told.items() if text]
    head = "".join(f"{text}\n\n" for text in (f"### marts.{mart.name}", *about, _limits_of(mart)) if text)
    return "\n".join([head.removesuffix("\n"), *_grid(MART_HEAD, rows), "", *_facts(mart.table)])


def _limits_of(mart: Mart) -> str:
    return "\n".join(["**What it can't tell:**\n", *(f"* {limit}" for limit in mart.limits)]) if mart.limits else ""


def _grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield "|---" * len(names) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _facts(table: Table) -> Iterator[str]:
    """Yield what is true of a table as a whole: its key, its indexes, its rules."""
    indexes = f" Indexes: {_code(table.indexes)}." if table.indexes else ""
    yield f"Primary key: {_code(table.key)}.{indexes}"
    yield ""
    yield from (f"* Rule `{rule.name}`: {rule.description}" for rule in table.rules)
    if table.rules:
        yield ""


def _origin(column: Column, table: Table) -> str:
    if column.name == EXTRA:
        return "undeclared fields"
    if column.name in table.places:
        level = table.levels[table.places.index(column.name)]
        return f"{'name' if level.is_map else 'place'} in {_span(_items(level))}"
    # The _id of a child's row is the document's; all other paths start at the item.
    is_of_item = table.parent is not None and column.name != table.key[0]
    items = [_items(table) + _any_place(table)] if is_of_item else []
    path = ".".join([*items, *([dotted(column.path)] if column.path else [])])
    return f"{'length of ' * column.counts}{_span(path)}"


def _items(table: Table) -> str:
    """Return where the array of a table's items stands in the document."""
    *outer, own = table.levels
    return "".join(f"{dotted(level.path)}{_any_place(level)}." for level in outer) + dotted(own.path)


def _any_place(level: Table) -> str:
    return ".*" if level.is_map else "[]"


def _bson_types(column: Column) -> str:
    if column.name == EXTRA:
        return "any"
    if column.field is None:
        return ""
    types = _kind_types(column.kind)
    return f"{types}, null" if column.nullable else types


def _kind_types(kind: Kind) -> str:
    if kind.item is not None:
        return f"array of {_kind_types(kind.item)}"
    if kind is INTEGER:
        return "int, long, integral double"
    if kind in (ANY, ANY_ID):
        return "any"
    if kind.subtype is not None:
        return f"binData of subtype {kind.subtype}"
    types = kind.gate["bsonType"]
    return types if isinstance(types, str) else ", ".join(types)


def _store_types(column: Column) -> tuple[str, str, str]:
    clickhouse = column.kind.clickhouse_type(nullable=column.nullable)
    return f"`{column.kind.postgres}`", f"`{clickhouse}`", "yes" if column.nullable else "no"


def _rules(column: Column) -> Iterator[str]:
    """Yield what is declared of a column's values, in words."""
    field = column.field
    if field is None or column.counts:
        return
    yield from _limits(field.minimum, field.maximum, "")
    yield from _limits(field.min_length, field.max_length, " characters")
    if field.vocabulary:
        yield f"{'one of' if field.closed else 'known:'} {_code(field.vocabulary)}"
    yield from _digits(column.kind.frame)


def _limits(low: int | None, high: int | None, unit: str) -> Iterator[str]:
    if low is not None and high is not None:
        yield f"{low} to {high}{unit}"
    elif low is not None or high is not None:
        yield f"at least {low}{unit}" if high is None else f"at most {high}{unit}"


def _digits(frame: pl.DataType) -> Iterator[str]:
    if isinstance(frame, pl.Decimal):
        yield f"at most {frame.precision} digits, {frame.scale} of them after the point"


def _unit(column: Column) -> str:
    if column.kind in KIND_UNITS:
        return KIND_UNITS[column.kind]
    if isinstance(column.kind.frame, pl.Decimal):
        return "money, in the row's currency"
    by_name = (unit for suffix, unit in UNITS.items() if column.name.endswith(suffix))
    return next(by_name, "" if column.kind not in (INTEGER, NUMBER, JSON) else "number")


def _code(names: Iterable[str]) -> str:
    return ", ".join(map(_span, names))


def _span(text: str) -> str:
    """Return a text as a span of code, in which nothing is Markdown or HTML whatever a field is called."""
    shown = escaped(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    margin = " " * (shown[:1] == "`" or shown[-1:] == "`")
    return f"{fence}{margin}{shown}{margin}{fence}"


def _plain(text: str) -> str:
    """Return a text in which nothing is Markdown or HTML."""
    return re.sub(r"([\\`*\[\]<>&])", r"\\\1", escaped(text))


if __name__ == "__main__":
    sys.stdout.write(dictionary(map(Path, sys.argv[1:])))
