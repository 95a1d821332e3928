"""A sentence that names a next command: the command is taken out of the sentence, run, and ends well."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.cli import app as cli

NAME = "SearchQueries"
COMMAND = re.compile(r"\betl ((?:generate|replicate|verify|sync|marts)\b(?: --[a-z-]+)*(?: [A-Z]\w+)?)")
Etl = Callable[..., tuple[int, str]]


@pytest.fixture
def etl(lab: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Etl:
    """Return a function that runs ``etl`` in this process; it returns the exit code and stderr."""
    for name, value in lab.settings:
        if name.endswith(("_uri", "_database", "home")):
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            monkeypatch.setenv(f"ETL_{name.upper()}", text)

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        return cli.run(list(arguments)), capsys.readouterr().err

    return run


def _empty(lab: Any, etl: Etl) -> None:
    lab.collection(NAME).drop()


def _made_anew(lab: Any, etl: Etl) -> None:
    assert etl("replicate", NAME)[0] == 0
    lab.fill(**{NAME: 7})


def _differs(lab: Any, etl: Etl) -> None:
    assert etl("replicate", NAME)[0] == 0
    lab.change_postgres("DELETE FROM replica.search_queries WHERE _id = (SELECT min(_id) FROM replica.search_queries)")


def _elsewhere(lab: Any, etl: Etl) -> None:
    assert etl("replicate", NAME)[0] == 0
    lab.change_postgres("""UPDATE etl.published SET source = jsonb_set(source::jsonb, '{database}', '"shop"')""")


SITUATIONS: dict[str, tuple[Callable[[Any, Etl], None], tuple[str, ...], str]] = {
    "not replicated": (lambda lab, etl: None, ("verify", NAME), "replicate"),
    "made anew": (_made_anew, ("sync",), "replicate"),
    "differs": (_differs, ("verify", NAME), "verify --repair"),
    "from elsewhere": (_elsewhere, ("sync",), "replicate --new-source"),
    # The last one: it fills all collections.
    "nothing there": (_empty, ("replicate", NAME), "generate"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_command_that_a_sentence_names_ends_well(lab: Any, etl: Etl, situation: str) -> None:
    arrange, arguments, named = SITUATIONS[situation]
    lab.fill(**{NAME: 5})
    arrange(lab, etl)
    code, told = etl(*arguments)
    assert code in (1, 2), told
    found = COMMAND.search(told)
    assert found is not None and found[1] == named, told
    code, after = etl(*found[1].split())
    assert code == 0, f"{told}{after}"
    code, after = etl(*arguments)
    assert code == 0, after
