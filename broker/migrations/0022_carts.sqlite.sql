-- System D: one cart over several merchants (systems/carts.py, cart_refs.py), and who merchants are.

CREATE TABLE merchant (
    merchant TEXT PRIMARY KEY, version INTEGER NOT NULL, fee_permille INTEGER NOT NULL,
    public_key TEXT NOT NULL, created_s INTEGER NOT NULL,
    CHECK (fee_permille BETWEEN 0 AND 1000)
) STRICT;
CREATE TABLE market_cart (
    cart TEXT PRIMARY KEY, account TEXT NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL,
    version INTEGER NOT NULL, total_minor INTEGER NOT NULL, copied_from TEXT NOT NULL,
    purchase TEXT UNIQUE, journal INTEGER UNIQUE REFERENCES journal, created_s INTEGER NOT NULL,
    CHECK ((state = 'paid') = (journal IS NOT NULL))
) STRICT;
CREATE TABLE market_part (
    cart TEXT NOT NULL REFERENCES market_cart, merchant TEXT NOT NULL REFERENCES merchant,
    state TEXT NOT NULL, valid_until_s INTEGER NOT NULL, PRIMARY KEY (cart, merchant)
) STRICT;
CREATE TABLE market_line (
    cart TEXT NOT NULL, merchant TEXT NOT NULL, line_id TEXT NOT NULL, name TEXT NOT NULL,
    gtin TEXT NOT NULL, quantity INTEGER NOT NULL, total_minor INTEGER NOT NULL,
    taken_by TEXT NOT NULL DEFAULT '', PRIMARY KEY (cart, merchant, line_id),
    FOREIGN KEY (cart, merchant) REFERENCES market_part
) STRICT;
CREATE INDEX market_line_taken ON market_line (taken_by) WHERE taken_by <> '';
CREATE TABLE market_split (
    cart TEXT NOT NULL REFERENCES market_cart, merchant TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), fee_minor INTEGER NOT NULL,
    PRIMARY KEY (cart, merchant), CHECK (fee_minor BETWEEN 0 AND amount_minor)
) STRICT;
CREATE TABLE market_refund (
    refund TEXT PRIMARY KEY, cart TEXT NOT NULL REFERENCES market_cart, merchant TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), reason TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE INDEX market_refund_by_split ON market_refund (cart, merchant);
CREATE TABLE cart_ref (
    ref TEXT PRIMARY KEY, cart TEXT NOT NULL REFERENCES market_cart, mode TEXT NOT NULL,
    code_hash TEXT NOT NULL UNIQUE, kid TEXT NOT NULL, state TEXT NOT NULL,
    expires_s INTEGER NOT NULL, created_s INTEGER NOT NULL
) STRICT;

CREATE TRIGGER market_split_update BEFORE UPDATE ON market_split
BEGIN SELECT RAISE(ABORT, 'market_split is append-only'); END;
CREATE TRIGGER market_split_delete BEFORE DELETE ON market_split
BEGIN SELECT RAISE(ABORT, 'market_split is append-only'); END;

CREATE TRIGGER market_refund_update BEFORE UPDATE ON market_refund
BEGIN SELECT RAISE(ABORT, 'market_refund is append-only'); END;
CREATE TRIGGER market_refund_delete BEFORE DELETE ON market_refund
BEGIN SELECT RAISE(ABORT, 'market_refund is append-only'); END;
