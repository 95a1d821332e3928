"""Ports for servers that are bound to them later on: nobody else may be given one meanwhile."""

import itertools
import os
import re
import socket

_LOWEST, _EACH, _WORKERS = 20_000, 750, 16  # below those that systems give to whoever names none (Linux: from 32768)
_worker = int("".join(re.findall(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", "")) or "0")) % _WORKERS
_turn = itertools.count(os.getpid())


def free_port() -> int:
    """Return a port which nobody listens at, of those that are this worker's; each is given once in a while."""
    for number in itertools.islice(_turn, _EACH):
        port = _LOWEST + _worker * _EACH + number % _EACH
        with socket.socket() as server:
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
