"""The results as tables for the terminal."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import spread
from benchmarks.speed import CPU, middle, ratios
from benchmarks.targets import outcomes


def speed_row(result: dict[str, Any], name: str) -> list[str]:
    """Return what a contender took in a session."""
    one, wall = result["contenders"][name], middle(result, name, "wall_s")
    if wall is None:
        return [one["title"], *["failed" if one["runs"] else "-"] * 9]
    documents = one["runs"][0]["documents"]
    size = result["bson_bytes"] * documents / result["documents"]
    paired, by_cpu = ratios(result, name, "postgres"), ratios(result, name, "postgres", CPU)
    return [
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


def equal_row(result: dict[str, Any], name: str) -> list[str] | None:
    """Return what a contender has left in PostgreSQL, held against ours; None if it is not looked at."""
    one, ours = result["contenders"][name], result["contenders"].get("postgres", {}).get("left", {})
    if name == "postgres" or "left" not in one:
        return None
    if "error" in one["left"]:
        return [one["title"], "-", one["left"]["error"].splitlines()[0][:90], "-"]
    rows = f"{one['left']['rows']:,}"
    if not ours or one["runs"][0]["documents"] != result["documents"]:
        return [one["title"], rows, "not compared", "not compared"]
    words = ("equal" if one["left"][part] == ours.get(part) else "differ" for part in ("scalars", "nested"))
    return [one["title"], rows, *words]


EQUAL_HEADER = ("", "rows", "declared fields", "nested fields")


def show(sessions: Mapping[str, dict[str, Any]]) -> None:
    """Print what was measured, by collection."""
    console = Console(width=140)
    for name, result in sessions.items():
        title = f"{name}: {result['documents']:,} documents, {result['bson_bytes'] / 1e6:.1f} MB of BSON"
        console.print(_table(title, SPEED_HEADER, [speed_row(result, one) for one in result["contenders"]]))
        left = [row for one in result["contenders"] if (row := equal_row(result, one))]
        console.print(_table(f"{name}: what was left in PostgreSQL, against ours", EQUAL_HEADER, left))
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
