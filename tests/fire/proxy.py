"""A TCP proxy before a server, which can fall silent, slow down and break connections."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_CHUNK = 65_536
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Proxy:
    """Forwards connections to a port of this machine, in a thread of its own.

    Args:
        upstream: The server's port.

    Attributes:
        port: Where the proxy listens.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream, self._delay = upstream, 0.0
        self._loop, self._writers = asyncio.new_event_loop(), set[asyncio.StreamWriter]()
        self._flows = asyncio.Event()
        self._flows.set()
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(listening.getsockname()[1])
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True, name=f"proxy-{upstream}")
        self._thread.start()

    def close(self) -> None:
        """End all connections and the thread."""
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Accept connections and forward nothing."""
        self._call(self._flows.clear)
        try:
            yield
        finally:
            self._call(self._flows.set)

    @contextmanager
    def slowed(self, seconds: float) -> Iterator[None]:
        """Forward each piece late."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    def reset(self) -> None:
        """Break all connections."""
        self._call(self._abort)

    def _call(self, act: Callable[[], Any]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (act(), done.set()))
        done.wait(5)

    def _abort(self) -> None:
        for writer in list(self._writers):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()

    def _run(self, listening: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=listening))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        listening.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, back}
        self._writers |= ends
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flows.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.write_eof()
