"""What the examples share: a broker that runs, and a client that says what it is told.

Each example runs against ``--url URL --data DIR`` (a broker of yours; DIR has its admin.key), or
starts one of its own in a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

TIMEOUT_S = 30.0
START_S = 30.0


class Refused(RuntimeError):  # noqa: N818 - an answer, often the expected one
    """The broker's problem document. ``slug``: the last part of its type."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem['status']} {problem['title']}: {problem.get('detail', '')}")
        self.slug = str(problem["type"]).rpartition("/")[2]


class Client:
    """Asks a broker with the admin key. Ids get a suffix, so that a story can be told twice."""

    def __init__(self, url: str, data: Path) -> None:
        self.url, self.session = url.rstrip("/"), requests.Session()
        self.session.headers["Authorization"] = f"Bearer {(data / 'admin.key').read_text().strip()}"
        self.run, self._numbers = uuid.uuid4().hex[:8], itertools.count()

    def name(self, word: str) -> str:
        """An id of this run."""
        return f"{word}-{self.run}"

    def get(self, path: str) -> Any:
        return self._said(self.session.get(self.url + path, timeout=TIMEOUT_S))

    def text(self, path: str) -> str:
        reply = self.session.get(self.url + path, timeout=TIMEOUT_S)
        return reply.text if reply.ok else str(self._said(reply))

    def post(self, path: str, body: Any = None, **more: str) -> Any:
        return self._sent("POST", path, body, more)

    def put(self, path: str, body: Any, **more: str) -> Any:
        return self._sent("PUT", path, body, more)

    def delete(self, path: str, **more: str) -> Any:
        return self._sent("DELETE", path, None, more)

    def refused(self, path: str, body: Any = None) -> str:
        """The slug of a refusal that the story expects."""
        try:
            reply = self.post(path, body)
        except Refused as refusal:
            return refusal.slug
        raise AssertionError(f"{path} was done: {reply}")

    def _sent(self, method: str, path: str, body: Any, more: dict[str, str]) -> Any:
        headers = {"Idempotency-Key": f"{self.run}:{next(self._numbers)}"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        reply = self.session.request(
            method,
            self.url + path,
            json={} if body is None else body,
            headers=headers,
            timeout=TIMEOUT_S,
        )
        return self._said(reply)

    def _said(self, reply: requests.Response) -> Any:
        if not reply.ok:
            raise Refused(reply.json())
        return reply.json()


def euro(minor: int) -> str:
    """1250 -> 12.50 EUR."""
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02d} EUR"


@contextlib.contextmanager
def running() -> Iterator[tuple[str, Path]]:
    """A broker of its own for one example."""
    with tempfile.TemporaryDirectory(prefix="walkout-example-") as folder:
        data, ready = Path(folder) / "data", Path(folder) / "port"
        serve = [sys.executable, "-m", "walkout", "broker", "serve"]
        process = subprocess.Popen([*serve, "--data", data, "--port", "0", "--ready", ready])
        try:
            deadline = time.monotonic() + START_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the broker did not start; what it said stands above")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{int(ready.read_text())}", data
        finally:
            process.terminate()
            process.wait()


def tell(story: Callable[[Client], None]) -> None:
    """Run the story against the broker that the command line names, or one of its own."""
    parser = argparse.ArgumentParser(description=story.__doc__)
    parser.add_argument("--url", help="a broker that runs already")
    parser.add_argument("--data", type=Path, help="its data directory, for admin.key")
    asked = parser.parse_args()
    if asked.url:
        story(Client(asked.url, asked.data or Path("broker-data")))
        return
    with running() as (url, data):
        story(Client(url, data))
