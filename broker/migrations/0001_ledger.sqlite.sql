-- Journals, postings, the chain and what they stand for are append-only by trigger (below).

CREATE TABLE account (
    account TEXT PRIMARY KEY, currency TEXT NOT NULL, limit_minor INTEGER NOT NULL,
    blocked INTEGER NOT NULL DEFAULT 0, payment_ref TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;

-- Accounts with a floor alone; every other balance is the sum of its postings (chart.py).
CREATE TABLE ledger_account (
    account TEXT NOT NULL, currency TEXT NOT NULL, floor_minor INTEGER NOT NULL,
    balance_minor INTEGER NOT NULL, held_minor INTEGER NOT NULL CHECK (held_minor >= 0),
    PRIMARY KEY (account, currency),
    CHECK (balance_minor - held_minor >= floor_minor)
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
    credential TEXT PRIMARY KEY, account TEXT NOT NULL, store TEXT NOT NULL,
    party_size INTEGER NOT NULL, kind TEXT NOT NULL, issued_s INTEGER NOT NULL
) STRICT;

CREATE TABLE hold (
    hold TEXT PRIMARY KEY, account TEXT NOT NULL, store TEXT NOT NULL,
    visit TEXT NOT NULL, credential TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,
    status TEXT NOT NULL, captured_minor INTEGER NOT NULL, reason TEXT NOT NULL,
    CHECK (captured_minor BETWEEN 0 AND amount_minor)
) STRICT;
CREATE INDEX hold_open ON hold (account, currency, expires_s) WHERE status = 'held';
CREATE INDEX hold_due ON hold (expires_s) WHERE status = 'held';
CREATE INDEX hold_by_credential ON hold (credential);

CREATE TABLE journal (
    journal INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, reference TEXT NOT NULL,
    at_s INTEGER NOT NULL, UNIQUE (kind, reference)
) STRICT;
CREATE TABLE posting (
    journal INTEGER NOT NULL REFERENCES journal, line INTEGER NOT NULL, account TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor <> 0), currency TEXT NOT NULL,
    PRIMARY KEY (journal, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX posting_by_account ON posting (account, currency, journal);

-- A journal is in the outbox until it is sealed into the chain, in either exactly once.
CREATE TABLE outbox (journal INTEGER PRIMARY KEY REFERENCES journal) STRICT;
CREATE TABLE chain (
    seq INTEGER PRIMARY KEY, journal INTEGER NOT NULL UNIQUE, digest BLOB NOT NULL
) STRICT;

-- Balances of accounts without a floor, summed up to a journal number (snapshots.py).
CREATE TABLE balance_snapshot (
    account TEXT NOT NULL, currency TEXT NOT NULL, journal INTEGER NOT NULL,
    balance_minor INTEGER NOT NULL, PRIMARY KEY (account, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE capture (
    capture TEXT PRIMARY KEY, hold TEXT NOT NULL UNIQUE REFERENCES hold, account TEXT NOT NULL,
    merchant TEXT NOT NULL, purchase TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE TABLE payment (
    payment TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account,
    amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE TABLE refund (
    refund TEXT PRIMARY KEY, capture TEXT NOT NULL REFERENCES capture,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    to_provider_minor INTEGER NOT NULL, reason TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE INDEX refund_by_capture ON refund (capture);

CREATE TRIGGER journal_update BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'journal is append-only'); END;
CREATE TRIGGER journal_delete BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'journal is append-only'); END;
CREATE TRIGGER posting_update BEFORE UPDATE ON posting
BEGIN SELECT RAISE(ABORT, 'posting is append-only'); END;
CREATE TRIGGER posting_delete BEFORE DELETE ON posting
BEGIN SELECT RAISE(ABORT, 'posting is append-only'); END;
CREATE TRIGGER chain_update BEFORE UPDATE ON chain
BEGIN SELECT RAISE(ABORT, 'chain is append-only'); END;
CREATE TRIGGER chain_delete BEFORE DELETE ON chain
BEGIN SELECT RAISE(ABORT, 'chain is append-only'); END;
CREATE TRIGGER capture_update BEFORE UPDATE ON capture
BEGIN SELECT RAISE(ABORT, 'capture is append-only'); END;
CREATE TRIGGER capture_delete BEFORE DELETE ON capture
BEGIN SELECT RAISE(ABORT, 'capture is append-only'); END;
CREATE TRIGGER payment_update BEFORE UPDATE ON payment
BEGIN SELECT RAISE(ABORT, 'payment is append-only'); END;
CREATE TRIGGER payment_delete BEFORE DELETE ON payment
BEGIN SELECT RAISE(ABORT, 'payment is append-only'); END;
CREATE TRIGGER refund_update BEFORE UPDATE ON refund
BEGIN SELECT RAISE(ABORT, 'refund is append-only'); END;
CREATE TRIGGER refund_delete BEFORE DELETE ON refund
BEGIN SELECT RAISE(ABORT, 'refund is append-only'); END;
