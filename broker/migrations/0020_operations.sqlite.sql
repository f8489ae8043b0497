-- Keys and tenants are used in the main ledger alone; audit and erasures in every tenant's own.

CREATE TABLE tenant (tenant TEXT PRIMARY KEY, created_s INTEGER NOT NULL) STRICT;

CREATE TABLE api_key (
    key_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, party TEXT NOT NULL,
    scopes TEXT NOT NULL, digest BLOB NOT NULL, public_key BLOB NOT NULL,
    rate_per_s INTEGER NOT NULL, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,
    revoked_s INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at_s INTEGER NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, object TEXT NOT NULL, status INTEGER NOT NULL, times INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_by_age ON audit (at_s);

CREATE TABLE erased (account TEXT PRIMARY KEY, at_s INTEGER NOT NULL) STRICT;

-- Nothing is changed; only what is older than the 400 days of audit.py is forgotten.
CREATE TRIGGER audit_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_delete BEFORE DELETE ON audit
WHEN OLD.at_s > CAST(strftime('%s', 'now') AS INTEGER) - 34560000
BEGIN SELECT RAISE(ABORT, 'audit is append-only for 400 days'); END;
