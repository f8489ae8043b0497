"""A webhook receiver in the standard library and ``standardwebhooks``: verify, keep once, answer.

    python receiver.py --secret-file webhook.secret --database receipts.db --port 8710

What it shows: the signature is checked over the raw bytes, before anything is parsed; whatever is
wrong is 401, never 500; an event is kept in the same commit that remembers its id, and only then
answered, so that a repeated delivery changes nothing; a batch is an array of events.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from standardwebhooks import Webhook

BODY_BYTES_MAX = 2**20
SCHEMA = "CREATE TABLE IF NOT EXISTS event(id TEXT PRIMARY KEY, type TEXT, visit TEXT, body TEXT)"


class Receiver(BaseHTTPRequestHandler):
    """One delivery. ``webhook``, ``database`` and ``lock`` are set by ``serve``."""

    protocol_version = "HTTP/1.1"
    webhook: Webhook
    database: sqlite3.Connection
    lock: Lock

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdigit()) or int(size) > BODY_BYTES_MAX:
            self.close_connection = True
            return self._answer(413)
        body = self.rfile.read(int(size))
        try:
            events = self._events(body)
        except Exception:  # forged, stale or malformed: the library raises many kinds
            return self._answer(401)
        with self.lock, self.database as db:  # one commit
            db.executemany("INSERT OR IGNORE INTO event VALUES(?,?,?,?)", events)
        return self._answer(204)

    def _events(self, body: bytes) -> list[tuple[str, str, str, str]]:
        self.webhook.verify(body, dict(self.headers))
        told: Any = json.loads(body)
        every = told if isinstance(told, list) else [told]
        return [(e["id"], e["type"], e["data"]["visit"], json.dumps(e)) for e in every]

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: a body may hold what a log should not."""


def serve(secret: str, database: Path, port: int) -> ThreadingHTTPServer:
    """A server that keeps events in ``database``; the caller runs and stops it."""
    db = sqlite3.connect(database, check_same_thread=False)
    db.execute(SCHEMA)
    shared = {"webhook": Webhook(secret), "database": db, "lock": Lock()}
    return ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (Receiver,), shared))


def main() -> None:
    parser = argparse.ArgumentParser(description="Receives Walkout's webhooks.")
    parser.add_argument("--secret-file", type=Path, required=True, help="holds whsec_...")
    parser.add_argument("--database", type=Path, default=Path("receipts.db"))
    parser.add_argument("--port", type=int, default=8710)
    given = parser.parse_args()
    server = serve(given.secret_file.read_text().strip(), given.database, given.port)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
