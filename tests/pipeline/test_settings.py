"""Settings come from the environment, say in one sentence what is wrong, and keep passwords to themselves."""

import re
from pathlib import Path

import pytest

from contracts import DEMO
from pipeline.errors import BooksOpenError, DataError, EngineError, EtlError, ServerError, UsageError
from pipeline.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"ETL_{field.upper()}", raising=False)


def test_defaults_name_no_server() -> None:
    settings = Settings.load()
    assert (settings.home, settings.mongo_database, settings.memory) == (Path(".etl"), "etl", 2**30)
    assert settings.mongo_uri is settings.postgres_uri is settings.clickhouse_uri is None
    assert settings.contracts == ()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_HOME", "~/data")
    monkeypatch.setenv("ETL_MEMORY", "512MiB")
    monkeypatch.setenv("ETL_CONTRACTS", "/one:/two with blank:")
    monkeypatch.setenv("ETL_MONGO_URI", "mongodb://me:secret@db/")
    settings = Settings.load()
    assert settings.home == Path.home() / "data"
    assert settings.memory == 512 * 2**20
    assert settings.contracts == (Path("/one"), Path("/two with blank"))
    assert settings.mongo_uri is not None
    assert settings.mongo_uri.get_secret_value() == "mongodb://me:secret@db/"
    assert "secret" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_demo_is_a_word_and_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_CONTRACTS", "/one:demo:./demo")
    assert Settings.load().contracts == (Path("/one"), DEMO, Path("demo").absolute())


@pytest.mark.parametrize("given", ["https://reports.example/etl/", "./reports", "../reports", "~/reports", "/srv/x"])
def test_reports_are_found_at_an_address_or_a_path(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("ETL_REPORTS_URL", given)
    assert Settings.load().reports_url == given


def test_options_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_HOME", "/from/environment")
    assert Settings.load(home="/from/option").home == Path("/from/option")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ETL_MAX_SHRNK", "ETL_MAX_SHRINK"),
        ("ETL_POSTGRESQL_URI", "ETL_POSTGRES_URI"),
        ("ETL_CLICKHOUSE_URL", "ETL_CLICKHOUSE_URI"),
        ("etl_contract", "ETL_CONTRACTS"),
        ("ETL_TIMEOUTS_FACTOR", "ETL_TIMEOUT_FACTOR"),
    ],
)
def test_a_name_that_is_spelt_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    monkeypatch.setenv(name, "5%")
    with pytest.raises(UsageError, match=rf"^there is no setting {name}; did you mean {meant}\?$"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"ETL_{server}_{what}", "x") for server in ("MONGO", "POSTGRES", "CLICKHOUSE") for what in ("USER", "HOST")),
        ("ETL_POSTGRES_PORT", "tcp://10.0.0.1:5432"),  # Kubernetes sets it beside a service that is called etl-postgres
        ("ETL_MONGO_DATABASE_2", "x"),
        ("ETL_CLICKHOUSE_URI_FILE", "x"),
        ("ETL_MAX_SHRNK", ""),
    ],
)
def test_what_others_may_call_theirs_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    Settings.load()


