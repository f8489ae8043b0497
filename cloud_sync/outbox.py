"""The outbox: a durable queue of HTTP requests with serialization groups.

Requests of one group (an account; for webhooks, the endpoint) leave one at a time, the next only
after the previous was answered; other groups flow. Inside a group the order is that of the facts
that caused the requests: all that follows from an earlier cart goes before what a later visit
wants. A group's next request is its *head*, kept in ``grp_head`` by the transaction that changes
it, so that finding work costs the number of ready groups, never the length of the queue. A head
that is refused parks its group with an alarm; nothing expires and nothing is skipped, except by
an operator's word with an audit row.

Methods marked (tx) run inside ``database.transaction()``; several of them make one commit.
Instants are queue time: the wall clock at the process's start, then the monotonic clock, so that
a clock that is set neither holds requests back nor lets them all go at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from cloud_sync.database import Database

ERROR_LENGTH_MAX = 500  # characters of an answer kept for the operator
# The index's own condition has to stand in a query word for word, else SQLite scans the table.
OPEN = "state IN ('queued','sending','parked')"
KEEP_SETTLED_NS = 30 * 86_400 * 1_000_000_000  # replay and dispute of webhooks; then pruned
PRUNE_ROWS = 500  # a pass; big deletes would hold up the sender (100,000 rows took 12 s)

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS request(
  id INTEGER PRIMARY KEY,
  grp TEXT NOT NULL,
  cause INTEGER NOT NULL,        -- journal sequence of the fact it follows from: order in a group
  seq INTEGER,                   -- its number in the group, given when it is first sent
  message TEXT NOT NULL,         -- what it is, "<visit>:<operation>"
  generation INTEGER NOT NULL DEFAULT 0,  -- how often an operator had it sent anew
  idem TEXT NOT NULL UNIQUE,     -- Idempotency-Key
  operation TEXT NOT NULL, destination TEXT NOT NULL, visit TEXT NOT NULL,
  subject TEXT NOT NULL,         -- the hold, or the webhook's id
  path TEXT NOT NULL, body BLOB NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued'
    CHECK(state IN ('queued','sending','parked','done','void')),
  attempts INTEGER NOT NULL DEFAULT 0,
  status INTEGER, last_error TEXT NOT NULL DEFAULT '',
  created_ns INTEGER NOT NULL, answered_ns INTEGER);
CREATE INDEX IF NOT EXISTS request_open ON request(grp, cause, id)
  WHERE {OPEN};
CREATE INDEX IF NOT EXISTS request_settled ON request(answered_ns) WHERE state IN ('done','void');
CREATE INDEX IF NOT EXISTS request_visit ON request(visit);
DROP INDEX IF EXISTS request_webhook;  -- of schema 1
CREATE INDEX IF NOT EXISTS request_told ON request(subject) WHERE operation='webhook';
CREATE INDEX IF NOT EXISTS request_message ON request(message);
CREATE TABLE IF NOT EXISTS grp_head(
  grp TEXT PRIMARY KEY,
  head INTEGER, destination TEXT,          -- NULL: nothing waits
  state TEXT NOT NULL DEFAULT 'ready' CHECK(state IN ('ready','sending','parked')),
  not_before_ns INTEGER NOT NULL DEFAULT 0,
  wait_ns INTEGER NOT NULL DEFAULT 0,      -- the wait that led to not_before_ns
  failures INTEGER NOT NULL DEFAULT 0,     -- of the head, in a row
  next_seq INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS grp_ready ON grp_head(destination, not_before_ns)
  WHERE head IS NOT NULL AND state='ready';
CREATE INDEX IF NOT EXISTS grp_parked ON grp_head(grp) WHERE state='parked';
CREATE TABLE IF NOT EXISTS former_body(  -- what an operator replaced; kept for good
  request INTEGER NOT NULL, generation INTEGER NOT NULL, body BLOB NOT NULL,
  edited_ns INTEGER NOT NULL, PRIMARY KEY(request, generation)) WITHOUT ROWID;
"""

