-- System K: campaigns, signed frames, tokens, coupon locks and their events (systems/campaigns.py).

CREATE TABLE campaign (
    campaign TEXT PRIMARY KEY, brand TEXT NOT NULL, currency TEXT NOT NULL, terms TEXT NOT NULL,
    terms_hash TEXT NOT NULL, status TEXT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE campaign_funding (
    funding TEXT PRIMARY KEY, campaign TEXT NOT NULL REFERENCES campaign,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
CREATE TABLE frame (
    frame TEXT PRIMARY KEY, campaign TEXT NOT NULL REFERENCES campaign, store TEXT NOT NULL,
    shelf TEXT NOT NULL, valid_until_s BIGINT NOT NULL, terms_hash TEXT NOT NULL,
    domain TEXT NOT NULL, gtin TEXT NOT NULL, frame_sig TEXT NOT NULL, kid TEXT NOT NULL,
    state TEXT NOT NULL, created_s BIGINT NOT NULL
);
CREATE INDEX frame_by_campaign ON frame (campaign);
CREATE INDEX frame_by_store ON frame (store);
CREATE TABLE promo_token (
    token_id TEXT PRIMARY KEY, frame TEXT NOT NULL REFERENCES frame, client TEXT NOT NULL,
    state TEXT NOT NULL, expires_s BIGINT NOT NULL, minted_s BIGINT NOT NULL, coupon_lock TEXT
);
CREATE INDEX promo_token_by_frame ON promo_token (frame, client);

-- A lock takes its share of each campaign's fund by one hold, and takes it off lines.
CREATE TABLE coupon_lock (
    coupon_lock TEXT PRIMARY KEY, store TEXT NOT NULL, visit TEXT NOT NULL, client TEXT NOT NULL,
    currency TEXT NOT NULL, state TEXT NOT NULL, expires_s BIGINT NOT NULL,
    created_s BIGINT NOT NULL
);
CREATE INDEX coupon_lock_due ON coupon_lock (expires_s) WHERE state = 'locked';
CREATE TABLE coupon_share (
    coupon_lock TEXT NOT NULL REFERENCES coupon_lock, campaign TEXT NOT NULL REFERENCES campaign,
    hold TEXT NOT NULL UNIQUE REFERENCES hold, PRIMARY KEY (coupon_lock, campaign)
);
CREATE TABLE coupon_allocation (
    coupon_lock TEXT NOT NULL REFERENCES coupon_lock, token_id TEXT NOT NULL REFERENCES promo_token,
    line_id TEXT NOT NULL, campaign TEXT NOT NULL, quantity BIGINT NOT NULL,
    total_minor BIGINT NOT NULL, discount_minor BIGINT NOT NULL CHECK (discount_minor > 0),
    PRIMARY KEY (coupon_lock, token_id, line_id)
);
CREATE TABLE coupon_return (
    coupon_return TEXT PRIMARY KEY, coupon_lock TEXT NOT NULL REFERENCES coupon_lock,
    line_id TEXT NOT NULL, quantity BIGINT NOT NULL CHECK (quantity > 0),
    discount_minor BIGINT NOT NULL, created_s BIGINT NOT NULL
);
CREATE INDEX coupon_return_by_lock ON coupon_return (coupon_lock, line_id);

-- Statistics count these.
CREATE TABLE promo_event (
    token_id TEXT NOT NULL REFERENCES promo_token, place BIGINT NOT NULL, event TEXT NOT NULL,
    at_s BIGINT NOT NULL, minor BIGINT NOT NULL, PRIMARY KEY (token_id, place)
);

CREATE TRIGGER campaign_funding_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON campaign_funding
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER coupon_return_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON coupon_return
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER promo_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promo_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
