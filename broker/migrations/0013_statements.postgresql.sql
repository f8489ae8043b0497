-- System C: small purchases gathered into statements, payouts, invoices (systems/statements.py).

CREATE TABLE buyer (
    account TEXT PRIMARY KEY REFERENCES account, currency TEXT NOT NULL,
    close_minor BIGINT NOT NULL, close_after_days BIGINT NOT NULL, invoice_to TEXT NOT NULL,
    created_s BIGINT NOT NULL
);
CREATE TABLE seller (
    merchant TEXT PRIMARY KEY, currency TEXT NOT NULL, payout_ref TEXT NOT NULL,
    invoice_prefix TEXT NOT NULL UNIQUE, invoice_from TEXT NOT NULL, fee_bp BIGINT NOT NULL,
    fee_minor BIGINT NOT NULL, invoices BIGINT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE merchant_insider (
    merchant TEXT NOT NULL, account TEXT NOT NULL, created_s BIGINT NOT NULL,
    PRIMARY KEY (merchant, account)
);

CREATE TABLE statement (
    statement TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES buyer, currency TEXT NOT NULL,
    state TEXT NOT NULL, total_minor BIGINT NOT NULL, opened_s BIGINT NOT NULL,
    issued_s BIGINT, payment TEXT NOT NULL, blocks BIGINT NOT NULL
);
CREATE UNIQUE INDEX statement_open ON statement (account) WHERE state = 'open';
CREATE INDEX statement_closing ON statement (statement) WHERE state = 'closing';
CREATE INDEX statement_by_account ON statement (account, statement);
CREATE TABLE micro_payout (
    payout TEXT PRIMARY KEY, merchant TEXT NOT NULL REFERENCES seller, currency TEXT NOT NULL,
    state TEXT NOT NULL, gross_minor BIGINT NOT NULL, refunds_minor BIGINT NOT NULL,
    fee_minor BIGINT NOT NULL, net_minor BIGINT NOT NULL CHECK (net_minor > 0),
    attempt BIGINT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE micro_purchase (
    capture TEXT PRIMARY KEY REFERENCES capture, account TEXT NOT NULL REFERENCES buyer,
    merchant TEXT NOT NULL REFERENCES seller, statement TEXT NOT NULL REFERENCES statement,
    amount_minor BIGINT NOT NULL, currency TEXT NOT NULL, payout TEXT,
    accrued_s BIGINT NOT NULL
);
CREATE INDEX micro_purchase_by_statement ON micro_purchase (statement);
CREATE INDEX micro_purchase_by_payout ON micro_purchase (merchant, payout);
CREATE TABLE micro_line (
    capture TEXT NOT NULL REFERENCES micro_purchase, place BIGINT NOT NULL, line_id TEXT NOT NULL,
    name TEXT NOT NULL, quantity BIGINT NOT NULL, gross_minor BIGINT NOT NULL,
    vat_bp BIGINT NOT NULL, PRIMARY KEY (capture, place)
);
-- statement: the open one that the refund made smaller; credit_note: when it was issued already;
-- set_off: the statement in dunning whose debt it made smaller.
CREATE TABLE micro_refund (
    refund TEXT PRIMARY KEY REFERENCES refund, capture TEXT NOT NULL REFERENCES micro_purchase,
    line_id TEXT NOT NULL, quantity BIGINT NOT NULL CHECK (quantity > 0),
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), statement TEXT, credit_note TEXT,
    set_off TEXT, payout TEXT, created_s BIGINT NOT NULL,
    CHECK ((statement IS NULL) <> (credit_note IS NULL))
);
CREATE INDEX micro_refund_by_capture ON micro_refund (capture, line_id);
CREATE INDEX micro_refund_by_statement ON micro_refund (statement);
CREATE INDEX micro_refund_by_set_off ON micro_refund (set_off);

CREATE TABLE invoice (
    invoice TEXT PRIMARY KEY, merchant TEXT NOT NULL REFERENCES seller,
    account TEXT NOT NULL REFERENCES buyer, statement TEXT NOT NULL REFERENCES statement,
    about TEXT REFERENCES invoice, currency TEXT NOT NULL, net_minor BIGINT NOT NULL,
    vat_minor BIGINT NOT NULL, rounding_minor BIGINT NOT NULL, payable_minor BIGINT NOT NULL,
    issued_s BIGINT NOT NULL, ubl TEXT NOT NULL
);
CREATE UNIQUE INDEX invoice_of_statement ON invoice (statement, merchant) WHERE about IS NULL;
CREATE TABLE invoice_vat (
    invoice TEXT NOT NULL REFERENCES invoice, vat_bp BIGINT NOT NULL,
    taxable_minor BIGINT NOT NULL, vat_minor BIGINT NOT NULL, PRIMARY KEY (invoice, vat_bp)
);

CREATE TRIGGER micro_line_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON micro_line
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER invoice_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER invoice_vat_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_vat
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
