"""What goes wrong under fire: each fault is done to the servers while commands run, and undone afterwards."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tests.fire.servers import Servers

Fault = Callable[[Servers], AbstractContextManager[None]]


@contextmanager
def _once(act: Callable[[], Any]) -> Any:
    act()
    yield


FAULTS: dict[str, Fault] = {
    "nothing": lambda servers: nullcontext(),
    "primary killed": lambda servers: servers.mongo.killed_primary(),
    "primary frozen": lambda servers: servers.mongo.frozen_primary(),
    "failover": lambda servers: _once(servers.mongo.step_down),
    "PostgreSQL killed": lambda servers: servers.postgres.killed(),
    "PostgreSQL silent": lambda servers: servers.postgres.proxy.stalled(),
    "PostgreSQL slow": lambda servers: servers.postgres.proxy.slowed(0.05),
    "PostgreSQL's connections reset": lambda servers: _once(servers.postgres.proxy.reset),
    "PostgreSQL's disk full": lambda servers: servers.postgres.full_disk(),
    "ClickHouse killed": lambda servers: servers.clickhouse.killed(),
    "ClickHouse silent": lambda servers: servers.clickhouse.proxy.stalled(),
    "ClickHouse slow": lambda servers: servers.clickhouse.proxy.slowed(0.05),
    "ClickHouse's connections reset": lambda servers: _once(servers.clickhouse.proxy.reset),
    "ClickHouse's disk full": lambda servers: servers.clickhouse.full_disk(),
}


def possible(servers: Servers) -> list[str]:
    """Return the faults that can be done here."""
    return [name for name in FAULTS if servers.disks or "disk" not in name]


def burn(servers: Servers, name: str, after: float, seconds: float) -> None:
    """Do one fault for some seconds, after others."""
    time.sleep(after)
    with FAULTS[name](servers):
        time.sleep(seconds)
