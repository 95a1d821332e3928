"""Embedded ClickHouse: chDB behind the small server in `pipeline.engines.chdb_server`."""

import http.client
import os
import sys

import psutil

from pipeline.engines.engine import Engine
from pipeline.engines.private import make_private

_MOST_MEMORY = 4 << 30
_ENVIRONMENT = ("OPENBLAS_NUM_THREADS=1",)  # chDB loads NumPy, and uses none of its linear algebra


class ClickHouse(Engine):
    """chDB from its wheel."""

    name = "clickhouse"
    title = "ClickHouse"
    wheel = "chdb-core"
    folder_flag = "--path"
    port_flag = "--port"
    program = "pipeline.engines.chdb_server"

    def prepare(self) -> None:
        """Create the folder; chDB mends itself."""
        self.wheel_file("chdb/_chdb.abi3.so")
        make_private(self.data)
        if not self.password_file.exists():
            self.new_password()

    def command(self, port: int) -> list[str]:
        """Return the server's arguments; it imports from where we import, installed or not."""
        imports = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
        memory = min(psutil.virtual_memory().total // 2, _MOST_MEMORY)
        place = [self.folder_flag, str(self.data), self.port_flag, str(port), "--memory", str(memory)]
        place += ["--password-file", str(self.password_file)]
        python = [sys.executable, "-P", "-m", "pipeline.engines.chdb_server"]
        return [f"PYTHONPATH={imports}", *_ENVIRONMENT, *python, *place]

    def ready(self, port: int) -> bool:
        """Return whether it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().read() == b"Ok.\n"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def uri(self, port: int) -> str:
        """Return the URI, with the password, as ``clickhouse_connect.get_client(dsn=...)`` takes it."""
        return f"http://default:{self.password_file.read_text()}@127.0.0.1:{port}/default"
