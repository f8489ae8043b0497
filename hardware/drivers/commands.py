"""Commands over a line that loses packets: ask, wait, ask again, until the last useful instant.

A node ignores a command number that it has carried out before, so asking again is safe. The number
comes from the command's id, so that the same command after a restart has the same number.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

from hardware.drivers.sink import Sink
from messages.commands import Command
from messages.ids import CommandId

ANSWER_WITHIN_S = 0.25  # twenty times the longest answer at 38,400 baud
WAITING_MAX = 64  # commands under way on one device; a store sends a few a second


def command_number(command: CommandId) -> int:
    """The 32-bit number of a command on the wire, always the same."""
    return zlib.crc32(command.encode())


class CommandRefusedError(RuntimeError):
    """The device answered that it cannot, or the driver would not ask; says what to look at."""


class Asking:
    """Commands under way on one device."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: dict[int, asyncio.Future[int]] = {}

    async def ask(self, command: Command, send: Callable[[int], bool]) -> tuple[int | None, int]:
        """Send until answered. The answer's result, None where none came in time; and the sends.

        Raises:
            CommandRefusedError: too many commands are under way, this one among them or not.
        """
        number = command_number(command.id)
        if number in self._waiting or len(self._waiting) >= WAITING_MAX:
            raise CommandRefusedError(f"{command.id} is under way, or {WAITING_MAX} others are")
        self._waiting[number] = asyncio.get_running_loop().create_future()
        sends = 0
        try:
            while (left_ns := command.not_after_ns - self._sink.now_ns()) > 0:
                sends += send(number)
                within_s = min(ANSWER_WITHIN_S, left_ns / 1e9)
                done, _ = await asyncio.wait([self._waiting[number]], timeout=within_s)
                if done:
                    return self._waiting[number].result(), sends
            return None, sends
        finally:
            del self._waiting[number]

    def answered(self, number: int, result: int) -> bool:
        """An answer came; False where nobody waits for it."""
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(result)
        return True
