"""``docs/benchmarks.md`` and its plots, written from ``benchmarks/results``: ``python -m benchmarks.report``."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import plots, record
from benchmarks.fidelity import NAMES
from benchmarks.figures import spread
from benchmarks.marts import OTHERS_PART as OTHERS_OF_MARTS
from benchmarks.marts import ratios
from benchmarks.memory import LIMIT_MIB, OTHERS_PART, STEPS
from benchmarks.record import rounds
from benchmarks.speed import CPU, WALL, disturbed_pct
from benchmarks.tables import EQUAL_HEADER, SPEED_HEADER, equal_row, speed_row
from benchmarks.targets import outcomes

NOTES = record.RESULTS / "notes.md"  # by hand: where the time goes, what a figure does not tell
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
INTRODUCTION = """\
# Benchmarks

One measurement: the largest that there is. Its figures come first, then what they can't tell and how they were taken.
Of each collection the first table is of the day on which most took part; what was measured apart, if anything was,
follows. Seconds of one table are not to be compared with those of another, which may be of a slower day; ratios
are.
"""
WHO = {"ours": "ours", "postgres": "PostgreSQL", "clickhouse": "ClickHouse"}
METHOD = """\
## How it is measured

`make bench` measures anew (`make bench ROWS=10000 RUNS=1` for a quick look, in the terminal), and
`python -m benchmarks.report` writes this page from `benchmarks/results/`. Everything runs on the embedded engines in a
temporary folder, with durable settings (`fsync` on, no unlogged tables). Other tools are installed into an environment
of their own.

* Each contender runs as a whole process, from start to exit, imports included. They take turns, round by round;
  ratios are taken within a round, and the median is given with the smallest and the largest.
* Time is by the clock. CPU is that of the whole tree of processes, memory that of its largest process. The servers'
  CPU is counted apart, their memory not at all.
* Before each run PostgreSQL makes a checkpoint, and what the contender leaves is dropped afterwards. The collection
  is read once before the first round.
* MB/s are of BSON. `k` is a thousand.
* polars-mongo, and PyMongoArrow and ADBC, of which no target speaks, take part in the first round alone.
* `make bench-quick` takes five minutes: processor time of 100,000 documents, four rounds, each run told in how many
  sorts could have been done in it, as the machine is by then, and then by what only reading the documents costs. It
  names what of ours takes over a fifth more than was recorded among the results, and brings the ratios of a million
  documents up to date by what has changed; other programs are taken to cost what they did. The first one records, and
  so does `make bench-quick RECORD=1`, after `make bench`.
* `make bench` leaves out some parts. `python -m benchmarks --part scale-out` measures several processes, `--part marts`
  each mart beside its SQL in both stores, within one process, and `--part in-part` all of them after few changes, in
  part and whole, each as a process of its own.
* The machine has 2 cores for the client and all three servers. With more, what works in parallel gains more.

