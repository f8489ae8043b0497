-- System G: checkouts with shipping, orders, shipments (systems/checkouts.py, orders.py, shipments.py).

CREATE TABLE merchant_notice (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, merchant TEXT NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL,
    at_s BIGINT NOT NULL, UNIQUE (merchant, kind, about)
);
CREATE TABLE checkout (
    checkout TEXT PRIMARY KEY, account TEXT NOT NULL, merchant TEXT NOT NULL REFERENCES merchant,
    currency TEXT NOT NULL, state TEXT NOT NULL, version BIGINT NOT NULL, offer TEXT NOT NULL,
    merchant_signature TEXT NOT NULL, valid_until_s BIGINT NOT NULL, destination TEXT NOT NULL,
    way TEXT NOT NULL, extras TEXT NOT NULL, lines_minor BIGINT NOT NULL, way_minor BIGINT NOT NULL,
    extras_minor BIGINT NOT NULL, tax_minor BIGINT NOT NULL, discount_minor BIGINT NOT NULL,
    total_minor BIGINT NOT NULL, totals_hash TEXT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE shop_order (
    order_id TEXT PRIMARY KEY, checkout TEXT NOT NULL UNIQUE REFERENCES checkout,
    merchant TEXT NOT NULL, account TEXT NOT NULL, currency TEXT NOT NULL, state TEXT NOT NULL,
    hold TEXT NOT NULL UNIQUE REFERENCES hold, authorised_minor BIGINT NOT NULL,
    captured_minor BIGINT NOT NULL, totals_hash TEXT NOT NULL, deadline_s BIGINT NOT NULL,
    created_s BIGINT NOT NULL, CHECK (captured_minor BETWEEN 0 AND authorised_minor)
);
CREATE INDEX shop_order_due ON shop_order (deadline_s) WHERE state IN ('placed', 'accepted');
CREATE TABLE shipment (
    order_id TEXT NOT NULL REFERENCES shop_order, shipment TEXT NOT NULL, state TEXT NOT NULL,
    line_ids TEXT NOT NULL, amount_minor BIGINT NOT NULL, fee_minor BIGINT NOT NULL,
    journal BIGINT UNIQUE REFERENCES journal, returned_journal BIGINT UNIQUE REFERENCES journal,
    PRIMARY KEY (order_id, shipment)
);
CREATE TABLE shipment_event (
    order_id TEXT NOT NULL, shipment TEXT NOT NULL, event TEXT NOT NULL, status TEXT NOT NULL,
    took_effect BIGINT NOT NULL, at_s BIGINT NOT NULL, PRIMARY KEY (order_id, shipment, event),
    FOREIGN KEY (order_id, shipment) REFERENCES shipment
);
CREATE TRIGGER shipment_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shipment_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER merchant_notice_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON merchant_notice
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
