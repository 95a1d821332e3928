"""``python -m pipeline.engines.chdb_server --path FOLDER ...``: serve until SIGTERM, then shut down in order."""

import argparse
import os
import shutil
import signal
import threading
from pathlib import Path

from pipeline.engines.chdb_server.access import keep_default_database, write_configuration
from pipeline.engines.chdb_server.database import Database
from pipeline.engines.chdb_server.http import Server


def main() -> None:
    """Serve the folder until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.engines.chdb_server", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder of the data")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--password-file", type=Path, required=True, help="file of the password of the user default")
    parser.add_argument("--memory", type=int, default=2 << 30, help="bytes the engine may take (default 2 GiB)")
    parser.add_argument("--config", help="a configuration beside the folder, instead of the one that is made")
    options = parser.parse_args()
    os.umask(0o077)
    password = options.password_file.read_text()
    path = options.path.resolve()
    path.mkdir(parents=True, exist_ok=True)
    os.chdir(path.parent)
    if not options.config:
        keep_default_database(path)
    database = Database(path, options.memory, options.config or write_configuration(path.parent))
    shutil.rmtree(database.spool, ignore_errors=True)  # what a killed server left
    database.spool.mkdir()
    with_signals(Server(options.port, database, password)).serve_forever()
    database.close()
    os._exit(0)  # statements that didn't finish hold threads inside the engine: don't wait for them


def with_signals(server: Server) -> Server:
    """Stop the server at SIGTERM and SIGINT, after running statements (registered after chDB, which sets its own)."""

    def stop(*_: object) -> None:
        threading.Thread(target=server.finish).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return server


if __name__ == "__main__":
    main()
