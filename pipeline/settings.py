"""The settings of a command, and the only place that reads the environment (``ETL_*``)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import available_timezones

from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts import DEMO
from pipeline.errors import UsageError
from pipeline.text.redaction import remember

_SCHEMES = {
    "mongo_uri": ("mongodb://", "mongodb+srv://"),
    "postgres_uri": ("postgresql://", "postgres://"),
    "clickhouse_uri": ("http://", "https://", "clickhouse://", "clickhouses://"),
}
# What Airflow's part reads itself; others are called like none of these.
_OF_AIRFLOW = {
    "ETL_AIRFLOW_DATABASE",
    "ETL_MONGO_SLOTS",
    "ETL_POSTGRES_SLOTS",
    "ETL_REPLICATE_SCHEDULE",
    "ETL_SYNC_SCHEDULE",
    "ETL_SYNC_WAITS_AT_MOST",
    "ETL_SYNC_WAITS_FOR",
    "ETL_TIMEOUT_FACTOR",
}
_ALIKE = 0.92  # as difflib measures it: one letter in a dozen; ETL_POSTGRES_PORT is what Kubernetes calls a service's
CLICKHOUSE_SETTING = "ch_"  # begins an option of ClickHouse's URI that is a setting for every statement
_TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
# Below this the libraries themselves (170 MB) leave no room for a partition.
_LEAST_MEMORY = ByteSize(256 * 2**20)

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DAYS = Field(ge=1, le=36_500)
_NO_ZONES = {"Factory", "localtime"}  # placeholders: which zone they are depends on the machine

_PORT = r"(?:\d{0,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
_HOST = rf"(?:\[[^\]]*\]|[^@/?#:,\[\]]*)(?::{_PORT})?"
_USER = r"(?:(?:%[0-9a-fA-F]{2}|[^@/?#%])*@)?"
_READABLE = re.compile(rf"[a-z+]+://{_USER}{_HOST}(?:,{_HOST})*(?:/[^@?]*)?(?:\?.*)?", re.DOTALL)


def _paths(value: object) -> object:
    if not isinstance(value, str):
        return value
    # The word is no path: a folder of that name is written as ./demo.
    return tuple(
        Path(one).absolute() if Path(one) == DEMO and one != str(DEMO) else one
        for one in value.split(os.pathsep)
        if one
    )


def seconds(value: object) -> object:
    """Read a time such as ``90``, ``90s``, ``10min``, ``1h`` or ``7d``; what is none is returned as it is."""
    found = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(found[1]) * _SECONDS[found[2] or "s"] if found else value


@dataclass(frozen=True)
class Retention:
    """For how many days the books are kept.

    Attributes:
        details: Plan, accounts, drift and times of a run that is over.
        runs: The run itself: when it was, what it did, why it failed.
        resolved: Documents of the quarantine that were refused once and are not any more.
    """

    details: int = 30
    runs: int = 365
    resolved: int = 30


def _share(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", value.strip())
    if not found or float(found[1]) > 100:
        raise ValueError("must be a percentage from 0% to 100%, such as 50%")
    return float(found[1]) / 100


def _promises(value: object) -> object:
    """Read times by type of issue, such as ``8h`` or ``24h, billing=4h``."""
    if not isinstance(value, str):
        return value
    pairs = [one.strip().rpartition("=") for one in value.split(",")]
    promised = {name.strip(): seconds(span) for name, _, span in pairs}
    if len(promised) < len(pairs) or not all(isinstance(span, float) and span > 0 for span in promised.values()):
        raise ValueError("must be a time such as 8h, and may name others by type of issue: 24h,billing=4h")
    return promised


class Settings(BaseSettings):
    """Where the servers are and what the process may take; a server without a URI is served by an embedded engine.

    Attributes:
        home: Folder of the embedded engines.
        mongo_uri: ``mongodb://...``, or ``mongodb+srv://...``
        mongo_database: The MongoDB database that holds the collections.
        postgres_uri: ``postgresql://...``
        clickhouse_uri: ``https://...``, or ``http://...`` without TLS.
        contracts: Folders of a user's own contracts (in ``ETL_CONTRACTS`` joined by ``:``), instead of the seven of
            the demo; the word ``demo`` among them stands for those.
        marts: Folders of a user's own marts (in ``ETL_MARTS`` joined by ``:``), beside those of the demo: each is a
            pair of files, ``NAME.contract.py`` and ``NAME.py``.
        timezone: IANA name of the one time zone whose days and weeks the marts report, such as ``Europe/Berlin``.
        support_sla: Within what time a support ticket is to be answered; ``24h,billing=4h`` has a time of its own
            for a type of issue.
        memory: Bytes that a command may take, all its processes together; servers are not counted.
        workers: How many processes share what is large; unless it is set half as many as there are cores, to verify as
            many, and no more than the memory has room for, 256 MiB each.
        wait: How long a command waits for another one that publishes.
        silence: How long a server may be silent before it is asked whether it is still at work.
        max_shrink: The largest share of the published documents that a publish may remove or newly refuse; in
            ``ETL_MAX_SHRINK`` a percentage.
        retry: How long a command waits in all between attempts at what failed by something that passes by itself.
        reports: Folder of the reports that the DAG ``report`` writes.
        reports_url: Where people find that folder: the address at which it is served, for links to it, or a path that
            begins with ``/``, ``./`` or ``~/``.
        keep_details_days: For how long the books keep plan, accounts, drift and times of a run.
        keep_runs_days: For how long they keep the run itself.
        keep_resolved_days: For how long they keep documents that are not refused any more.
        keep_airflow_days: For how long Airflow's own database and its logs are kept.
    """

    model_config = SettingsConfigDict(
        env_prefix="ETL_", env_ignore_empty=True, extra="forbid", hide_input_in_errors=True
    )

    home: Path = Path(".etl")
    mongo_uri: SecretStr | None = None
    mongo_database: str = Field("etl", pattern=r'^[^/\\. "$\x00]{1,63}$')
    postgres_uri: SecretStr | None = None
    clickhouse_uri: SecretStr | None = None
    contracts: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)] = ()
    marts: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)] = ()
    timezone: str = "UTC"
    support_sla: Annotated[dict[str, float], NoDecode, BeforeValidator(_promises)] = {"": 86_400.0}
    memory: ByteSize = ByteSize(2**30)
    workers: Annotated[int | None, Field(ge=1, le=256)] = None
    wait: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=86_400)] = 600.0
    silence: Annotated[float, BeforeValidator(seconds), Field(gt=0, le=86_400)] = 60.0
    max_shrink: Annotated[float, BeforeValidator(_share)] = 0.5
    retry: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=86_400)] = 60.0
    reports: Path | None = None
    reports_url: str = Field("", pattern=r"^(https?://[^\s<>\"]+|(~|\.{0,2})/[^\s<>\"`]*)?$")
    keep_details_days: Annotated[int, _DAYS] = Retention.details
    keep_runs_days: Annotated[int, _DAYS] = Retention.runs
    keep_resolved_days: Annotated[int, _DAYS] = Retention.resolved
    keep_airflow_days: Annotated[int, _DAYS] = 30

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment.

        Args:
            **overrides: Values that go before the environment, by field name.

        Raises:
            UsageError: A value is wrong, or a variable is called almost as one of ours; one sentence that names it.
        """
        _check_spelling(os.environ)
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            raise UsageError("; ".join(_sentence(e["loc"], e["type"], e["msg"]) for e in error.errors())) from None

    @property
    def retention(self) -> Retention:
        """For how many days the books are kept."""
        return Retention(self.keep_details_days, self.keep_runs_days, self.keep_resolved_days)

    @property
    def processes(self) -> int:
        """How many processes share what is large: those that were set, or what cores and memory allow."""
        # One process and the servers beside it keep two cores busy.
        return self.workers or self._with_room(_cores() // 2)

    @property
    def verify_processes(self) -> int:
        """How many share a verification unless that was set: it leaves the servers little to do, so one by core."""
        return self.workers or self._with_room(_cores())

    def of_one_process(self, processes: int) -> Self:
        """Return the settings of one of several processes: its share of the memory, beside that which leads them."""
        memory = ByteSize((self.memory - _LEAST_MEMORY) // processes)
        return self.model_copy(update={"memory": memory, "workers": 1})

    def _with_room(self, processes: int) -> int:
        return max(1, min(processes, self.memory // _LEAST_MEMORY - 1))

    @field_validator("home", "contracts", "marts", "reports")
    @classmethod
    def _expand(cls, value: Path | tuple[Path, ...] | None) -> Path | tuple[Path, ...] | None:
        if value is None:
            return None
        return value.expanduser() if isinstance(value, Path) else tuple(path.expanduser() for path in value)

    @field_validator("home")
    @classmethod
    def _printable(cls, value: Path) -> Path:
        if not str(value).isprintable():  # PostgreSQL's tools and many others take a line break for the end of a path
            raise ValueError("must be a path without line breaks and other control characters")
        return value

    @field_validator("mongo_uri", "postgres_uri", "clickhouse_uri")
    @classmethod
    def _known_scheme(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            remember(value.get_secret_value())
        schemes = _SCHEMES[info.field_name or ""]
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError(f"must begin with {' or '.join(schemes)}")
        # Each driver would complain in its own way, and some with a part of the password.
        if value is not None and not _READABLE.fullmatch(value.get_secret_value()):
            raise ValueError(
                "can't be read as scheme://user:password@host:port/...; in user and password, "
                "special characters are written as percent and number (@ as %40, / as %2F)"
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones() - _NO_ZONES:
            raise ValueError(f"must be the IANA name of a time zone, such as Europe/Berlin, not {value[:60]!r}")
        return value

    @field_validator("memory")
    @classmethod
    def _enough_memory(cls, value: ByteSize) -> ByteSize:
        if value < _LEAST_MEMORY:
            raise ValueError(f"must be at least {_LEAST_MEMORY.human_readable()}")
        return value

    @field_validator("workers")
    @classmethod
    def _enough_for_all(cls, value: int | None, info: ValidationInfo) -> int | None:
        needed = ByteSize(_LEAST_MEMORY * ((value or 1) + 1))
        if value and value > 1 and (memory := info.data.get("memory")) and memory < needed:
            raise ValueError(
                f"is {value}, for which ETL_MEMORY={memory.human_readable()} is too little: it must be at least "
                f"{needed.human_readable()} for all of them together"
            )
        return value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_spelling(environment: Mapping[str, str]) -> None:
    """Refuse what is called almost as a variable of ours: who sets a limit must not go without it."""
    known = {f"ETL_{name.upper()}" for name in Settings.model_fields} | _OF_AIRFLOW
    ours = {name for name, value in environment.items() if value and name.upper().startswith("ETL_")}
    for name in sorted(one for one in ours if one.upper() not in known):
        of_as_many_words = [one for one in known if one.count("_") == name.count("_")]
        if meant := get_close_matches(name.upper(), of_as_many_words, 1, _ALIKE):
            raise UsageError(f"there is no setting {name}; did you mean {meant[0]}?")


def _sentence(location: tuple[int | str, ...], kind: str, message: str) -> str:
    field = str(location[0])
    if kind == "extra_forbidden":
        return f"There is no setting {field}"
    if field == "memory" and kind.startswith("byte_size"):
        message = "must be a size like 512MiB or 1GiB"
    if field == "workers" and kind != "value_error":
        message = "must be a number of processes from 1 to 256"
    if field in ("wait", "retry", "silence"):
        message = "must be a time like 90s, 10min or 1h, up to a day"
    if field.endswith("_days"):
        message = "must be a whole number of days from 1 to 36500"
    if field == "reports_url":
        message = "must be an address that begins with http:// or https://, or a path that begins with / or ./"
    elif kind == "string_pattern_mismatch":
        message = 'must be 1 to 63 characters without / \\ . " $ and blanks'
    return f"ETL_{field.upper()} {message.removeprefix('Value error, ')}"


def truth(text: str) -> bool | None:
    """Return what an option means that is true or false; None if it says neither."""
    return _TRUTH.get(text.lower())
