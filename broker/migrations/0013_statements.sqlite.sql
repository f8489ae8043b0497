-- System C: small purchases gathered into statements, payouts, invoices (systems/statements.py).

CREATE TABLE buyer (
    account TEXT PRIMARY KEY REFERENCES account, currency TEXT NOT NULL,
    close_minor INTEGER NOT NULL, close_after_days INTEGER NOT NULL, invoice_to TEXT NOT NULL,
    created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE seller (
    merchant TEXT PRIMARY KEY, currency TEXT NOT NULL, payout_ref TEXT NOT NULL,
    invoice_prefix TEXT NOT NULL UNIQUE, invoice_from TEXT NOT NULL, fee_bp INTEGER NOT NULL,
    fee_minor INTEGER NOT NULL, invoices INTEGER NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE merchant_insider (
    merchant TEXT NOT NULL, account TEXT NOT NULL, created_s INTEGER NOT NULL,
    PRIMARY KEY (merchant, account)
) STRICT;

CREATE TABLE statement (
    statement TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES buyer, currency TEXT NOT NULL,
    state TEXT NOT NULL, total_minor INTEGER NOT NULL, opened_s INTEGER NOT NULL,
    issued_s INTEGER, payment TEXT NOT NULL, blocks INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX statement_open ON statement (account) WHERE state = 'open';
CREATE INDEX statement_closing ON statement (statement) WHERE state = 'closing';
CREATE INDEX statement_by_account ON statement (account, statement);
CREATE TABLE micro_payout (
    payout TEXT PRIMARY KEY, merchant TEXT NOT NULL REFERENCES seller, currency TEXT NOT NULL,
    state TEXT NOT NULL, gross_minor INTEGER NOT NULL, refunds_minor INTEGER NOT NULL,
    fee_minor INTEGER NOT NULL, net_minor INTEGER NOT NULL CHECK (net_minor > 0),
    attempt INTEGER NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE micro_purchase (
    capture TEXT PRIMARY KEY REFERENCES capture, account TEXT NOT NULL REFERENCES buyer,
    merchant TEXT NOT NULL REFERENCES seller, statement TEXT NOT NULL REFERENCES statement,
    amount_minor INTEGER NOT NULL, currency TEXT NOT NULL, payout TEXT,
    accrued_s INTEGER NOT NULL
) STRICT;
CREATE INDEX micro_purchase_by_statement ON micro_purchase (statement);
CREATE INDEX micro_purchase_by_payout ON micro_purchase (merchant, payout);
CREATE TABLE micro_line (
    capture TEXT NOT NULL REFERENCES micro_purchase, place INTEGER NOT NULL, line_id TEXT NOT NULL,
    name TEXT NOT NULL, quantity INTEGER NOT NULL, gross_minor INTEGER NOT NULL,
    vat_bp INTEGER NOT NULL, PRIMARY KEY (capture, place)
) STRICT;
-- statement: the open one that the refund made smaller; credit_note: when it was issued already;
-- set_off: the statement in dunning whose debt it made smaller.
CREATE TABLE micro_refund (
    refund TEXT PRIMARY KEY REFERENCES refund, capture TEXT NOT NULL REFERENCES micro_purchase,
    line_id TEXT NOT NULL, quantity INTEGER NOT NULL CHECK (quantity > 0),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), statement TEXT, credit_note TEXT,
    set_off TEXT, payout TEXT, created_s INTEGER NOT NULL,
    CHECK ((statement IS NULL) <> (credit_note IS NULL))
) STRICT;
CREATE INDEX micro_refund_by_capture ON micro_refund (capture, line_id);
CREATE INDEX micro_refund_by_statement ON micro_refund (statement);
CREATE INDEX micro_refund_by_set_off ON micro_refund (set_off);

CREATE TABLE invoice (
    invoice TEXT PRIMARY KEY, merchant TEXT NOT NULL REFERENCES seller,
    account TEXT NOT NULL REFERENCES buyer, statement TEXT NOT NULL REFERENCES statement,
    about TEXT REFERENCES invoice, currency TEXT NOT NULL, net_minor INTEGER NOT NULL,
    vat_minor INTEGER NOT NULL, rounding_minor INTEGER NOT NULL, payable_minor INTEGER NOT NULL,
    issued_s INTEGER NOT NULL, ubl TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX invoice_of_statement ON invoice (statement, merchant) WHERE about IS NULL;
CREATE TABLE invoice_vat (
    invoice TEXT NOT NULL REFERENCES invoice, vat_bp INTEGER NOT NULL,
    taxable_minor INTEGER NOT NULL, vat_minor INTEGER NOT NULL, PRIMARY KEY (invoice, vat_bp)
) STRICT;

CREATE TRIGGER micro_line_update BEFORE UPDATE ON micro_line
BEGIN SELECT RAISE(ABORT, 'micro_line is append-only'); END;
CREATE TRIGGER micro_line_delete BEFORE DELETE ON micro_line
BEGIN SELECT RAISE(ABORT, 'micro_line is append-only'); END;
CREATE TRIGGER invoice_update BEFORE UPDATE ON invoice
BEGIN SELECT RAISE(ABORT, 'invoice is append-only'); END;
CREATE TRIGGER invoice_delete BEFORE DELETE ON invoice
BEGIN SELECT RAISE(ABORT, 'invoice is append-only'); END;
CREATE TRIGGER invoice_vat_update BEFORE UPDATE ON invoice_vat
BEGIN SELECT RAISE(ABORT, 'invoice_vat is append-only'); END;
CREATE TRIGGER invoice_vat_delete BEFORE DELETE ON invoice_vat
BEGIN SELECT RAISE(ABORT, 'invoice_vat is append-only'); END;
