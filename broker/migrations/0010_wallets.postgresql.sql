-- System I: prepaid wallets, one-time payment codes, gifts (systems/wallets.py and neighbours).

CREATE TABLE wallet (
    wallet TEXT PRIMARY KEY, currency TEXT NOT NULL,
    confirm_above_minor BIGINT NOT NULL, balance_max_minor BIGINT NOT NULL,
    status TEXT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE wallet_topup (
    topup TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);
CREATE TABLE wallet_payout (
    payout TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal BIGINT NOT NULL UNIQUE REFERENCES journal
);

-- The state of a code is that of its hold.
CREATE TABLE payment_request (
    payment_request TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    merchant TEXT NOT NULL, max_amount_minor BIGINT NOT NULL, code_hash TEXT NOT NULL UNIQUE,
    kid TEXT NOT NULL, hold TEXT NOT NULL UNIQUE REFERENCES hold, reserved BIGINT NOT NULL,
    created_s BIGINT NOT NULL
);
CREATE TABLE code_payment (
    txn TEXT PRIMARY KEY, payment_request TEXT UNIQUE REFERENCES payment_request, merchant TEXT NOT NULL,
    amount_minor BIGINT NOT NULL, currency TEXT NOT NULL, purchase TEXT NOT NULL,
    state TEXT NOT NULL, confirm_until_s BIGINT NOT NULL, created_s BIGINT NOT NULL
);

CREATE TABLE gift (
    gift TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    contact_hash TEXT NOT NULL, note TEXT NOT NULL, code_hash TEXT NOT NULL UNIQUE,
    kid TEXT NOT NULL, state TEXT NOT NULL, expires_s BIGINT NOT NULL, sent_s BIGINT NOT NULL,
    sent_journal BIGINT NOT NULL UNIQUE REFERENCES journal, claimed_by TEXT NOT NULL,
    ended_s BIGINT, ended_journal BIGINT UNIQUE REFERENCES journal,
    CHECK ((state = 'sent') = (ended_journal IS NULL))
);
CREATE INDEX gift_by_sender ON gift (wallet, sent_s);
CREATE INDEX gift_by_claimer ON gift (claimed_by, ended_s);
CREATE INDEX gift_due ON gift (expires_s) WHERE state = 'sent';

CREATE TRIGGER wallet_topup_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_topup
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER wallet_payout_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_payout
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
