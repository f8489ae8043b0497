"""A receiver in a process of its own: answers 204, verifies signed webhooks, counts repeats.

The sink must not be the bottleneck, so it speaks just the HTTP/1.1 that our sender speaks (one
request, ``Content-Length``, keep-alive) on an asyncio protocol. Signatures are verified here with
nothing of ours: HMAC-SHA256 over ``id.timestamp.body`` as the specification writes it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

from cloud_sync.service import run_on_loop

TOLERANCE_S = 300
HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Sink:
    """A running sink. ``report``: what came, after which it ends."""

    url: str

    def report(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/report", timeout=30) as reply:
            found: dict[str, Any] = json.loads(reply.read())
        return found


@contextmanager
def serving(secret: str = "") -> Iterator[Sink]:
    """A sink process; with a secret it verifies what comes and refuses the rest with 401."""
    command = [sys.executable, "-m", "bench.sink", secret]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Sink(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@dataclass(slots=True)
class Counts:
    key: bytes
    came: dict[str, list[str]] = field(default_factory=dict)  # Walkout-Group -> keys, in order
    known: set[str] = field(default_factory=set)  # webhook-ids
    effects: dict[str, int] = field(default_factory=dict)  # delivery's own name -> times applied
    ok: int = 0
    bad: int = 0
    repeats: int = 0

    def take(self, headers: dict[bytes, bytes], body: bytes) -> bytes:
        """The status line's code for one request."""
        if self.key and not self._genuine(headers, body):
            self.bad += 1
            return b"401 Unauthorized"
        self.ok += 1
        name = unquote(headers[b"idempotency-key"].decode())
        group = unquote(headers.get(b"walkout-group", b"").decode())
        self.came.setdefault(group, []).append(name)
        message = headers.get(b"webhook-id", headers[b"idempotency-key"]).decode()
        if message in self.known:
            self.repeats += 1  # answered, not applied
        else:  # a sender that changed the id over retries would get here twice for one delivery
            self.known.add(message)
            self.effects[name] = self.effects.get(name, 0) + 1
        return b"204 No Content"

    def _genuine(self, headers: dict[bytes, bytes], body: bytes) -> bool:
        at = headers.get(b"webhook-timestamp", b"0")
        signed = b".".join((headers.get(b"webhook-id", b""), at, body))
        wanted = b"v1," + base64.b64encode(hmac.new(self.key, signed, hashlib.sha256).digest())
        given = headers.get(b"webhook-signature", b"").split(b" ")
        fresh = at.isdigit() and abs(time.time() - int(at)) < TOLERANCE_S
        return fresh and any(hmac.compare_digest(wanted, one) for one in given)

    def report(self) -> dict[str, Any]:
        return {
            "came": self.came,
            "ok": self.ok,
            "bad": self.bad,
            "repeats": self.repeats,
            "effects": len(self.effects),
            "duplicate_effects": sum(n > 1 for n in self.effects.values()),
        }


class Protocol(asyncio.Protocol):
    """Requests of one connection, one after the other."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none of its classes

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(HEAD_END)) >= 0:
            head = self.buffer[:end].split(b"\r\n")
            pairs = (line.split(b": ", 1) for line in head[1:])
            headers = {name.lower(): value for name, value in pairs}
            length = int(headers.get(b"content-length", b"0"))
            start = end + len(HEAD_END)
            if len(self.buffer) < start + length:
                return
            body, self.buffer = self.buffer[start : start + length], self.buffer[start + length :]
            self.transport.write(self._reply(head[0], headers, body))

    def _reply(self, line: bytes, headers: dict[bytes, bytes], body: bytes) -> bytes:
        if line.startswith(b"GET /report"):
            text = json.dumps(self.counts.report()).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        status = self.counts.take(headers, body)
        return b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status


async def main(secret: str) -> None:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    counts = Counts(key=key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(counts), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    run_on_loop(main(sys.argv[1]))