def test_the_variables_of_the_stack_and_of_airflow_are_no_misspellings(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    inside = [path for folder in ("docker", "docs", "dags") for path in (root / folder).rglob("*.*")]
    read = [path for path in inside if path.suffix in (".md", ".py", ".sh", ".yml")]
    read += [root / name for name in (".env.example", "README.md", "docker-compose.yml")]
    named = {name for path in read for name in re.findall(r"\bETL_[A-Z_]+[A-Z]\b", path.read_text())}
    assert {"ETL_SYNC_WAITS_FOR", "ETL_POSTGRES_SLOTS", "ETL_ALERTS"} <= named
    settings = {f"ETL_{field.upper()}" for field in Settings.model_fields}
    for name in named - settings:
        monkeypatch.setenv(name, "x")
    Settings.load()


def test_empty_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.setenv(f"ETL_{field.upper()}", "")
    assert Settings.load() == Settings.load(home=".etl", contracts=())


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("ETL_MEMORY", "plenty", "ETL_MEMORY must be a size like 512MiB or 1GiB"),
        ("ETL_MEMORY", "1MiB", "ETL_MEMORY must be at least 256.0MiB"),
        ("ETL_POSTGRES_URI", "mysql://me:secret@db", "ETL_POSTGRES_URI must begin with postgresql:// or postgres://"),
        ("ETL_MONGO_URI", "localhost:27017", "ETL_MONGO_URI must begin with mongodb:// or mongodb+srv://"),
        ("ETL_WORKERS", "many", "ETL_WORKERS must be a number of processes from 1 to 256"),
        ("ETL_WORKERS", "0", "ETL_WORKERS must be a number of processes from 1 to 256"),
        ("ETL_WAIT", "soon", "ETL_WAIT must be a time like 90s, 10min or 1h, up to a day"),
        ("ETL_RETRY", "often", "ETL_RETRY must be a time like 90s, 10min or 1h, up to a day"),
        ("ETL_WAIT", "-1", "ETL_WAIT must be a time like 90s, 10min or 1h, up to a day"),
        ("ETL_SILENCE", "0", "ETL_SILENCE must be a time like 90s, 10min or 1h, up to a day"),
        ("ETL_WAIT", "2000h", "ETL_WAIT must be a time like 90s, 10min or 1h, up to a day"),
        ("ETL_MAX_SHRINK", "half", "ETL_MAX_SHRINK must be a percentage from 0% to 100%, such as 50%"),
        ("ETL_MAX_SHRINK", "0.5", "ETL_MAX_SHRINK must be a percentage from 0% to 100%, such as 50%"),
        ("ETL_MAX_SHRINK", "101%", "ETL_MAX_SHRINK must be a percentage from 0% to 100%, such as 50%"),
        (
            "ETL_TIMEZONE",
            "Berlin",
            "ETL_TIMEZONE must be the IANA name of a time zone, such as Europe/Berlin, not 'Berlin'",
        ),
        (
            "ETL_TIMEZONE",
            "../etc",
            "ETL_TIMEZONE must be the IANA name of a time zone, such as Europe/Berlin, not '../etc'",
        ),
        *(
            (
                "ETL_SUPPORT_SLA",
                value,
                "ETL_SUPPORT_SLA must be a time such as 8h, and may name others by type of issue: 24h,billing=4h",
            )
            for value in ("soon", "8h,4h", "8h,billing", "-1h", "0")
        ),
        *(
            (
                "ETL_REPORTS_URL",
                given,
                "ETL_REPORTS_URL must be an address that begins with http:// or https://, or a path that begins with "
                "/ or ./",
            )
            for given in ("file:///srv/reports", "reports", "javascript:x", "./`x`", "https://a b")
        ),
        ("ETL_MONGO_DATABASE", "a b", 'ETL_MONGO_DATABASE must be 1 to 63 characters without / \\ . " $ and blanks'),
    ],
)
def test_a_bad_value_is_one_sentence(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as caught:
        Settings.load()
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("value", "seconds"), [("90", 90), ("90s", 90), ("1.5 min", 90), ("10m", 600), ("1h", 3600)])
def test_a_time_is_read_as_people_write_it(monkeypatch: pytest.MonkeyPatch, value: str, seconds: int) -> None:
    times = ("wait", "retry", "silence")
    for name in times:
        monkeypatch.setenv(f"ETL_{name.upper()}", value)
    settings = Settings.load()
    assert [getattr(settings, name) for name in times] == [seconds] * len(times)


def test_promised_times_are_of_types_of_issues(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().support_sla == {"": 86_400}
    monkeypatch.setenv("ETL_SUPPORT_SLA", "8h, billing = 30min")
    assert Settings.load().support_sla == {"": 28_800, "billing": 1800}


def test_half_of_what_is_published_may_go_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().max_shrink == 0.5
    monkeypatch.setenv("ETL_MAX_SHRINK", "12.5%")
    assert Settings.load().max_shrink == 0.125


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no setting hone"):
        Settings.load(hone="/typo")


def test_exit_codes_follow_the_tree() -> None:
    assert issubclass(EngineError, ServerError)
    assert issubclass(BooksOpenError, DataError)
    assert (EtlError.exit_code, UsageError.exit_code, EngineError.exit_code, BooksOpenError.exit_code) == (2, 2, 2, 1)
