-- System G: checkouts with shipping, orders, shipments (systems/checkouts.py, orders.py, shipments.py).

CREATE TABLE merchant_notice (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, merchant TEXT NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL,
    at_s INTEGER NOT NULL, UNIQUE (merchant, kind, about)
) STRICT;
CREATE TABLE checkout (
    checkout TEXT PRIMARY KEY, account TEXT NOT NULL, merchant TEXT NOT NULL REFERENCES merchant,
    currency TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL, offer TEXT NOT NULL,
    merchant_signature TEXT NOT NULL, valid_until_s INTEGER NOT NULL, destination TEXT NOT NULL,
    way TEXT NOT NULL, extras TEXT NOT NULL, lines_minor INTEGER NOT NULL, way_minor INTEGER NOT NULL,
    extras_minor INTEGER NOT NULL, tax_minor INTEGER NOT NULL, discount_minor INTEGER NOT NULL,
    total_minor INTEGER NOT NULL, totals_hash TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE shop_order (
    order_id TEXT PRIMARY KEY, checkout TEXT NOT NULL UNIQUE REFERENCES checkout,
    merchant TEXT NOT NULL, account TEXT NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL,
    hold TEXT NOT NULL UNIQUE REFERENCES hold, authorised_minor INTEGER NOT NULL,
    captured_minor INTEGER NOT NULL, totals_hash TEXT NOT NULL, deadline_s INTEGER NOT NULL,
    created_s INTEGER NOT NULL, CHECK (captured_minor BETWEEN 0 AND authorised_minor)
) STRICT;
CREATE INDEX shop_order_due ON shop_order (deadline_s) WHERE state IN ('placed', 'accepted');
CREATE TABLE shipment (
    order_id TEXT NOT NULL REFERENCES shop_order, shipment TEXT NOT NULL, state TEXT NOT NULL,
    line_ids TEXT NOT NULL, amount_minor INTEGER NOT NULL, fee_minor INTEGER NOT NULL,
    journal INTEGER UNIQUE REFERENCES journal, returned_journal INTEGER UNIQUE REFERENCES journal,
    PRIMARY KEY (order_id, shipment)
) STRICT;
CREATE TABLE shipment_event (
    order_id TEXT NOT NULL, shipment TEXT NOT NULL, event TEXT NOT NULL, status TEXT NOT NULL,
    took_effect INTEGER NOT NULL, at_s INTEGER NOT NULL, PRIMARY KEY (order_id, shipment, event),
    FOREIGN KEY (order_id, shipment) REFERENCES shipment
) STRICT;

CREATE TRIGGER shipment_event_update BEFORE UPDATE ON shipment_event
BEGIN SELECT RAISE(ABORT, 'shipment_event is append-only'); END;
CREATE TRIGGER shipment_event_delete BEFORE DELETE ON shipment_event
BEGIN SELECT RAISE(ABORT, 'shipment_event is append-only'); END;

CREATE TRIGGER merchant_notice_update BEFORE UPDATE ON merchant_notice
BEGIN SELECT RAISE(ABORT, 'merchant_notice is append-only'); END;
CREATE TRIGGER merchant_notice_delete BEFORE DELETE ON merchant_notice
BEGIN SELECT RAISE(ABORT, 'merchant_notice is append-only'); END;
