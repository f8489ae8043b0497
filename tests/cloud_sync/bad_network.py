"""A network that cuts, stalls, splits and repeats: a proxy between the sync process and the rest.

Each request is one connection to the other side, and its fate is drawn by seed: what a lossy link
does to HTTP once TCP has had its way. Packets are TCP's affair; what is left of them up here are
cut lines at any byte, silence until the time-out, late and piecemeal answers, and requests that
arrive twice because something in between repeated them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FATES = ("cut_request", "cut_answer", "reset", "silence", "slow", "twice")
PIECES_MAX = 12
SILENCE_S = 30.0  # longer than any time-out of the tests


@dataclass
class BadNetwork:
    """``share``: of requests to which something happens."""

    target: str
    seed: int
    share: float = 0.5
    url: str = ""
    happened: Counter[str] = field(default_factory=Counter)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            await self._carry(reader, writer)
        writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _whole(reader)
        fate = self.chance.choice(FATES) if self.chance.random() < self.share else ""
        cut, pieces = self.chance.random(), self.chance.randint(2, PIECES_MAX)
        if fate:
            self.happened[fate] += 1
        match fate:
            case "reset":
                return _reset(writer)
            case "silence":
                return await asyncio.sleep(SILENCE_S)
            case "cut_request":
                await self._asked(request[: int(cut * len(request))], answered=False)
                return None
            case "twice":
                await self._asked(request)
        answer = await self._asked(request)
        if fate == "cut_answer":
            answer = answer[: int(cut * len(answer))]
        size = max(1, len(answer) // pieces) if fate == "slow" else len(answer) or 1
        for start in range(0, len(answer), size):
            writer.write(answer[start : start + size])
            await writer.drain()
            await asyncio.sleep(0.001 if fate == "slow" else 0)

    async def _asked(self, request: bytes, *, answered: bool = True) -> bytes:
        parts = urlsplit(self.target)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request)
        await writer.drain()
        answer = await reader.read(-1) if answered else b""
        writer.close()
        return answer


async def _whole(reader: asyncio.StreamReader) -> bytes:
    """One request, told to close its connection behind it."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    size = next(int(x.split(b":")[1]) for x in lines if x.lower().startswith(b"content-length:"))
    body = await reader.readexactly(size)
    return lines[0] + b"\r\nConnection: close\r\n" + b"\r\n".join(lines[1:]) + body


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def between(network: BadNetwork) -> AsyncIterator[BadNetwork]:
    """The proxy while the block runs; ``network.url`` is where it listens."""
    under_way: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(network.carry(reader, writer))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    network.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield network
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
