-- System D: one cart over several merchants (systems/carts.py, cart_refs.py), and who merchants are.

CREATE TABLE merchant (
    merchant TEXT PRIMARY KEY, version BIGINT NOT NULL, fee_permille BIGINT NOT NULL,
    public_key TEXT NOT NULL, created_s BIGINT NOT NULL,
    CHECK (fee_permille BETWEEN 0 AND 1000)
);
CREATE TABLE market_cart (
    cart TEXT PRIMARY KEY, account TEXT NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL,
    version BIGINT NOT NULL, total_minor BIGINT NOT NULL, copied_from TEXT NOT NULL,
    purchase TEXT UNIQUE, journal BIGINT UNIQUE REFERENCES journal, created_s BIGINT NOT NULL,
    CHECK ((state = 'paid') = (journal IS NOT NULL))
);
CREATE TABLE market_part (
    cart TEXT NOT NULL REFERENCES market_cart, merchant TEXT NOT NULL REFERENCES merchant,
    state TEXT NOT NULL, valid_until_s BIGINT NOT NULL, PRIMARY KEY (cart, merchant)
);
CREATE TABLE market_line (
    cart TEXT NOT NULL, merchant TEXT NOT NULL, line_id TEXT NOT NULL, name TEXT NOT NULL,
    gtin TEXT NOT NULL, quantity BIGINT NOT NULL, total_minor BIGINT NOT NULL,
    taken_by TEXT NOT NULL DEFAULT '', PRIMARY KEY (cart, merchant, line_id),
    FOREIGN KEY (cart, merchant) REFERENCES market_part
);
CREATE INDEX market_line_taken ON market_line (taken_by) WHERE taken_by <> '';
CREATE TABLE market_split (
    cart TEXT NOT NULL REFERENCES market_cart, merchant TEXT NOT NULL,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), fee_minor BIGINT NOT NULL,
    PRIMARY KEY (cart, merchant), CHECK (fee_minor BETWEEN 0 AND amount_minor)
);
CREATE TABLE market_refund (
    refund TEXT PRIMARY KEY, cart TEXT NOT NULL REFERENCES market_cart, merchant TEXT NOT NULL,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), reason TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
CREATE INDEX market_refund_by_split ON market_refund (cart, merchant);
CREATE TABLE cart_ref (
    ref TEXT PRIMARY KEY, cart TEXT NOT NULL REFERENCES market_cart, mode TEXT NOT NULL,
    code_hash TEXT NOT NULL UNIQUE, kid TEXT NOT NULL, state TEXT NOT NULL,
    expires_s BIGINT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TRIGGER market_split_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market_split
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER market_refund_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market_refund
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
