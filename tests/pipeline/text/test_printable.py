"""What documents say is shown and never done: by tables, errors, log lines and alerts."""

import io
import json
import logging
import unicodedata
from typing import Any

import orjson
import pytest
from bson import Timestamp
from rich.console import Console

from pipeline.airflow import alerts
from pipeline.airflow import log_lines as lines
from pipeline.cli import output as outcome
from pipeline.cli import tables
from pipeline.cli.app import run
from pipeline.errors import DataError, UsageError
from pipeline.replication.comparison import Comparison
from pipeline.text.printable import visible, visible_json
from transforms.oracle.compare import Difference

HOSTILE = "a\x1b[31m\x07\x7f\x9b\u202e\u2066\u200b\u2028\u2029\ufeff\r\nb\ud800\U000e0041"


def is_harmless(text: str) -> bool:
    return all(one == "\n" or unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in text)


def printed(*parts: Any, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_character_that_is_not_seen_is_written_out() -> None:
    assert visible("a\x1b[2J\u202e\n\x85\u2028\udcff") == r"a\x1b[2J\u202e\n\x85\u2028\udcff"
    assert visible("Zoë\u00a0\u3000漢字 😀 [bold]\\") == "Zoë\u00a0\u3000漢字 😀 [bold]\\"
    everything = "".join(map(chr, range(0x110000)))
    assert is_harmless(visible(everything)) and "\n" not in visible(everything)


def test_json_stays_the_same_values() -> None:
    values = {"a" + chr(0x9B): ["\u202e\U000e0041\x7f\u2028 ok", 1.5, None, "é\n"]}
    text = orjson.dumps(values, option=orjson.OPT_INDENT_2).decode()
    assert json.loads(visible_json(text)) == values
    assert is_harmless(visible_json(text)) and visible_json(text).count("\n") == text.count("\n")


def test_tables_show_it_and_keep_their_columns() -> None:
    long = "x" * 600
    rows = [(HOSTILE, 1, "status"), (long, 123_456, "ok"), ("[bold]short", 2, "y" * 100_000)]
    text = printed(tables.table(HOSTILE, ("_id", "documents", "state"), rows))
    assert is_harmless(text) and "\\x1b[31m" in text and "[bold]short" in text
    assert all(one in text for one in ("documents", "123,456", "state"))
    assert sum(line.count("x") for line in text.splitlines()) > 600 and len(text.splitlines()) < 60
    for narrow in (60, 80):
        assert "123,456" in printed(tables.table("t", ("_id", "documents", "state"), rows), width=narrow)
    assert is_harmless(printed(*tables.undeclared([HOSTILE])))


def test_errors_are_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert is_harmless(str(UsageError(f"no {HOSTILE}"))) and "\n" not in str(DataError(f"no {HOSTILE}"))
    for error in (UsageError(HOSTILE), ValueError(HOSTILE)):
        for debug in (False, True):
            outcome.failed(error, as_json=True, debug=debug)
            out, err = capsys.readouterr()
            assert is_harmless(err) and is_harmless(out) and "\\x1b[31m" in json.loads(out)["error"]


def test_names_given_to_a_command_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quarantine", "show", "--no-such-\x1b[31m\u202e"]) == 2
    assert is_harmless(capsys.readouterr().err)
    outcome.say("[red]" + HOSTILE.rstrip("\U000e0041"))
    told = capsys.readouterr().err
    assert is_harmless(told) and told.startswith("[red]a\\x1b[31m")


def test_log_lines_and_alerts(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    difference = Difference(HOSTILE, "t", "c", HOSTILE, "x" * 100_000)
    found = Comparison(HOSTILE, "postgres", Timestamp(1, 1), run_id="r", differences=[difference])
    lines.comparison_lines([found])
    lines.finished_lines("documents written")(HOSTILE, 1, 1)
    delivered: list[alerts.Alert] = []
    monkeypatch.setattr(alerts, "_deliver", delivered.append)
    alerts.notify(alerts.Alert("failed", "dag", "run\r\nx", HOSTILE, "Error", HOSTILE, "http://here"))
    messages = [one.getMessage() for one in caplog.records]
    assert len(messages) == 4 and all(is_harmless(one) and "\n" not in one and len(one) < 2_000 for one in messages)
    (alert,) = delivered
    assert is_harmless(alert.text) and alert.text.count("\n") == 2 and "\n" not in alert.subject