_COLUMNS = {  # field of Request -> where it stands
    "id": "r.id",
    "group": "r.grp",
    "seq": "coalesce(r.seq, h.next_seq)",
    "attempt": "r.attempts",
    "failures": "h.failures",
    **{name: f"r.{name}" for name in ("message", "generation", "idem", "operation")},
    **{name: f"r.{name}" for name in ("destination", "visit", "subject", "path", "body", "cause")},
}
_SET_HEAD = (
    "UPDATE grp_head SET (head,destination) = (SELECT id,destination FROM request"  # noqa: S608
    f" WHERE grp=?1 AND {OPEN} AND state='queued' ORDER BY cause,id LIMIT 1),"
    " not_before_ns=?2 WHERE grp=?1 AND head IS NULL"
)
_FIELDS = tuple(_COLUMNS)
_HEADS = f"SELECT {', '.join(_COLUMNS.values())} FROM grp_head h JOIN request r ON r.id=h.head"  # noqa: S608


RAW_ARRAY = list[msgspec.Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """A request to be queued; ``cause`` orders it inside its group."""

    group: str
    cause: int
    message: str
    operation: str
    destination: str
    path: str
    body: bytes
    visit: str = ""
    subject: str = ""
    generation: int = 0
    joins: bool = False  # into the last one of its group, if that was never sent

    @property
    def idem(self) -> str:
        return key(self.message, self.generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request taken from the queue. ``failures``: tries of it that got no answer, in a row."""

    id: int
    group: str
    seq: int
    attempt: int
    failures: int
    message: str
    generation: int
    idem: str
    operation: str
    destination: str
    visit: str
    subject: str
    path: str
    body: bytes
    cause: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """A request that goes again, not before an instant. ``failed``: it counts as a failure."""

    request: Request
    not_before_ns: int
    wait_ns: int
    error: str
    failed: bool = True


BATCH_MAX = 100  # events joined into one request
BATCH_BYTES_MAX = 512 * 1024  # what receivers take without a setting; a receipt has about 1.5 kB


def joined(batch: bytes, more: bytes) -> bytes | None:
    """Two JSON arrays as one, or None when it would be longer than the bounds."""
    if len(batch) + len(more) > BATCH_BYTES_MAX:
        return None
    parts = [part for raw in (batch, more) for part in msgspec.json.decode(raw, type=RAW_ARRAY)]
    return msgspec.json.encode(parts) if len(parts) <= BATCH_MAX else None


class NotParked(LookupError):  # noqa: N818 - what it is
    """The operator named a group that is not parked."""


def key(message: str, generation: int) -> str:
    """The Idempotency-Key: the message's name, marked when an operator had it sent anew."""
    return f"{message}~{generation}" if generation else message


class Outbox:
    """The queue in a ``Database``."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._db = database.connection

    async def recover(self, now_ns: int) -> None:
        """After a start: what was being sent is unknown, so it goes again under its key.

        A wall clock that was set back must not hold a group longer than its own wait.
        """
        async with self.database.transaction():
            await self._db.execute("UPDATE request SET state='queued' WHERE state='sending'")
            await self._db.execute(
                "UPDATE grp_head SET state=iif(state='sending','ready',state),"
                " not_before_ns=min(not_before_ns, ?+wait_ns) WHERE head IS NOT NULL",
                (now_ns,),
            )

    async def add(self, requests: Sequence[NewRequest], now_ns: int) -> None:
        """(tx) Queue requests. A key that exists already is a broken promise and raises."""
        for request in requests:
            if request.joins and not await self._joined(request):
                await self._insert([request], now_ns)
        await self._insert([r for r in requests if not r.joins], now_ns)

    async def _insert(self, requests: Sequence[NewRequest], now_ns: int) -> None:
        rows = [
            (
                *(r.group, r.cause, r.message, r.generation, r.idem, r.operation),
                *(r.destination, r.visit, r.subject, r.path, r.body, now_ns),
            )
            for r in requests
        ]
        await self._db.executemany(
            "INSERT INTO request(grp,cause,message,generation,idem,operation,destination,visit,"
            "subject,path,body,created_ns) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
            rows,
        )
        groups = [(group,) for group in dict.fromkeys(r.group for r in requests)]
        await self._db.executemany("INSERT OR IGNORE INTO grp_head(grp) VALUES(?)", groups)
        await self._set_heads([group for (group,) in groups], now_ns)

    async def _joined(self, request: NewRequest) -> bool:
        """(tx) Put a batch's event behind those of the last batch that was never sent."""
        query = (
            f"SELECT id, body FROM request WHERE grp=? AND {OPEN} AND state='queued'"  # noqa: S608
            " AND attempts=0 AND generation=0 ORDER BY cause DESC, id DESC LIMIT 1"
        )
        for id_, body in await self._db.execute_fetchall(query, (request.group,)):
            whole = joined(bytes(body), request.body)
            if whole is not None:
                await self._db.execute("UPDATE request SET body=? WHERE id=?", (whole, id_))
                return True
        return False

    async def due(self, destination: str, limit: int, now_ns: int) -> list[Request]:
        """Up to ``limit`` heads that may go now, longest due first. Costs O(limit)."""
        query = (
            f"{_HEADS} WHERE h.destination=? AND h.state='ready' AND h.head IS NOT NULL"
            " AND h.not_before_ns<=? ORDER BY h.not_before_ns LIMIT ?"
        )
        rows = await self._db.execute_fetchall(query, (destination, now_ns, limit))
        return [_request(row) for row in rows]

    async def claim(self, destination: str, limit: int, now_ns: int) -> list[Request]:
        """(tx) Take up to ``limit`` heads that are due, and mark them sent."""
        if limit <= 0:
            return []
        heads = await self.due(destination, limit, now_ns)
        if not heads:
            return []
        taken = [replace(head, attempt=head.attempt + 1) for head in heads]
        await self._db.executemany(
            "UPDATE request SET state='sending', attempts=attempts+1, seq=? WHERE id=?",
            [(r.seq, r.id) for r in taken],
        )
        await self._db.executemany(
            "UPDATE grp_head SET state='sending', next_seq=? WHERE grp=?",
            [(r.seq + 1, r.group) for r in taken],
        )
        return taken

    async def done(self, answered: Sequence[tuple[Request, int | None]], now_ns: int) -> None:
        """(tx) These were answered, with that status: their groups go on to the next request."""
        await self._db.executemany(
            "UPDATE request SET state='done', status=?, last_error='', answered_ns=? WHERE id=?",
            [(status, now_ns, request.id) for request, status in answered],
        )
        await self._next([request.group for request, _ in answered], now_ns)

    async def again(self, postponed: Sequence[Postponed]) -> None:
        """(tx) Unknown: the same request again, and its whole group waits until then."""
        await self._db.executemany(
            "UPDATE request SET state='queued', last_error=? WHERE id=?",
            [(p.error[:ERROR_LENGTH_MAX], p.request.id) for p in postponed],
        )
        await self._db.executemany(
            "UPDATE grp_head SET state='ready', not_before_ns=?, wait_ns=?, failures=failures+?"
            " WHERE grp=?",
            [(p.not_before_ns, p.wait_ns, int(p.failed), p.request.group) for p in postponed],
        )

    async def park(
        self, request: Request, status: int | None, error: str, remedy: str, now_ns: int
    ) -> None:
        """(tx) Refused: the group stops here until an operator resumes or voids it."""
        await self._db.execute(
            "UPDATE request SET state='parked', status=?, last_error=? WHERE id=?",
            (status, error[:ERROR_LENGTH_MAX], request.id),
        )
        await self._db.execute("UPDATE grp_head SET state='parked' WHERE grp=?", (request.group,))
        detail = (
            f"{request.operation} {request.idem} to the {request.destination}, attempt"
            f" {request.attempt}: {error[:ERROR_LENGTH_MAX]}. Its group waits. {remedy}"
        )
        await self.database.raise_alarm(alarm_key(request.group), "critical", detail, now_ns)

    async def resume(
        self, group: str, now_ns: int, *, same_key: bool = False, body: bytes | None = None
    ) -> Request:
        """(tx) Send a parked head again, at once; with another body if one is given.

        It was answered, so without effect; a new key keeps the other side from repeating its
        stored answer. The ids in its body still make the effect happen once. Another body always
        goes under a new key: the same key with another body is refused (422). The former body is
        kept. Raises NotParked.
        """
        parked = await self.parked(group)
        generation = parked.generation + (1 if body is not None or not same_key else 0)
        if body is not None:
            await self._db.execute(
                "INSERT INTO former_body VALUES(?,?,?,?)",
                (parked.id, parked.generation, parked.body, now_ns),
            )
        await self._db.execute(
            "UPDATE request SET state='queued', generation=?, idem=?, body=? WHERE id=?",
            (
                generation,
                key(parked.message, generation),
                parked.body if body is None else body,
                parked.id,
            ),
        )
        await self._db.execute(
            "UPDATE grp_head SET state='ready', failures=0, wait_ns=0, not_before_ns=? WHERE grp=?",
            (now_ns, group),
        )
        await self.database.clear_alarm(alarm_key(group), now_ns)
        return parked

    async def void(self, parked: Request, now_ns: int) -> None:
        """(tx) Give a parked head up; the group goes on behind it, with what was added before."""
        await self._db.execute(
            "UPDATE request SET state='void', answered_ns=? WHERE id=?", (now_ns, parked.id)
        )
        await self._next([parked.group], now_ns)
        await self.database.clear_alarm(alarm_key(parked.group), now_ns)

    async def open_count(self, *, but_parked: bool = False) -> int:
        """Requests that wait or are under way; ``but_parked``: not those of parked groups."""
        query = f"SELECT count(*) FROM request WHERE {OPEN}"  # noqa: S608
        if but_parked:
            query += " AND grp NOT IN (SELECT grp FROM grp_head WHERE state='parked')"
        ((count,),) = await self._db.execute_fetchall(query)
        return int(count)

    async def waiting_behind(self, destination: str) -> int:
        """Open requests of the groups whose head goes to this destination and is not parked."""
        query = (
            f"SELECT count(*) FROM request WHERE {OPEN} AND grp IN"  # noqa: S608
            " (SELECT grp FROM grp_head WHERE destination=? AND state!='parked')"
        )
        ((count,),) = await self._db.execute_fetchall(query, (destination,))
        return int(count)

    async def destinations(self) -> list[str]:
        """Whom the heads are for."""
        query = "SELECT DISTINCT destination FROM grp_head WHERE head IS NOT NULL ORDER BY 1"
        return [str(name) for (name,) in await self._db.execute_fetchall(query)]

    async def next_due_ns(self, destination: str) -> int | None:
        """The instant at which the next head for this destination may go."""
        query = (
            "SELECT min(not_before_ns) FROM grp_head"
            " WHERE destination=? AND state='ready' AND head IS NOT NULL"
        )
        ((due,),) = await self._db.execute_fetchall(query, (destination,))
        return None if due is None else int(due)

    async def prune(self, now_ns: int) -> int:
        """(tx) Forget a few settled requests that are older than we keep them."""
        cursor = await self._db.execute(
            "DELETE FROM request WHERE id IN (SELECT id FROM request WHERE state IN"
            " ('done','void') AND answered_ns<? ORDER BY answered_ns LIMIT ?)",
            (now_ns - KEEP_SETTLED_NS, PRUNE_ROWS),
        )
        return cursor.rowcount

    async def parked(self, group: str) -> Request:
        """(tx) The head of a parked group. Raises NotParked."""
        query = f"{_HEADS} WHERE h.grp=? AND h.state='parked'"
        for row in await self._db.execute_fetchall(query, (group,)):
            return _request(row)
        raise NotParked(f"group {group!r} is not parked")

    async def _next(self, groups: Iterable[str], now_ns: int) -> None:
        """The heads of these groups are settled: find the ones behind them."""
        groups = list(groups)
        await self._db.executemany(
            "UPDATE grp_head SET head=NULL, destination=NULL, state='ready', failures=0, wait_ns=0"
            " WHERE grp=?",
            [(group,) for group in groups],
        )
        await self._set_heads(groups, now_ns)

    async def _set_heads(self, groups: Iterable[str], now_ns: int) -> None:
        """Give each group without a head its next request; a head once set stays."""
        await self._db.executemany(
            _SET_HEAD,
            [(group, now_ns) for group in groups],
        )


def alarm_key(group: str) -> str:
    return f"group:{group}"


def _request(row: Iterable[Any]) -> Request:
    return Request(**dict(zip(_FIELDS, row, strict=True)))