The work is not the same for all: see the settings. Ours counts at the source and in the stores, tests every document
against its contract, loads arrays of documents as tables of their own, builds primary keys and indexes, and publishes
atomically. Nobody else does; those that build no key at all save an index.
"""


def write() -> None:
    """Write the page and the plots from whatever results there are; of speed only the largest measurement counts."""
    speeds = record.speeds()[:1]
    memory, scale, fidelity = (record.read(name) for name in ("memory", "scale-out", "fidelity"))
    marts, in_part = record.read("marts"), record.read("in-part")
    plotted = plots.chosen(speeds)
    parts = [INTRODUCTION]
    if speeds:
        parts += [_targets(speeds), *(_speed(one, plotted) for one in speeds)]
    parts += [_memory(memory)] if memory else []
    parts += [_scale_out(scale)] if scale else []
    parts += [marts_beside_sql(marts)] if marts else []
    parts += [marts_in_part(in_part)] if in_part else []
    parts += [_fidelity(fidelity)] if fidelity else []
    parts += [*([NOTES.read_text()] if NOTES.exists() else []), METHOD]
    PAGE.write_text("\n".join(parts))
    plots.draw(plotted, memory or None)


def marts_beside_sql(found: dict[str, Any]) -> str:
    """Return the part of the page that tells of the marts.

    Args:
        found: What was measured.
    """
    measured = {"wall_s": "wall s", "cpu_s": "CPU s"}
    header = ("with those that it reads", *(f"{who}, {word}" for word in measured.values() for who in WHO.values()))
    rows = [
        [f"`{name}`", *(_time(one[who], what) for what in measured for who in WHO)]
        for name, one in found["marts"].items()
    ]
    middles = {
        title: " and ".join(f"{median(ratios(found, who, what)):.2f} ({words})" for what, words in measured.items())
        for who, title in WHO.items()
    }
    everything = f"{_time(found['all'], 'wall_s')} s ({_time(found['all'], 'cpu_s')} of CPU)"
    return "\n".join(
        (
            "## Marts beside SQL\n",
            _surroundings(found),
            f"Of {found['sessions']:,} UserSessions and a {OTHERS_OF_MARTS}th as many documents of each other "
            "collection, once. *Ours* computes a mart and those that it reads, holds them against their contracts, and "
            "publishes them with keys and indexes in PostgreSQL. The SQL is that which the tests hold the marts "
            "against, written for clearness: one query over the copies, into a table without a key. CPU is that of all "
            f"processes, the servers' too. A query that takes more than {found['limit_s']} s, or more memory than it "
            "is given, is given up.\n",
            f"SQL / ours, median over the marts: PostgreSQL {middles['PostgreSQL']}, ClickHouse "
            f"{middles['ClickHouse']}. All marts at once, into both stores: {everything}.\n",
            _table(header, rows),
        )
    )


def marts_in_part(found: dict[str, Any]) -> str:
    """Return the part of the page that tells of marts after few changes.

    Args:
        found: What was measured.
    """
    header = ("`etl marts`", "wall s", "CPU s", "servers' CPU s", "all CPU s")
    measures = (WALL, ("cpu_s",), ("servers_cpu_s",), CPU)

    def taken(one: dict[str, float], names: tuple[str, ...]) -> float:
        return sum(one[name] for name in names)

    rows = [
        [title, *(spread([taken(one, names) for one in found[key]], 1) for names in measures)]
        for key, title in (("part", "in part"), ("whole", "whole, `--full`"))
    ]
    shares = [
        spread([taken(a, names) / taken(b, names) for a, b in zip(found["part"], found["whole"], strict=True)])
        for names in measures
    ]
    return "\n".join(
        (
            "## Marts in part\n",
            _surroundings(found),
            f"All marts, in both stores, after {found['changed']:,} of {found['sessions']:,} sessions were changed and "
            f"followed by a sync; {found['documents']:,} documents, as many of each collection as are generated beside "
            "so many sessions. Whole processes, one after the other: median (smallest-largest).\n",
            _table(header, [*rows, ["part / whole", *shares]]),
        )
    )


def _targets(speeds: Sequence[dict[str, Any]]) -> str:
    header = ("documents", "collection", "what", "bound", "measured", "by all CPU", "commit", "")
    rows = [
        [
            f"{speed['rows']:,}",
            one.collection,
            one.text,
            one.bound,
            one.measured,
            one.by_cpu,
            f"`{one.commit}`",
            one.verdict,
        ]
        for speed in speeds
        for one in outcomes(speed["collections"])
    ]
    return (
        "## Targets\n\nRatios of times in one round: median (smallest-largest); beside them the same ratio of all "
        "processor time, the client's and the servers'. *Ours* is the first copy into PostgreSQL alone. dlt's defaults "
        f"are measured on 100,000 documents at most, and compared per document.\n\n{_table(header, rows)}"
    )


def _speed(speed: dict[str, Any], plotted: dict[str, dict[str, Any]]) -> str:
    parts = [f"## Speed: {speed['rows']:,} documents\n"]
    for name, sessions in speed["collections"].items():
        most = plotted.get(name)
        further = [one for one in reversed(sessions) if one is not most]
        for result in [most, *further] if most else further:
            parts += _session(name, result, is_plotted=result is most)
    everyone = [one for result in chain(*speed["collections"].values()) for one in result["contenders"].values()]
    rows = dict.fromkeys((one["title"], one["settings"], one["versions"]) for one in everyone)
    parts += ["### Settings and versions\n", _table(("", "settings", "versions"), rows)]
    return "\n".join(parts)


def _session(name: str, result: dict[str, Any], *, is_plotted: bool) -> list[str]:
    size, times = f"{result['bson_bytes'] / 1e6:.0f} MB of BSON", rounds(result)
    parts = [f"### {name}: {size}, {times} {'round' if times == 1 else 'rounds'}, commit `{result['commit']}`\n"]
    parts.append(_surroundings(result))
    if (others := disturbed_pct(result)) is not None:
        parts.append(f"Other work took {others:.0f} % of the machine during a run, in the middle.\n")
    if is_plotted:
        parts.append(_image(f"speed-{name.lower()}", f"Documents per second into PostgreSQL, {name}"))
    parts.append(_table(SPEED_HEADER, [speed_row(result, one) for one in result["contenders"]]))
    if left := [row for one in result["contenders"] if (row := equal_row(result, one))]:
        parts.append(
            "What was left in PostgreSQL, by checksum in SQL, against ours (dates and ids in free-form fields read"
        )
        parts.append("as such, whether they kept their types or became texts):\n")
        parts.append(_table(EQUAL_HEADER, left))
    return parts


def _surroundings(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"Measured on {found['date']} at commit `{found['commit']}`: {found['cores']} cores, {found['memory_gib']} "
        f"GiB, load {found['load_before']} before it began. {versions}.\n"
    )


def _memory(memory: dict[str, Any]) -> str:
    sizes = memory["sizes"]
    rows = [
        [f"{one['documents']:,}", f"{one['bson_bytes'] / 1e6:.0f}", *(_peak(one["steps"].get(step)) for step in STEPS)]
        for one in sizes
    ]
    places = [f"{one['documents']:,} documents: {_surroundings(one)}" for one in sizes]
    return "\n".join(
        (
            "## Memory against size\n",
            f"Peak memory of each command with `ETL_MEMORY={memory['memory']}`, run once, of {memory['collection']}. "
            f"*Marts* are all of them; they read a {OTHERS_PART}th as many documents of other collections as well. "
            f"Target: under {LIMIT_MIB} MiB at every size: {_verdict(sizes)}.\n",
            *([_image("memory", "Peak memory against the number of documents")] if len(sizes) > 1 else []),
            _table(("documents", "MB of BSON", *STEPS.values()), rows),
            *places,
        )
    )


def _verdict(sizes: Sequence[dict[str, Any]]) -> str:
    steps = [step for one in sizes for step in one["steps"].values()]
    if any(step["exit_code"] for step in steps):
        return "**missed**, as a command failed"
    most = max(step["peak_rss_mib"] for step in steps)
    if most >= LIMIT_MIB:
        return f"**missed** by {most - LIMIT_MIB:.0f} MiB"
    return "met" if all(step in one["steps"] for one in sizes for step in STEPS) else "met where it was measured"


def _peak(step: dict[str, Any] | None) -> str:
    if step is None:
        return "-"
    return f"{step['peak_rss_mib']:.0f} MiB in {step['wall_s']:.0f} s" if step["exit_code"] == 0 else "failed"


def _scale_out(scale: dict[str, Any]) -> str:
    header = ("", "processes", "wall s", "CPU s", "servers' CPU s", "MiB of all", "all CPU / one process")
    rows = []
    for command in scale["processes"]["1"]:
        alone = None
        for number, runs in scale["processes"].items():
            good = [one for one in runs[command] if one["exit_code"] == 0]
            wall, own, servers, memory = (
                median(one[name] for one in good) for name in ("wall_s", "cpu_s", "servers_cpu_s", "sum_rss_mib")
            )
            alone = alone or own + servers
            cells = (f"{wall:.1f}", f"{own:.1f}", f"{servers:.1f}", f"{memory:.0f}", f"{(own + servers) / alone:.2f}")
            rows.append([f"etl {command}", number, *cells])
    times = len(next(iter(scale["processes"]["1"].values())))
    return "\n".join(
        (
            "## Several processes\n",
            _surroundings(scale),
            f"First copy of {scale['documents']:,} {scale['collection']} into both stores and its proof, by "
            f"`--workers` and `ETL_MEMORY={scale['memory_mib']}MiB`; {times} "
            f"{'round' if times == 1 else 'rounds, medians'}. The servers share the {scale['cores']} cores with them, "
            "so this shows what further processes cost, not what further cores bring. *MiB of all* is the memory of "
            "all of them at one time, what they share counted for each.\n",
            _table(header, rows),
        )
    )


def _time(taken: dict[str, Any], what: str) -> str:
    return f"{'over ' if taken.get('gave_up') else ''}{taken[what]:.1f}"


def _fidelity(fidelity: dict[str, Any]) -> str:
    titles = ("ours", "hand-written", "ingestr", "Sling", "dlt, Arrow", "dlt, defaults")
    rows = [[name, *(by[who]["verdict"] for who in NAMES)] for name, by in fidelity["oddities"].items()]
    return "\n".join(
        (
            "## Exactness\n",
            _surroundings(fidelity),
            f"{fidelity['plain']} plain event logs and one odd one, loaded into PostgreSQL over an older copy of the "
            "plain ones. *lost*: the load succeeds, and no row has the document's key. *kept as text*: a reader must "
            "know that it was no text. *changed*: the load succeeds, and the value is another or absent. *quarantined "
            "whole*: the document is in `etl.quarantine` with its reasons, all others are loaded. What each left, word "
            "for word, is in `benchmarks/results/fidelity.json`.\n",
            _table(("odd document", *titles), rows),
        )
    )


def _image(name: str, text: str) -> str:
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="images/{name}-dark.svg">'
        f'<img alt="{text}" src="images/{name}-light.svg"></picture>\n'
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    write()
