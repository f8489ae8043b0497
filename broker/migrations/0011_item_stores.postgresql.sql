-- System B: item stores of a sponsor, invitations, grants, redemptions (systems/item_stores.py).

CREATE TABLE item_store (
    item_store TEXT PRIMARY KEY, organizer TEXT NOT NULL, payment_ref TEXT NOT NULL,
    currency TEXT NOT NULL, params TEXT NOT NULL, status TEXT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE item_store_funding (
    funding TEXT PRIMARY KEY, item_store TEXT NOT NULL REFERENCES item_store,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
CREATE TABLE invitation (
    invitation TEXT PRIMARY KEY, item_store TEXT NOT NULL REFERENCES item_store,
    code_hash TEXT NOT NULL UNIQUE, kid TEXT NOT NULL, contact_hash TEXT NOT NULL,
    state TEXT NOT NULL, expires_s BIGINT NOT NULL, issued_s BIGINT NOT NULL
);
CREATE INDEX invitation_by_store ON invitation (item_store);
CREATE TABLE item_grant (
    item_grant TEXT PRIMARY KEY, invitation TEXT NOT NULL UNIQUE REFERENCES invitation,
    item_store TEXT NOT NULL REFERENCES item_store, consumer TEXT NOT NULL,
    active BIGINT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE redemption (
    redemption TEXT PRIMARY KEY, item_grant TEXT NOT NULL REFERENCES item_grant,
    store TEXT NOT NULL, visit TEXT NOT NULL, interval_no BIGINT NOT NULL,
    sponsor_minor BIGINT NOT NULL, consumer_minor BIGINT NOT NULL,
    hold TEXT UNIQUE REFERENCES hold, ship_to TEXT NOT NULL, handover TEXT NOT NULL,
    state TEXT NOT NULL, created_s BIGINT NOT NULL
);
CREATE INDEX redemption_by_grant ON redemption (item_grant, interval_no);
CREATE TABLE redemption_line (
    redemption TEXT NOT NULL REFERENCES redemption, place BIGINT NOT NULL, line_id TEXT NOT NULL,
    gtin TEXT NOT NULL, quantity BIGINT NOT NULL, total_minor BIGINT NOT NULL,
    covered_quantity BIGINT NOT NULL, covered_minor BIGINT NOT NULL,
    PRIMARY KEY (redemption, place),
    CHECK (covered_quantity BETWEEN 0 AND quantity AND covered_minor BETWEEN 0 AND total_minor)
);
CREATE TABLE sponsor_notice (
    redemption TEXT PRIMARY KEY REFERENCES redemption,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal, at_s BIGINT NOT NULL, items TEXT NOT NULL
);

CREATE TRIGGER item_store_funding_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON item_store_funding
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER sponsor_notice_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sponsor_notice
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
