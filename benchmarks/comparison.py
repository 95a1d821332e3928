"""The page that compares what ours and dlt make of collections: written from what `benchmarks.strangers` found.

``python -m benchmarks.comparison`` writes it anew; the benchmark does so at its end.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record

PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
INTRODUCTION = """\
# Comparison: the same collections through ours and dlt

Five public collections that nobody has described: countries with their translations, grades, profiles, restaurants
and students. Each was loaded into one MongoDB and copied into one PostgreSQL, first by `etl contract infer`, `etl
replicate` and `etl verify`, then by [dlt](https://dlthub.com) with its defaults (its own inference, child tables).
What stands here was counted, not estimated; the program is `benchmarks/strangers.py`.

"""
HOW = """
## How it was counted

* **Values** are all that a document holds that is not null and no empty document or array, wherever it stands,
  `_id` included. Each is looked for in the tables by its type and its text. *Another type*: the text is there, and
  a reader must know what it was. *Gone*: not even the text is.
* **Empty** are nulls, empty documents and empty arrays. *Gone*: nothing in the tables tells them from a field that
  the document does not have.
* Of ours there is nothing to look for: `etl verify` has held every value of every document in both stores against
  MongoDB, type by type, by another decoder than the copy's; *proven* says that it found no difference. What does
  not fit its column stands in `_extra` beside it, with its type.
* **Columns** are those of the tables. Ours has some that no document has (positions, counts of arrays, `_extra`),
  which are counted; dlt's own (`_dlt_id` and the like) are not.
* **Variants** are columns that dlt adds for a second type of a field (`rating`, `rating__v_double`): all values
  are there, and whoever reads the field has to put the columns together.
* Seconds are of whole processes, starts included, on a machine that had other things to do: ours are three
  commands, two stores and the proof; dlt's are one command and one store. They say little here, for the
  collections are small; [benchmarks](benchmarks.md) measures speed.

What dlt keeps exactly and what others make of single odd values is in [benchmarks](benchmarks.md#exactness). To
see it with collections of your own:

```console
$ .venv/bin/python -m benchmarks --samples FOLDER    # files of Extended JSON, one collection each
```
"""
_COLUMNS = (
    "collection",
    "documents",
    "by",
    "tables",
    "columns",
    "variants",
    "values",
    "another type",
    "gone",
    "empty",
    "of them gone",
    "refused",
    "proven",
    "s",
)


def page(found: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    versions = found["versions"]
    told = f"Measured on {found['date']} at commit `{found['commit']}`: MongoDB {versions['MongoDB']}, PostgreSQL"
    told += f" {versions['PostgreSQL']}, dlt 1.31.0, Python {versions['Python']}.\n\n"
    rows = [row for name, one in found["collections"].items() for row in _rows(name, one)]
    return INTRODUCTION + told + "\n".join(_table(_COLUMNS, rows)) + "\n" + "\n".join(_such_as(found)) + HOW


def _rows(name: str, one: dict[str, Any]) -> list[list[str]]:
    ours, dlt = one["ours"], one["dlt"]
    values, empties = (f"{dlt.get(key, 0):,}" for key in ("values", "empties"))
    by_us = [f"`{name}`", f"{one['documents']:,}", "ours", *_numbers(ours, "tables", "columns"), "0", values]
    by_us += [*_numbers(ours, "other_type", "gone"), empties, *_numbers(ours, "empties_gone", "quarantined")]
    by_us += ["yes" if ours.get("proven") else "no", str(ours.get("seconds", "-"))]
    by_dlt = ["", "", "dlt", *_numbers(dlt, "tables", "columns", "variants"), values]
    by_dlt += [*_numbers(dlt, "other_type", "gone"), empties, *_numbers(dlt, "empties_gone"), "-", "-"]
    by_dlt += [str(dlt.get("seconds", "-"))]
    return [by_us, by_dlt]


def _numbers(one: dict[str, Any], *names: str) -> tuple[str, ...]:
    return tuple("-" if one.get(name) is None else f"{one[name]:,}" for name in names)


def _such_as(found: dict[str, Any]) -> Iterable[str]:
    for name, one in found["collections"].items():
        if count := one["dlt"].get("other_type"):
            kinds = sorted({told.partition(" ")[0] for told in one["dlt"]["such_as"]})
            yield f"\nOf `{name}`, dlt made texts of {count:,} values that are no texts: a {', a '.join(kinds)} each.\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)]


def write() -> None:
    """Write the page from what was found last."""
    if found := record.read("strangers"):
        PAGE.write_text(page(found))


if __name__ == "__main__":
    write()
