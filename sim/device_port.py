"""The device's end of a serial port, on a pty: what a UART with a cable in it does.

A UART sends whether or not somebody reads. So writes never wait: bytes that no reader takes are
dropped and counted. The port's name is a stable symbolic link to the pty, as udev's by-id names
are, so that a daemon that restarts, or a device plugged in again, is found under the same name.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

LOOK_FOR_READER_S = 0.05
READ_BYTES_MAX = 65_536


class Wire(Protocol):
    """What lies between device and host; ``pass_on`` calls ``deliver`` for what arrives."""

    def pass_on(self, data: bytes, deliver: Callable[[bytes], None]) -> None: ...


class StraightWire:
    """All bytes, at once."""

    def pass_on(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        deliver(data)


class DevicePort:
    """Opens at ``plug``; needs a running event loop. ``on_bytes`` gets what the host sends."""

    def __init__(
        self,
        link: str | Path,
        on_bytes: Callable[[bytes], None] = lambda data: None,
        *,
        to_host: Wire | None = None,
        from_host: Wire | None = None,
    ) -> None:
        self.link = Path(link)
        self.dropped_bytes = 0
        self.sent_bytes = 0
        self._on_bytes = on_bytes
        self._to_host, self._from_host = to_host or StraightWire(), from_host or StraightWire()
        self._master: int | None = None
        self._looking: asyncio.TimerHandle | None = None

    @property
    def plugged(self) -> bool:
        return self._master is not None

    def plug(self) -> None:
        """Appear under the link, in raw mode, and listen."""
        if self._master is not None:
            return
        self._master, slave = os.openpty()
        tty.setraw(slave)  # stays while the master is open
        os.set_blocking(self._master, False)
        self._point_link_to(os.ttyname(slave))
        os.close(slave)  # now the master reports a hang-up until a host opens the port
        self._look_for_reader()

    def unplug(self) -> None:
        """Vanish: the host reads end of file."""
        master, self._master = self._master, None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if master is not None:
            asyncio.get_running_loop().remove_reader(master)
            os.close(master)
            with contextlib.suppress(FileNotFoundError):
                self.link.unlink()

    def send(self, data: bytes) -> None:
        """Put bytes on the wire; what nobody takes is dropped and counted."""
        self._to_host.pass_on(data, self._write)

    def _write(self, data: bytes) -> None:
        written = 0
        if self._master is not None and self._has_reader():
            with contextlib.suppress(OSError):  # full, or gone this moment
                written = os.write(self._master, data)
        self.sent_bytes += written
        self.dropped_bytes += len(data) - written

    def _has_reader(self) -> bool:
        poll = select.poll()
        assert self._master is not None
        poll.register(self._master, 0)  # hang-up is always reported
        return not any(events & select.POLLHUP for _, events in poll.poll(0))

    def _look_for_reader(self) -> None:
        """While hung up, a descriptor is readable for ever: look now and then instead."""
        loop = asyncio.get_running_loop()
        self._looking = None
        if self._master is None:
            return
        if self._has_reader():
            loop.add_reader(self._master, self._readable)
        else:
            self._looking = loop.call_later(LOOK_FOR_READER_S, self._look_for_reader)

    def _readable(self) -> None:
        assert self._master is not None
        try:
            data = os.read(self._master, READ_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the host closed the port
                raise
            data = b""
        if data:
            self._from_host.pass_on(data, self._on_bytes)
        else:
            asyncio.get_running_loop().remove_reader(self._master)
            self._look_for_reader()

    def _point_link_to(self, target: str) -> None:
        """Atomically, so that a host never finds half a link."""
        self.link.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.rename(self.link)
