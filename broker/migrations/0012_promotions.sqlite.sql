-- System K: campaigns, signed frames, tokens, coupon locks and their events (systems/campaigns.py).

CREATE TABLE campaign (
    campaign TEXT PRIMARY KEY, brand TEXT NOT NULL, currency TEXT NOT NULL, terms TEXT NOT NULL,
    terms_hash TEXT NOT NULL, status TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE campaign_funding (
    funding TEXT PRIMARY KEY, campaign TEXT NOT NULL REFERENCES campaign,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE TABLE frame (
    frame TEXT PRIMARY KEY, campaign TEXT NOT NULL REFERENCES campaign, store TEXT NOT NULL,
    shelf TEXT NOT NULL, valid_until_s INTEGER NOT NULL, terms_hash TEXT NOT NULL,
    domain TEXT NOT NULL, gtin TEXT NOT NULL, frame_sig TEXT NOT NULL, kid TEXT NOT NULL,
    state TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE INDEX frame_by_campaign ON frame (campaign);
CREATE INDEX frame_by_store ON frame (store);
CREATE TABLE promo_token (
    token_id TEXT PRIMARY KEY, frame TEXT NOT NULL REFERENCES frame, client TEXT NOT NULL,
    state TEXT NOT NULL, expires_s INTEGER NOT NULL, minted_s INTEGER NOT NULL, coupon_lock TEXT
) STRICT;
CREATE INDEX promo_token_by_frame ON promo_token (frame, client);

-- A lock takes its share of each campaign's fund by one hold, and takes it off lines.
CREATE TABLE coupon_lock (
    coupon_lock TEXT PRIMARY KEY, store TEXT NOT NULL, visit TEXT NOT NULL, client TEXT NOT NULL,
    currency TEXT NOT NULL, state TEXT NOT NULL, expires_s INTEGER NOT NULL,
    created_s INTEGER NOT NULL
) STRICT;
CREATE INDEX coupon_lock_due ON coupon_lock (expires_s) WHERE state = 'locked';
CREATE TABLE coupon_share (
    coupon_lock TEXT NOT NULL REFERENCES coupon_lock, campaign TEXT NOT NULL REFERENCES campaign,
    hold TEXT NOT NULL UNIQUE REFERENCES hold, PRIMARY KEY (coupon_lock, campaign)
) STRICT;
CREATE TABLE coupon_allocation (
    coupon_lock TEXT NOT NULL REFERENCES coupon_lock, token_id TEXT NOT NULL REFERENCES promo_token,
    line_id TEXT NOT NULL, campaign TEXT NOT NULL, quantity INTEGER NOT NULL,
    total_minor INTEGER NOT NULL, discount_minor INTEGER NOT NULL CHECK (discount_minor > 0),
    PRIMARY KEY (coupon_lock, token_id, line_id)
) STRICT;
CREATE TABLE coupon_return (
    coupon_return TEXT PRIMARY KEY, coupon_lock TEXT NOT NULL REFERENCES coupon_lock,
    line_id TEXT NOT NULL, quantity INTEGER NOT NULL CHECK (quantity > 0),
    discount_minor INTEGER NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE INDEX coupon_return_by_lock ON coupon_return (coupon_lock, line_id);

-- Statistics count these.
CREATE TABLE promo_event (
    token_id TEXT NOT NULL REFERENCES promo_token, place INTEGER NOT NULL, event TEXT NOT NULL,
    at_s INTEGER NOT NULL, minor INTEGER NOT NULL, PRIMARY KEY (token_id, place)
) STRICT;

CREATE TRIGGER campaign_funding_update BEFORE UPDATE ON campaign_funding
BEGIN SELECT RAISE(ABORT, 'campaign_funding is append-only'); END;
CREATE TRIGGER campaign_funding_delete BEFORE DELETE ON campaign_funding
BEGIN SELECT RAISE(ABORT, 'campaign_funding is append-only'); END;
CREATE TRIGGER coupon_return_update BEFORE UPDATE ON coupon_return
BEGIN SELECT RAISE(ABORT, 'coupon_return is append-only'); END;
CREATE TRIGGER coupon_return_delete BEFORE DELETE ON coupon_return
BEGIN SELECT RAISE(ABORT, 'coupon_return is append-only'); END;
CREATE TRIGGER promo_event_update BEFORE UPDATE ON promo_event
BEGIN SELECT RAISE(ABORT, 'promo_event is append-only'); END;
CREATE TRIGGER promo_event_delete BEFORE DELETE ON promo_event
BEGIN SELECT RAISE(ABORT, 'promo_event is append-only'); END;
