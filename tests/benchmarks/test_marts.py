"""What is told of the marts beside SQL, and in part."""

from benchmarks.marts import ratios
from benchmarks.report import marts_beside_sql, marts_in_part

PLACE = {"date": "2026-01-01", "commit": "abc", "cores": 2, "memory_gib": 24, "load_before": 0.1, "versions": {}}


def _taken(wall: float, cpu: float, **more: bool) -> dict[str, float]:
    return {"wall_s": wall, "cpu_s": cpu, **more}


FOUND = {
    **PLACE,
    "sessions": 1000,
    "limit_s": 60,
    "all": _taken(9, 8),
    "marts": {
        "a": {"ours": _taken(2, 1), "postgres": _taken(60, 60, gave_up=True), "clickhouse": _taken(1, 1)},
        "b": {"ours": _taken(2, 1), "postgres": _taken(4, 1), "clickhouse": _taken(1, 1)},
        "c": {"ours": _taken(2, 1), "postgres": _taken(1, 3), "clickhouse": _taken(6, 6)},
    },
}


def test_a_query_that_was_given_up_counts_with_the_time_that_it_had() -> None:
    assert ratios(FOUND, "postgres", "wall_s") == [30, 2, 0.5]
    told = marts_beside_sql(FOUND)
    assert "PostgreSQL 2.00 (wall s) and 3.00 (CPU s), ClickHouse 0.50 (wall s) and 1.00 (CPU s)" in told
    assert "| `a` | 2.0 | over 60.0 | 1.0 | 1.0 | over 60.0 | 1.0 |" in told


def test_a_part_is_told_beside_the_whole_that_came_right_after_it() -> None:
    runs = {"part": [_run(2, 1, 1), _run(4, 1, 1)], "whole": [_run(10, 8, 2), _run(40, 8, 2)]}
    told = marts_in_part({**PLACE, "sessions": 1000, "documents": 3400, "changed": 10, **runs})
    assert "| in part | 3.0 (2.0-4.0) | 1.0 (1.0-1.0) | 1.0 (1.0-1.0) | 2.0 (2.0-2.0) |" in told
    assert "| part / whole | 0.15 (0.10-0.20) | 0.12 (0.12-0.12) | 0.50 (0.50-0.50) | 0.20 (0.20-0.20) |" in told


def _run(wall: float, own: float, servers: float) -> dict[str, float]:
    return {"wall_s": wall, "cpu_s": own, "servers_cpu_s": servers}
