"""This machine: memory, disks, contracts."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import psutil

from contracts.schema.entity import ContractError, Entity
from contracts.schema.registry import entities
from pipeline.doctor.common import size
from pipeline.doctor.finding import Finding, judged
from pipeline.settings import Settings
from pipeline.text.number import counted

ABOUT = "this machine"
_LEAST_FREE = 2**30


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Yield what is to be said of this machine.

    Args:
        settings: From the environment, as they are before engines are started.
    """
    available = psutil.virtual_memory().available
    says = f"{size(available)} free, of which ETL_MEMORY lets a command take {size(int(settings.memory))}"
    too_much = int(settings.memory) > available
    yield judged(ABOUT, "memory", says, warn="set ETL_MEMORY to less than what is free" if too_much else "")
    yield _disk("temporary files", Path(gettempdir()), "marts that outgrow memory; let TMPDIR name another folder")
    if None in (settings.mongo_uri, settings.postgres_uri, settings.clickhouse_uri):
        yield _disk("embedded engines", settings.home, "all that is stored; let ETL_HOME name another folder")


def examine_contracts(settings: Settings) -> tuple[Finding, dict[str, Entity]]:
    """Return what is to be said of the contracts, and those that could be read."""
    try:
        found = entities(settings.contracts)
    except ContractError as error:
        return judged("contracts", "contracts", str(error), fail="mend the file that is named"), {}
    says = f"{counted(len(found), 'collection')} declared"
    advice = "" if found else "look at ETL_CONTRACTS, or let contracts be inferred"
    return judged("contracts", "contracts", says, warn=advice), found


def _disk(check: str, folder: Path, what_for: str) -> Finding:
    there = next(one for one in (folder, *folder.resolve().parents) if one.exists())
    free = shutil.disk_usage(there).free
    advice = f"make room: it takes {what_for}" if free < _LEAST_FREE else ""
    return judged(ABOUT, f"disk of {check}", f"{size(free)} free", warn=advice)
