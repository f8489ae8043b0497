"""The journal's tables. A change adds a migration and raises ``VERSION``; rows are never edited.

``step``, ``failure``: what went in. ``event``, ``outbox``, ``command``, ``visit``,
``used_credential``: what followed. ``meta``: the store's name, its clock, retention's progress.
"""

from __future__ import annotations

VERSION = 1
BYTES_CACHED = 8 * 2**20  # of pages: writing touches few, memory has a budget
WAL_BYTES_KEPT = 64 * 2**20  # a long reader may let the log grow; afterwards it shrinks to this

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE step (
    step INTEGER PRIMARY KEY,
    now_ns INTEGER NOT NULL,
    block BLOB NOT NULL              -- zstd of messages.codec.encode_many(observations)
);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    step INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL               -- messages.codec.encode(event)
);
CREATE INDEX event_step ON event (step);
CREATE INDEX event_review ON event (seq) WHERE type IN ('ReviewRequested', 'ReviewResolved');
CREATE TABLE visit (visit TEXT PRIMARY KEY, account TEXT NOT NULL, kind TEXT NOT NULL);
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    grp TEXT NOT NULL,               -- serialization group: the account
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    created_wall_ns INTEGER NOT NULL
);
CREATE TABLE command (
    id TEXT NOT NULL UNIQUE,
    step INTEGER NOT NULL,
    not_after_ns INTEGER NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL,             -- pending -> done | expired | failed
    ended_at_ns INTEGER
);
CREATE INDEX command_step ON command (step);
CREATE INDEX command_pending ON command (state) WHERE state = 'pending';
CREATE TABLE used_credential (jti TEXT PRIMARY KEY, step INTEGER NOT NULL, at_ns INTEGER NOT NULL);
CREATE TABLE failure (
    step INTEGER PRIMARY KEY,
    errors INTEGER NOT NULL,         -- the engine raised
    deaths INTEGER NOT NULL,         -- a start tried it and did not live to say so
    set_aside INTEGER NOT NULL,      -- no replay runs it
    error TEXT NOT NULL
)
"""

MIGRATIONS: dict[int, str] = {}  # from this version to the next
