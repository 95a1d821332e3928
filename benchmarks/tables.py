"""The results as tables for the terminal."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import spread
from benchmarks.speed import CPU, middle, ratios
from benchmarks.targets import outcomes


def speed_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return one row of text per contender that came through."""
    rows = []
    for name, one in result["contenders"].items():
        wall = middle(result, name, "wall_s")
        if wall is None:
            rows.append([one["title"], *["failed" if one["runs"] else "-"] * 9])
            continue
        documents = one["runs"][0]["documents"]
        size = result["bson_bytes"] * documents / result["documents"]
        paired, by_cpu = ratios(result, name, "postgres"), ratios(result, name, "postgres", CPU)
        rows.append(
            [
                one["title"] + ("" if documents == result["documents"] else f" ({documents:,} documents)"),
                str(len(one["runs"])),
                f"{wall:.1f}",
                f"{middle(result, name, 'cpu_s'):.1f}",
                f"{middle(result, name, 'servers_cpu_s'):.1f}",
                f"{documents / wall / 1000:.0f}k",
                f"{size / wall / 1e6:.1f}",
                f"{middle(result, name, 'peak_rss_mib'):.0f}",
                spread(paired) if paired else "-",
                f"{median(by_cpu):.2f}" if by_cpu else "-",
            ]
        )
    return rows


SPEED_HEADER = (
    "",
    "runs",
    "wall s",
    "CPU s",
    "servers' CPU s",
    "docs/s",
    "MB/s",
    "peak MiB",
    "wall / ours",
    "all CPU / ours",
)


def equal_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return what each has left in PostgreSQL, held against ours."""
    ours = result["contenders"].get("postgres", {}).get("left", {})
    rows = []
    for name, one in result["contenders"].items():
        if name == "postgres" or "left" not in one:
            continue
        if "error" in one["left"]:
            rows.append([one["title"], "-", one["left"]["error"].splitlines()[0][:90], "-"])
        elif not ours or one["runs"][0]["documents"] != result["documents"]:
            rows.append([one["title"], f"{one['left']['rows']:,}", "not compared", "not compared"])
        else:
            words = ["equal" if one["left"][part] == ours.get(part) else "differ" for part in ("scalars", "nested")]
            rows.append([one["title"], f"{one['left']['rows']:,}", *words])
    return rows


EQUAL_HEADER = ("", "rows", "declared fields", "nested fields")


def show(sessions: Mapping[str, dict[str, Any]]) -> None:
    """Print what was measured, by collection."""
    console = Console(width=140)
    for name, result in sessions.items():
        title = f"{name}: {result['documents']:,} documents, {result['bson_bytes'] / 1e6:.1f} MB of BSON"
        console.print(_table(title, SPEED_HEADER, speed_rows(result)))
        console.print(_table(f"{name}: what was left in PostgreSQL, against ours", EQUAL_HEADER, equal_rows(result)))
    rows = [
        [
            one.collection,
            one.text,
            one.bound,
            one.measured,
            one.by_cpu,
            one.verdict,
        ]
        for one in outcomes({name: [result] for name, result in sessions.items()})
    ]
    console.print(_table("Targets", ("collection", "what", "bound", "measured", "by CPU", ""), rows))


def _table(title: str, header: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(header):
        table.add_column(name, justify="left" if place == 0 or not name else "right")
    for row in rows:
        table.add_row(*row)
    return table
