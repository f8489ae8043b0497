"""A serial port that comes back: opened non-blocking, read and written from the event loop.

A port that is gone shows in three ways, all treated alike: OSError (USB adapter pulled), end of
file (``b""``, what a pty gives), or refusal to open. Then the line waits with back-off and jitter
and opens anew. Bytes never cross a reconnection: what was left to write is dropped, what the
system had kept to read is flushed, and ``on_open`` tells the owner to begin afresh.
"""

from __future__ import annotations

import asyncio
import os
import random
import termios
from collections.abc import Callable
from typing import Protocol

import serial

READ_BYTES_MAX = 65_536
UNSENT_BYTES_MAX = 4_096  # commands are tens of bytes: more means that nobody takes them
BACKOFF_START_S = 0.1
BACKOFF_MAX_S = 5.0  # a person who plugs a device in again sees it work within this


class LineOwner(Protocol):
    """Who gets the bytes."""

    def on_open(self) -> None: ...

    def on_bytes(self, data: bytes) -> None: ...

    def on_closed(self, reason: str) -> None: ...


class SerialLine:
    """One port; ``run`` until cancelled."""

    def __init__(
        self,
        port: str,
        baud: int,
        owner: LineOwner,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._port, self._baud, self._owner, self._jitter = port, baud, owner, jitter
        self._serial: serial.Serial | None = None
        self._unsent = bytearray()
        self._failed: asyncio.Future[str] | None = None
        self._heard = False
        self.opened = 0
        self.unsent_dropped_bytes = 0

    async def run(self) -> None:
        """Open, serve, close, wait, again; cancellation closes the port."""
        backoff_s = BACKOFF_START_S
        while True:
            self._heard = False
            reason = await self._serve_once()
            self._owner.on_closed(reason)
            if self._heard:
                backoff_s = BACKOFF_START_S
            await asyncio.sleep(backoff_s * (0.5 + 0.5 * self._jitter()))
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    def write(self, data: bytes) -> bool:
        """Send soon, in order; False where the port is closed or the far end takes nothing."""
        if self._serial is None or len(self._unsent) + len(data) > UNSENT_BYTES_MAX:
            self.unsent_dropped_bytes += len(data)
            return False
        self._unsent += data
        self._flush()
        return True

    async def _serve_once(self) -> str:
        """Until the port is gone; says why."""
        try:
            # exclusive: an flock, so that a second daemon on the port is refused, not interleaved
            port = serial.Serial(self._port, self._baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as error:
            return f"cannot open {self._port}: {error}"
        loop = asyncio.get_running_loop()
        self._serial, self._failed = port, loop.create_future()
        self.opened += 1
        try:
            port.reset_input_buffer()  # bytes from before are of no known age
            loop.add_reader(port.fd, self._readable)
            self._owner.on_open()
            return await self._failed
        except (OSError, termios.error) as error:
            return f"{self._port}: {error}"
        finally:
            self._close()

    def _readable(self) -> None:
        assert self._serial is not None
        try:
            data = os.read(self._serial.fd, READ_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(f"{self._port} is gone: {error.strerror}")
            return
        if not data:
            self._fail(f"{self._port} is gone: end of file")
            return
        self._heard = True
        self._owner.on_bytes(data)

    def _flush(self) -> None:
        if self._serial is None:
            return
        loop, fd = asyncio.get_running_loop(), self._serial.fd
        try:
            while self._unsent:
                del self._unsent[: os.write(fd, self._unsent)]
        except BlockingIOError:
            loop.add_writer(fd, self._flush)
            return
        except OSError as error:
            self._fail(f"{self._port} is gone: {error.strerror}")
        loop.remove_writer(fd)

    def _fail(self, reason: str) -> None:
        if self._serial is not None:  # a descriptor at its end is readable for ever: stop now
            asyncio.get_running_loop().remove_reader(self._serial.fd)
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(reason)

    def _close(self) -> None:
        port, self._serial, self._failed = self._serial, None, None
        self._unsent.clear()
        if port is not None and port.fd is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(port.fd)  # before closing: the number may be given away at once
            loop.remove_writer(port.fd)
            port.close()
