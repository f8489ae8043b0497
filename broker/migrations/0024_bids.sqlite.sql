-- System F: sealed bids decide who fulfils (systems/bids.py, awards.py, display_sales.py).

CREATE TABLE display_item (
    item TEXT PRIMARY KEY, version INTEGER NOT NULL, name TEXT NOT NULL, gtin TEXT NOT NULL,
    price_minor INTEGER NOT NULL, currency TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE bid_request (
    request TEXT PRIMARY KEY, mode TEXT NOT NULL, state TEXT NOT NULL, items TEXT NOT NULL,
    region TEXT NOT NULL, currency TEXT NOT NULL, ceiling_minor INTEGER NOT NULL,
    criteria TEXT NOT NULL, margin_permille INTEGER NOT NULL, opened_s INTEGER NOT NULL,
    closes_s INTEGER NOT NULL, head TEXT NOT NULL, ranking TEXT NOT NULL,
    CHECK (closes_s > opened_s)
) STRICT;
CREATE INDEX bid_request_due ON bid_request (closes_s) WHERE state = 'open';
CREATE TABLE bid (
    request TEXT NOT NULL REFERENCES bid_request, seq INTEGER NOT NULL, bid_id TEXT NOT NULL,
    merchant TEXT NOT NULL, price_minor INTEGER NOT NULL, shipping_minor INTEGER NOT NULL,
    eta_days INTEGER NOT NULL, stock_until_s INTEGER NOT NULL, defaults INTEGER NOT NULL,
    received_s INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (request, seq), UNIQUE (request, bid_id)
) STRICT;
CREATE TABLE bid_quote (
    quote TEXT PRIMARY KEY, request TEXT NOT NULL UNIQUE REFERENCES bid_request,
    price_minor INTEGER NOT NULL, state TEXT NOT NULL, expires_s INTEGER NOT NULL
) STRICT;
CREATE TABLE display_sale (
    sale TEXT PRIMARY KEY, account TEXT NOT NULL,
    request TEXT NOT NULL UNIQUE REFERENCES bid_request, price_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, state TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal,
    refund_journal INTEGER UNIQUE REFERENCES journal, sold_s INTEGER NOT NULL,
    CHECK ((state = 'refunded') = (refund_journal IS NOT NULL))
) STRICT;
CREATE TABLE award (
    request TEXT NOT NULL REFERENCES bid_request, rank INTEGER NOT NULL, bid_id TEXT NOT NULL,
    merchant TEXT NOT NULL, total_minor INTEGER NOT NULL, state TEXT NOT NULL,
    deadline_s INTEGER NOT NULL, journal INTEGER UNIQUE REFERENCES journal,
    penalty_minor INTEGER NOT NULL, penalty_journal INTEGER UNIQUE REFERENCES journal,
    at_s INTEGER NOT NULL, PRIMARY KEY (request, rank)
) STRICT;
CREATE INDEX award_due ON award (deadline_s) WHERE state IN ('offered', 'confirmed');
CREATE INDEX award_defaults ON award (merchant, at_s) WHERE state = 'defaulted';

CREATE TRIGGER bid_update BEFORE UPDATE ON bid
BEGIN SELECT RAISE(ABORT, 'bid is append-only'); END;
CREATE TRIGGER bid_delete BEFORE DELETE ON bid
BEGIN SELECT RAISE(ABORT, 'bid is append-only'); END;
