-- Journals, postings, the chain and what they stand for are append-only by trigger (below).

CREATE TABLE account (
    account TEXT PRIMARY KEY, currency TEXT NOT NULL, limit_minor BIGINT NOT NULL,
    blocked BIGINT NOT NULL DEFAULT 0, payment_ref TEXT NOT NULL, created_s BIGINT NOT NULL
);

-- Accounts with a floor alone; every other balance is the sum of its postings (chart.py).
CREATE TABLE ledger_account (
    account TEXT NOT NULL, currency TEXT NOT NULL, floor_minor BIGINT NOT NULL,
    balance_minor BIGINT NOT NULL, held_minor BIGINT NOT NULL CHECK (held_minor >= 0),
    PRIMARY KEY (account, currency),
    CHECK (balance_minor - held_minor >= floor_minor)
);

CREATE TABLE credential (
    credential TEXT PRIMARY KEY, account TEXT NOT NULL, store TEXT NOT NULL,
    party_size BIGINT NOT NULL, kind TEXT NOT NULL, issued_s BIGINT NOT NULL
);

CREATE TABLE hold (
    hold TEXT PRIMARY KEY, account TEXT NOT NULL, store TEXT NOT NULL,
    visit TEXT NOT NULL, credential TEXT NOT NULL, amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL, created_s BIGINT NOT NULL, expires_s BIGINT NOT NULL,
    status TEXT NOT NULL, captured_minor BIGINT NOT NULL, reason TEXT NOT NULL,
    CHECK (captured_minor BETWEEN 0 AND amount_minor)
);
CREATE INDEX hold_open ON hold (account, currency, expires_s) WHERE status = 'held';
CREATE INDEX hold_due ON hold (expires_s) WHERE status = 'held';
CREATE INDEX hold_by_credential ON hold (credential);

CREATE TABLE journal (
    journal BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind TEXT NOT NULL,
    reference TEXT NOT NULL, at_s BIGINT NOT NULL, UNIQUE (kind, reference)
);
CREATE TABLE posting (
    journal BIGINT NOT NULL REFERENCES journal, line BIGINT NOT NULL, account TEXT NOT NULL,
    amount_minor BIGINT NOT NULL CHECK (amount_minor <> 0), currency TEXT NOT NULL,
    PRIMARY KEY (journal, line)
);
CREATE INDEX posting_by_account ON posting (account, currency, journal);

-- A journal is in the outbox until it is sealed into the chain, in either exactly once.
CREATE TABLE outbox (journal BIGINT PRIMARY KEY REFERENCES journal);
CREATE TABLE chain (
    seq BIGINT PRIMARY KEY, journal BIGINT NOT NULL UNIQUE, digest BYTEA NOT NULL
);

-- Balances of accounts without a floor, summed up to a journal number (snapshots.py).
CREATE TABLE balance_snapshot (
    account TEXT NOT NULL, currency TEXT NOT NULL, journal BIGINT NOT NULL,
    balance_minor BIGINT NOT NULL, PRIMARY KEY (account, currency)
);

CREATE TABLE capture (
    capture TEXT PRIMARY KEY, hold TEXT NOT NULL UNIQUE REFERENCES hold, account TEXT NOT NULL,
    merchant TEXT NOT NULL, purchase TEXT NOT NULL, amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL, journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
CREATE TABLE payment (
    payment TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account,
    amount_minor BIGINT NOT NULL, currency TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
CREATE TABLE refund (
    refund TEXT PRIMARY KEY, capture TEXT NOT NULL REFERENCES capture,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    to_provider_minor BIGINT NOT NULL, reason TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
CREATE INDEX refund_by_capture ON refund (capture);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER posting_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER chain_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON chain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER capture_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON capture
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER payment_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refund_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON refund
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
