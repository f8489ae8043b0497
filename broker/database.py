"""The storage boundary: what the rules need of a database, whichever it is.

SQLite is the embedded default (one writer thread, group commit); PostgreSQL carries what is past
one machine. An *effect* is a coroutine over a ``Transaction``; it is written once, in the SQL that
both understand, with ``$1`` for values. On SQLite it never has to wait, so the writer thread runs
it to its end in one go (``finished``); on PostgreSQL it waits for the server.

Locks: ``FOR UPDATE`` means what it says on PostgreSQL; SQLite has one writer and drops the words.
A job may be run again after a deadlock, so it must have no effect but on its transaction.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from broker.idempotency import Answer, Claim
    from broker.transfers import TransferRequest

T = TypeVar("T")
Row = tuple[Any, ...]


class DatabaseError(RuntimeError):
    """The database cannot be used as it is; the message says what to do."""


class StoreFullError(RuntimeError):
    """Too many jobs wait; nothing was done."""


class CommitError(RuntimeError):
    """The database refused the commit, or was lost; ask again with the same key. Cause chained."""


class Transaction(Protocol):
    """One transaction; integers, text, bytes and None go in and out."""

    async def all(self, statement: str, *values: object) -> list[Row]:
        """Every row."""

    async def one(self, statement: str, *values: object) -> Row | None:
        """The first row."""

    async def run(self, statement: str, *values: object) -> int:
        """How many rows were changed."""

    async def many(self, statement: str, rows: Sequence[Row]) -> None:
        """The statement once per row."""


Job = Callable[[Transaction], Awaitable[T]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HotCommand:
    """A command that PostgreSQL does in one call, with its claim, its answer and its audit row.

    ``function`` is one of ``hot_commands`` in the migrations; ``arguments`` is JSON. It gives one
    text, or nothing when the case is not plain; the answer is ``head``, that text, ``tail``.
    """

    function: str
    arguments: str
    head: bytes
    tail: bytes
    actor: str
    action: str


class Database(Protocol):
    """A ledger's database. ``start`` before the first job, ``close`` after the last."""

    kind: str  # "sqlite" | "postgresql"

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, job: Job[T]) -> T:
        """Run the job in a transaction; returns or raises once its outcome is durable.

        Raises:
            StoreFullError, CommitError: nothing was done, or nobody knows; or what the job raised.
        """

    async def read(self, job: Job[T], *, whole: bool = False) -> T:
        """Run a job that only asks. ``whole``: it reads whole tables, in one snapshot."""

    async def transfer(self, claim: Claim, request: TransferRequest, now_s: int) -> Answer:
        """The hot path: claim, floors, journal and answer in one go."""

    async def hot(self, claim: Claim, command: HotCommand, now_s: int) -> Answer | None:
        """The same for another command; None: not plain, nothing was done, run its effect."""


def finished(coroutine: Awaitable[T]) -> T:
    """What a coroutine returns that never has to wait.

    Raises:
        RuntimeError: it waits for something; or what it raised.
    """
    assert isinstance(coroutine, Coroutine)
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("an effect on SQLite waited for something else than its transaction")


# --- where it is ------------------------------------------------------------------------------

SECRET_PARAMETERS = frozenset({"password", "passfile", "sslpassword"})
_PLAIN_PATH = re.compile(r"^(?![a-z][a-z0-9+.-]*://)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """``path`` of a SQLite file, or the ``url`` of a PostgreSQL database, never both.

    ``schema``: where in a PostgreSQL database the tables are; each tenant has its own.
    """

    path: Path | None = None
    url: str = ""
    schema: str = "walkout"
    password_file: Path | None = None

    @staticmethod
    def of(text: str, password_file: Path | None = None) -> DatabaseUrl:
        """Read ``broker.db``, ``sqlite:///srv/broker.db`` or ``postgresql://user@host:5432/name``.

        Raises:
            DatabaseError: another scheme, or a password in the URL.
        """
        if _PLAIN_PATH.match(text):
            return DatabaseUrl(path=Path(text))
        parts = urlsplit(text)
        if parts.scheme == "sqlite":
            return DatabaseUrl(path=Path(text.removeprefix("sqlite://")))
        if parts.scheme not in ("postgresql", "postgres"):
            raise DatabaseError(f"unknown database {parts.scheme}://: give a path or postgresql://")
        if parts.password or SECRET_PARAMETERS & {name for name, _ in parse_qsl(parts.query)}:
            detail = "every user of the machine can read a password on a command line"
            raise DatabaseError(f"{detail}: use --password-file, PGPASSWORD or ~/.pgpass")
        return DatabaseUrl(url=text, password_file=password_file)

    def password(self) -> str | None:
        """From the file, which nobody else may read; None leaves it to PGPASSWORD or ~/.pgpass.

        Raises:
            DatabaseError: the file cannot be read, or others can read it.
        """
        if self.password_file is None:
            return None
        try:
            if os.stat(self.password_file).st_mode & 0o077:
                raise DatabaseError(f"{self.password_file} can be read by others: chmod 600 it")
            return self.password_file.read_text().strip()
        except OSError as error:
            raise DatabaseError(f"{self.password_file}: {error.strerror}") from error


def open_database(where: DatabaseUrl) -> Database:
    """The database at a URL, not started yet.

    Raises:
        DatabaseError: PostgreSQL is asked for and asyncpg is not installed.
    """
    if where.path is not None:
        from broker.sqlite_database import SqliteDatabase

        return SqliteDatabase(where.path)
    try:
        from broker.postgresql_database import PostgresDatabase
    except ImportError as error:
        detail = "PostgreSQL needs asyncpg: pip install 'walkout[broker]'"
        raise DatabaseError(detail) from error
    return PostgresDatabase(where)
