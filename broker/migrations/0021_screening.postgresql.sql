-- System E: screening tokens (systems/screenings.py). Policies are kept in every version.

CREATE TABLE screening_policy (
    store TEXT NOT NULL, version BIGINT NOT NULL, ttl_s BIGINT NOT NULL, rules TEXT NOT NULL,
    sources TEXT NOT NULL, created_s BIGINT NOT NULL, PRIMARY KEY (store, version)
);
CREATE TABLE screening (
    screening TEXT PRIMARY KEY, store TEXT NOT NULL, account TEXT NOT NULL, facts TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE, kid TEXT NOT NULL, state TEXT NOT NULL,
    issued_s BIGINT NOT NULL, expires_s BIGINT NOT NULL
);
CREATE INDEX screening_by_account ON screening (account, issued_s);
CREATE TABLE screening_use (
    screening TEXT PRIMARY KEY REFERENCES screening, gate TEXT NOT NULL, used_s BIGINT NOT NULL,
    policy_version BIGINT NOT NULL, features TEXT NOT NULL, limit_minor BIGINT NOT NULL
);

CREATE TRIGGER screening_use_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON screening_use
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER screening_policy_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON screening_policy
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
