-- System A: entries, trips, debts and the deny list, disputes (systems/entries.py, trips.py, debts.py, disputes.py).

CREATE INDEX account_by_payment_ref ON account (payment_ref) WHERE payment_ref <> '';
-- What a merchant calls a shopper: another name at each merchant.
CREATE TABLE account_ref (
    account TEXT NOT NULL REFERENCES account, merchant TEXT NOT NULL, ref TEXT NOT NULL UNIQUE,
    PRIMARY KEY (account, merchant)
);
CREATE TABLE entry (
    entry TEXT PRIMARY KEY, merchant TEXT NOT NULL, store TEXT NOT NULL, gate TEXT NOT NULL,
    account TEXT NOT NULL, kind TEXT NOT NULL, credential TEXT NOT NULL, party_size BIGINT NOT NULL,
    decision TEXT NOT NULL, reason TEXT NOT NULL, hold TEXT UNIQUE REFERENCES hold, trip TEXT,
    digest TEXT NOT NULL, created_s BIGINT NOT NULL,
    CHECK ((decision = 'deny') = (hold IS NULL))
);
CREATE UNIQUE INDEX entry_by_code ON entry (credential) WHERE kind = 'code' AND decision <> 'deny';
CREATE INDEX entry_by_trip ON entry (trip);
CREATE TABLE trip (
    trip TEXT PRIMARY KEY, merchant TEXT NOT NULL, store TEXT NOT NULL, account TEXT NOT NULL,
    hold TEXT NOT NULL UNIQUE REFERENCES hold, currency TEXT NOT NULL, state TEXT NOT NULL,
    version BIGINT NOT NULL, purchase TEXT NOT NULL, total_minor BIGINT NOT NULL,
    captured_minor BIGINT NOT NULL, above_shelf_minor BIGINT NOT NULL, capture TEXT UNIQUE,
    due_s BIGINT NOT NULL, created_s BIGINT NOT NULL,
    CHECK (captured_minor BETWEEN 0 AND total_minor)
);
CREATE UNIQUE INDEX trip_by_purchase ON trip (merchant, purchase) WHERE purchase <> '';
CREATE INDEX trip_due ON trip (due_s) WHERE state IN ('open', 'exited');
CREATE TABLE trip_line (
    trip TEXT NOT NULL REFERENCES trip, line_id TEXT NOT NULL, gtin TEXT NOT NULL,
    units BIGINT NOT NULL, unit TEXT NOT NULL, confidence_permille BIGINT NOT NULL,
    shelf_minor BIGINT NOT NULL, evidence TEXT NOT NULL, total_minor BIGINT NOT NULL,
    PRIMARY KEY (trip, line_id)
);
CREATE TABLE trip_debt (
    trip TEXT PRIMARY KEY REFERENCES trip, account TEXT NOT NULL, merchant TEXT NOT NULL,
    currency TEXT NOT NULL, amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    recovered_minor BIGINT NOT NULL, forgiven_minor BIGINT NOT NULL, state TEXT NOT NULL,
    created_s BIGINT NOT NULL,
    CHECK (recovered_minor >= 0 AND forgiven_minor >= 0
        AND recovered_minor + forgiven_minor <= amount_minor)
);
CREATE TABLE debt_recovery (
    recovery TEXT PRIMARY KEY, trip TEXT NOT NULL REFERENCES trip_debt,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
-- Who is not let in. A row a cause, so that a paid debt lifts no word of the operator.
CREATE TABLE denied (
    account TEXT NOT NULL, cause TEXT NOT NULL, card_hash TEXT NOT NULL, reason TEXT NOT NULL,
    since_s BIGINT NOT NULL, PRIMARY KEY (account, cause)
);
CREATE INDEX denied_by_card ON denied (card_hash) WHERE card_hash <> '';
CREATE TABLE dispute (
    dispute TEXT PRIMARY KEY, capture TEXT NOT NULL REFERENCES capture, account TEXT NOT NULL,
    merchant TEXT NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    note TEXT NOT NULL, asked_minor BIGINT NOT NULL, upheld_minor BIGINT NOT NULL,
    forgiven_minor BIGINT NOT NULL, refund TEXT UNIQUE, opened_s BIGINT NOT NULL,
    decided_s BIGINT NOT NULL,
    CHECK (upheld_minor BETWEEN 0 AND asked_minor AND forgiven_minor BETWEEN 0 AND upheld_minor)
);
CREATE TABLE dispute_line (
    capture TEXT NOT NULL, line_id TEXT NOT NULL, dispute TEXT NOT NULL REFERENCES dispute,
    total_minor BIGINT NOT NULL, upheld BIGINT NOT NULL, PRIMARY KEY (capture, line_id)
);
CREATE INDEX dispute_line_of ON dispute_line (dispute);
CREATE TABLE dispute_evidence (
    dispute TEXT NOT NULL REFERENCES dispute, evidence_id TEXT NOT NULL, by_whom TEXT NOT NULL,
    said TEXT NOT NULL, at_s BIGINT NOT NULL, PRIMARY KEY (dispute, evidence_id)
);

CREATE TRIGGER debt_recovery_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON debt_recovery
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
