-- System E: screening tokens (systems/screenings.py). Policies are kept in every version.

CREATE TABLE screening_policy (
    store TEXT NOT NULL, version INTEGER NOT NULL, ttl_s INTEGER NOT NULL, rules TEXT NOT NULL,
    sources TEXT NOT NULL, created_s INTEGER NOT NULL, PRIMARY KEY (store, version)
) STRICT;
CREATE TABLE screening (
    screening TEXT PRIMARY KEY, store TEXT NOT NULL, account TEXT NOT NULL, facts TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE, kid TEXT NOT NULL, state TEXT NOT NULL,
    issued_s INTEGER NOT NULL, expires_s INTEGER NOT NULL
) STRICT;
CREATE INDEX screening_by_account ON screening (account, issued_s);
CREATE TABLE screening_use (
    screening TEXT PRIMARY KEY REFERENCES screening, gate TEXT NOT NULL, used_s INTEGER NOT NULL,
    policy_version INTEGER NOT NULL, features TEXT NOT NULL, limit_minor INTEGER NOT NULL
) STRICT;

CREATE TRIGGER screening_use_update BEFORE UPDATE ON screening_use
BEGIN SELECT RAISE(ABORT, 'screening_use is append-only'); END;
CREATE TRIGGER screening_use_delete BEFORE DELETE ON screening_use
BEGIN SELECT RAISE(ABORT, 'screening_use is append-only'); END;
CREATE TRIGGER screening_policy_update BEFORE UPDATE ON screening_policy
BEGIN SELECT RAISE(ABORT, 'screening_policy is append-only'); END;
CREATE TRIGGER screening_policy_delete BEFORE DELETE ON screening_policy
BEGIN SELECT RAISE(ABORT, 'screening_policy is append-only'); END;
