-- System F: sealed bids decide who fulfils (systems/bids.py, awards.py, display_sales.py).

CREATE TABLE display_item (
    item TEXT PRIMARY KEY, version BIGINT NOT NULL, name TEXT NOT NULL, gtin TEXT NOT NULL,
    price_minor BIGINT NOT NULL, currency TEXT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE bid_request (
    request TEXT PRIMARY KEY, mode TEXT NOT NULL, state TEXT NOT NULL, items TEXT NOT NULL,
    region TEXT NOT NULL, currency TEXT NOT NULL, ceiling_minor BIGINT NOT NULL,
    criteria TEXT NOT NULL, margin_permille BIGINT NOT NULL, opened_s BIGINT NOT NULL,
    closes_s BIGINT NOT NULL, head TEXT NOT NULL, ranking TEXT NOT NULL,
    CHECK (closes_s > opened_s)
);
CREATE INDEX bid_request_due ON bid_request (closes_s) WHERE state = 'open';
CREATE TABLE bid (
    request TEXT NOT NULL REFERENCES bid_request, seq BIGINT NOT NULL, bid_id TEXT NOT NULL,
    merchant TEXT NOT NULL, price_minor BIGINT NOT NULL, shipping_minor BIGINT NOT NULL,
    eta_days BIGINT NOT NULL, stock_until_s BIGINT NOT NULL, defaults BIGINT NOT NULL,
    received_s BIGINT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (request, seq), UNIQUE (request, bid_id)
);
CREATE TABLE bid_quote (
    quote TEXT PRIMARY KEY, request TEXT NOT NULL UNIQUE REFERENCES bid_request,
    price_minor BIGINT NOT NULL, state TEXT NOT NULL, expires_s BIGINT NOT NULL
);
CREATE TABLE display_sale (
    sale TEXT PRIMARY KEY, account TEXT NOT NULL,
    request TEXT NOT NULL UNIQUE REFERENCES bid_request, price_minor BIGINT NOT NULL,
    currency TEXT NOT NULL, state TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal,
    refund_journal BIGINT UNIQUE REFERENCES journal, sold_s BIGINT NOT NULL,
    CHECK ((state = 'refunded') = (refund_journal IS NOT NULL))
);
CREATE TABLE award (
    request TEXT NOT NULL REFERENCES bid_request, rank BIGINT NOT NULL, bid_id TEXT NOT NULL,
    merchant TEXT NOT NULL, total_minor BIGINT NOT NULL, state TEXT NOT NULL,
    deadline_s BIGINT NOT NULL, journal BIGINT UNIQUE REFERENCES journal,
    penalty_minor BIGINT NOT NULL, penalty_journal BIGINT UNIQUE REFERENCES journal,
    at_s BIGINT NOT NULL, PRIMARY KEY (request, rank)
);
CREATE INDEX award_due ON award (deadline_s) WHERE state IN ('offered', 'confirmed');
CREATE INDEX award_defaults ON award (merchant, at_s) WHERE state = 'defaulted';
CREATE TRIGGER bid_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bid
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
