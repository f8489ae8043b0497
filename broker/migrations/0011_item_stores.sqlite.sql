-- System B: item stores of a sponsor, invitations, grants, redemptions (systems/item_stores.py).

CREATE TABLE item_store (
    item_store TEXT PRIMARY KEY, organizer TEXT NOT NULL, payment_ref TEXT NOT NULL,
    currency TEXT NOT NULL, params TEXT NOT NULL, status TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE item_store_funding (
    funding TEXT PRIMARY KEY, item_store TEXT NOT NULL REFERENCES item_store,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE TABLE invitation (
    invitation TEXT PRIMARY KEY, item_store TEXT NOT NULL REFERENCES item_store,
    code_hash TEXT NOT NULL UNIQUE, kid TEXT NOT NULL, contact_hash TEXT NOT NULL,
    state TEXT NOT NULL, expires_s INTEGER NOT NULL, issued_s INTEGER NOT NULL
) STRICT;
CREATE INDEX invitation_by_store ON invitation (item_store);
CREATE TABLE item_grant (
    item_grant TEXT PRIMARY KEY, invitation TEXT NOT NULL UNIQUE REFERENCES invitation,
    item_store TEXT NOT NULL REFERENCES item_store, consumer TEXT NOT NULL,
    active INTEGER NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE redemption (
    redemption TEXT PRIMARY KEY, item_grant TEXT NOT NULL REFERENCES item_grant,
    store TEXT NOT NULL, visit TEXT NOT NULL, interval_no INTEGER NOT NULL,
    sponsor_minor INTEGER NOT NULL, consumer_minor INTEGER NOT NULL,
    hold TEXT UNIQUE REFERENCES hold, ship_to TEXT NOT NULL, handover TEXT NOT NULL,
    state TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE INDEX redemption_by_grant ON redemption (item_grant, interval_no);
CREATE TABLE redemption_line (
    redemption TEXT NOT NULL REFERENCES redemption, place INTEGER NOT NULL, line_id TEXT NOT NULL,
    gtin TEXT NOT NULL, quantity INTEGER NOT NULL, total_minor INTEGER NOT NULL,
    covered_quantity INTEGER NOT NULL, covered_minor INTEGER NOT NULL,
    PRIMARY KEY (redemption, place),
    CHECK (covered_quantity BETWEEN 0 AND quantity AND covered_minor BETWEEN 0 AND total_minor)
) STRICT;
CREATE TABLE sponsor_notice (
    redemption TEXT PRIMARY KEY REFERENCES redemption,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal, at_s INTEGER NOT NULL, items TEXT NOT NULL
) STRICT;

CREATE TRIGGER item_store_funding_update BEFORE UPDATE ON item_store_funding
BEGIN SELECT RAISE(ABORT, 'item_store_funding is append-only'); END;
CREATE TRIGGER item_store_funding_delete BEFORE DELETE ON item_store_funding
BEGIN SELECT RAISE(ABORT, 'item_store_funding is append-only'); END;
CREATE TRIGGER sponsor_notice_update BEFORE UPDATE ON sponsor_notice
BEGIN SELECT RAISE(ABORT, 'sponsor_notice is append-only'); END;
CREATE TRIGGER sponsor_notice_delete BEFORE DELETE ON sponsor_notice
BEGIN SELECT RAISE(ABORT, 'sponsor_notice is append-only'); END;
