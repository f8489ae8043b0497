"""Tables of ``broker.db``. Journals, postings, captures and payments are append-only by trigger.

``account.owed_minor`` is kept because the limit rests on it; every other balance is the sum of its
postings. What is held is the sum of the open holds.
"""

from __future__ import annotations

from broker import idempotency

APPEND_ONLY = ("journal", "posting", "capture", "payment")

_TABLES = """
CREATE TABLE IF NOT EXISTS account (
    account TEXT PRIMARY KEY, currency TEXT NOT NULL, limit_minor INTEGER NOT NULL,
    owed_minor INTEGER NOT NULL DEFAULT 0 CHECK (owed_minor >= 0),
    blocked INTEGER NOT NULL DEFAULT 0, payment_ref TEXT NOT NULL, created_s INTEGER NOT NULL,
    CHECK (owed_minor <= limit_minor)
) STRICT;

CREATE TABLE IF NOT EXISTS credential (
    credential TEXT PRIMARY KEY, account TEXT NOT NULL, store TEXT NOT NULL,
    party_size INTEGER NOT NULL, kind TEXT NOT NULL, issued_s INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS hold (
    hold TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account, store TEXT NOT NULL,
    visit TEXT NOT NULL, credential TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,
    status TEXT NOT NULL, captured_minor INTEGER NOT NULL, reason TEXT NOT NULL,
    CHECK (captured_minor BETWEEN 0 AND amount_minor)
) STRICT;
CREATE INDEX IF NOT EXISTS hold_open ON hold (account, expires_s, amount_minor)
    WHERE status = 'held';
CREATE INDEX IF NOT EXISTS hold_by_credential ON hold (credential);

CREATE TABLE IF NOT EXISTS journal (
    journal INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, reference TEXT NOT NULL,
    at_s INTEGER NOT NULL, UNIQUE (kind, reference)
) STRICT;
CREATE TABLE IF NOT EXISTS posting (
    journal INTEGER NOT NULL REFERENCES journal, line INTEGER NOT NULL, account TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor <> 0), currency TEXT NOT NULL,
    PRIMARY KEY (journal, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS capture (
    capture TEXT PRIMARY KEY, hold TEXT NOT NULL UNIQUE REFERENCES hold, account TEXT NOT NULL,
    merchant TEXT NOT NULL, purchase TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE TABLE IF NOT EXISTS payment (
    payment TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account,
    amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
"""

_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
"""

SCHEMA = (
    _TABLES
    + "".join(
        _TRIGGER.format(table=table, verb=verb)
        for table in APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    )
    + idempotency.SCHEMA
)
