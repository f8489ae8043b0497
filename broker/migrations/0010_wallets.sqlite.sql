-- System I: prepaid wallets, one-time payment codes, gifts (systems/wallets.py and neighbours).

CREATE TABLE wallet (
    wallet TEXT PRIMARY KEY, currency TEXT NOT NULL,
    confirm_above_minor INTEGER NOT NULL, balance_max_minor INTEGER NOT NULL,
    status TEXT NOT NULL, created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE wallet_topup (
    topup TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;
CREATE TABLE wallet_payout (
    payout TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    journal INTEGER NOT NULL UNIQUE REFERENCES journal
) STRICT;

-- The state of a code is that of its hold.
CREATE TABLE payment_request (
    payment_request TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    merchant TEXT NOT NULL, max_amount_minor INTEGER NOT NULL, code_hash TEXT NOT NULL UNIQUE,
    kid TEXT NOT NULL, hold TEXT NOT NULL UNIQUE REFERENCES hold, reserved INTEGER NOT NULL,
    created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE code_payment (
    txn TEXT PRIMARY KEY, payment_request TEXT UNIQUE REFERENCES payment_request, merchant TEXT NOT NULL,
    amount_minor INTEGER NOT NULL, currency TEXT NOT NULL, purchase TEXT NOT NULL,
    state TEXT NOT NULL, confirm_until_s INTEGER NOT NULL, created_s INTEGER NOT NULL
) STRICT;

CREATE TABLE gift (
    gift TEXT PRIMARY KEY, wallet TEXT NOT NULL REFERENCES wallet,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL,
    contact_hash TEXT NOT NULL, note TEXT NOT NULL, code_hash TEXT NOT NULL UNIQUE,
    kid TEXT NOT NULL, state TEXT NOT NULL, expires_s INTEGER NOT NULL, sent_s INTEGER NOT NULL,
    sent_journal INTEGER NOT NULL UNIQUE REFERENCES journal, claimed_by TEXT NOT NULL,
    ended_s INTEGER, ended_journal INTEGER UNIQUE REFERENCES journal,
    CHECK ((state = 'sent') = (ended_journal IS NULL))
) STRICT;
CREATE INDEX gift_by_sender ON gift (wallet, sent_s);
CREATE INDEX gift_by_claimer ON gift (claimed_by, ended_s);
CREATE INDEX gift_due ON gift (expires_s) WHERE state = 'sent';

CREATE TRIGGER wallet_topup_update BEFORE UPDATE ON wallet_topup
BEGIN SELECT RAISE(ABORT, 'wallet_topup is append-only'); END;
CREATE TRIGGER wallet_topup_delete BEFORE DELETE ON wallet_topup
BEGIN SELECT RAISE(ABORT, 'wallet_topup is append-only'); END;
CREATE TRIGGER wallet_payout_update BEFORE UPDATE ON wallet_payout
BEGIN SELECT RAISE(ABORT, 'wallet_payout is append-only'); END;
CREATE TRIGGER wallet_payout_delete BEFORE DELETE ON wallet_payout
BEGIN SELECT RAISE(ABORT, 'wallet_payout is append-only'); END;
