"""The append-only hash chain over the journals: whoever changes the past breaks it.

``digest(n) = SHA-256(digest(n - 1) + the n-th journal as canonical JSON)``; the first follows 32
zero bytes. Journals are sealed a moment after their commit, in one row of links, so that nobody who
posts waits for the link before: until then they are in the outbox. The chain is also the one order
of all journals: on PostgreSQL their numbers are given before they are committed, so that following
numbers alone would miss some.

Keep ``seq:digest`` of the last link somewhere else (print it, send it to an auditor): who rewrites
journal and chain together is found out by it alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import groupby

from broker.database import Row, Transaction
from broker.idempotency import canonical

GENESIS = bytes(32)
SEAL_MAX = 2000  # journals a transaction
PAGE = 5000  # journals read at once when verifying


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """``broken``: what is wrong and where; empty when the chain holds."""

    links: int
    head: str  # seq:digest, to be kept elsewhere
    unsealed: int  # posted a moment ago, not in the chain yet
    broken: tuple[str, ...]


async def seal(db: Transaction) -> int:
    """Append what is in the outbox to the chain; how many journals.

    Two at once want the same ``seq``: the second is run again, and finds the outbox empty.
    """
    top = await db.one("SELECT seq, digest FROM chain ORDER BY seq DESC LIMIT 1")
    seq, digest = top if top is not None else (0, GENESIS)
    links = list[Row]()
    for journal, content in _journals(await db.all(_UNSEALED, SEAL_MAX)):
        seq, digest = seq + 1, link(digest, content)
        links.append((seq, journal, digest))
    if links:
        await db.many("INSERT INTO chain VALUES ($1, $2, $3)", links)
        done = [(journal,) for _, journal, _ in links]
        await db.many("DELETE FROM outbox WHERE journal = $1", done)
    return len(links)


async def verify(db: Transaction, expected: str = "") -> Verified:
    """Compute the whole chain anew. ``expected``: a ``seq:digest`` kept elsewhere."""
    broken, seq, digest = list[str](), 0, GENESIS
    heads = {expected} if expected else set()
    async for row_seq, journal, stored, content in _links(db):
        seq += 1
        if row_seq != seq:
            broken.append(f"link {seq} is missing")
            seq = row_seq
        digest = link(digest, content)
        if digest != stored:
            broken.append(f"journal {journal} (link {seq}) is not what was sealed")
            digest = stored
        heads.discard(_head(seq, stored))
        if len(broken) >= 20:
            break
    broken += [f"{head} is not in the chain" for head in heads]
    broken += [f"journal {number} is in no link" for (number,) in await db.all(_LOOSE)]
    unsealed = await db.one("SELECT COUNT(*) FROM outbox")
    assert unsealed is not None
    return Verified(links=seq, head=_head(seq, digest), unsealed=unsealed[0], broken=tuple(broken))


def link(before: bytes, content: bytes) -> bytes:
    """The digest that follows."""
    return hashlib.sha256(before + content).digest()


def _head(seq: int, digest: bytes) -> str:
    return f"{seq}:{digest.hex()}"


def _journals(rows: list[Row]) -> Iterator[tuple[int, bytes]]:
    """Rows of ``_UNSEALED`` as journals with their content."""
    for key, lines in groupby(rows, key=lambda row: row[:4]):
        yield key[0], canonical([*key, [list(line[4:]) for line in lines]])


async def _links(db: Transaction) -> AsyncIterator[tuple[int, int, bytes, bytes]]:
    after = 0
    while rows := await db.all(_SEALED, after, after + PAGE):
        for key, lines in groupby(rows, key=lambda row: row[:6]):
            seq, stored, *journal = key
            postings = [list(line[6:]) for line in lines if line[6] is not None]
            yield seq, journal[0], stored, canonical([*journal, postings])
        after += PAGE
    left = await db.one("SELECT MIN(seq) FROM chain WHERE seq > $1", after)
    if left is not None and left[0] is not None:  # a gap longer than a page
        yield left[0], 0, b"", b""


_UNSEALED = """
SELECT j.journal, j.kind, j.reference, j.at_s, p.line, p.account, p.amount_minor, p.currency
FROM (SELECT journal FROM outbox ORDER BY journal LIMIT $1) AS o
JOIN journal j ON j.journal = o.journal JOIN posting p ON p.journal = j.journal
ORDER BY j.journal, p.line
"""
_SEALED = """
SELECT c.seq, c.digest, c.journal, j.kind, j.reference, j.at_s,
       p.line, p.account, p.amount_minor, p.currency
FROM chain c LEFT JOIN journal j ON j.journal = c.journal
LEFT JOIN posting p ON p.journal = c.journal
WHERE c.seq > $1 AND c.seq <= $2 ORDER BY c.seq, p.line
"""
_LOOSE = """
SELECT j.journal FROM journal j LEFT JOIN outbox o ON o.journal = j.journal
LEFT JOIN chain c ON c.journal = j.journal
WHERE o.journal IS NULL AND c.journal IS NULL ORDER BY j.journal LIMIT 20
"""
