"""The public API: what it exports, that its page names all of it, and that the page's examples run."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from tests.pipeline.lab import Lab

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# What the notebook and the page on scaling use of the project is on the page, too.
USERS = (
    "docs/scaling.md",
    "docs/notebooks.md",
    "docs/api.md",
    *(f"notebooks/{one.name}" for one in (ROOT / "notebooks").glob("*.ipynb")),
)


def _python(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", pipeline.__all__)
def test_each_name_is_there_and_on_the_page(name: str) -> None:
    assert getattr(pipeline, name) is not None
    assert name in dir(pipeline)
    assert re.search(rf"`{name}\b", PAGE)


def test_type_checkers_find_each_name_where_it_is() -> None:
    imports = [
        one for one in ast.walk(ast.parse(Path(pipeline.__file__).read_text())) if isinstance(one, ast.ImportFrom)
    ]
    found = {
        name.asname or name.name: f"{one.module}:{name.name}"
        for one in imports
        for name in one.names
        if (one.module or "").startswith(("pipeline.", "transforms."))
    }
    assert found == pipeline._DEFINED
    assert pipeline.__all__ == sorted(found, key=lambda name: (not name.isupper(), name[0].islower(), name))


def test_what_is_not_there_is_told_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'pipeline' has no attribute 'nothing'"):
        _ = pipeline.nothing


def test_to_import_it_changes_nothing_and_loads_nothing() -> None:
    code = (
        "import os, sys; before = dict(os.environ); import pipeline; assert dict(os.environ) == before; "
        "print(*(name.partition('.')[0] for name in sys.modules))"
    )
    heavy = {"polars", "pyarrow", "numpy", "pandera", "pymongo", "bson", "pydantic", "clickhouse_connect", "contracts"}
    assert heavy & set(_python("-c", code).split()) == set()


@pytest.mark.parametrize("first", ["import pipeline.airflow", "import pipeline; pipeline.tune_environment()"])
def test_what_libraries_read_is_set_before_they_are_loaded(first: str) -> None:
    names = "('_RJEM_MALLOC_CONF', 'OPENBLAS_NUM_THREADS')"
    code = f"import os, sys; {first}; print(*map(os.environ.get, {names}), *({{'polars', 'numpy'}} & set(sys.modules)))"
    given = {"_RJEM_MALLOC_CONF": "", "OPENBLAS_NUM_THREADS": ""}
    assert _python("-c", code, **given).strip() == "", "what the environment says goes first"
    unset = "import os; [os.environ.pop(name, None) for name in " + names + "]; "
    assert _python("-c", unset + code).split() == ["dirty_decay_ms:0,muzzy_decay_ms:0", "1"]


def test_the_command_sets_it_before_it_loads_them() -> None:
    code = (
        "import os, sys; os.environ.pop('_RJEM_MALLOC_CONF', None)  # Polars has set it in this process\n"
        "from pipeline.cli import entry; sys.argv = ['etl', '--help']\n"
        "try: entry.main()\nexcept SystemExit: print(os.environ['_RJEM_MALLOC_CONF'], 'polars' in sys.modules)"
    )
    assert _python("-c", code).splitlines()[-1] == "dirty_decay_ms:0,muzzy_decay_ms:0 False"


@pytest.mark.parametrize("path", USERS)
def test_pages_and_notebooks_use_nothing_else(path: str) -> None:
    text = (ROOT / path).read_text()
    code = text if path.endswith(".ipynb") else "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    used = re.findall(r"\bpipeline\.(\w+)|\bfrom pipeline import (\w+)", code)
    assert {name for names in used for name in names if name} <= set(pipeline.__all__)
    assert used
    assert not re.search(r"\b(from|import) pipeline\.", code)


def test_the_examples_of_the_page_run(lab: Lab, tmp_path: Path) -> None:
    script = tmp_path / "examples.py"
    script.write_text("\n".join(EXAMPLES))
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in lab.settings if name.endswith("_uri")}
    given = {"ETL_HOME": str(tmp_path), "ETL_MONGO_DATABASE": lab.settings.mongo_database}
    told = _python(str(script), **uris, **given).splitlines()
    assert told[0].startswith("['EventLogs', ")
    assert told[-1].endswith(" 2")
    lab.assert_replicated(["SearchQueries"])


def test_an_option_that_a_word_does_not_know_is_a_type_error(tmp_path: Path) -> None:
    """For authors of contracts: type checkers know each word's options, and editors offer them."""
    words = "from contracts.schema.fields import boolean, integer, text\n"
    right = "text('x', 'X.', nullable=True, max_length=3)\ninteger('n', 'N.', minimum=0)\n"
    wrong = "text('x', 'X.', lenght=1)\nboolean('b', 'B.', minimum=0)\ninteger('n', 'N.', minimum='0')\n"
    (tmp_path / "things.py").write_text(words + right + wrong)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path / "things.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # by the cache of `make lint`
    lines = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error: " in line]
    assert lines == [4, 5, 6], done.stdout
