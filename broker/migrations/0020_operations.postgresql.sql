-- Keys and tenants are used in the main ledger alone; audit and erasures in every tenant's own.

CREATE TABLE tenant (tenant TEXT PRIMARY KEY, created_s BIGINT NOT NULL);

CREATE TABLE api_key (
    key_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, party TEXT NOT NULL,
    scopes TEXT NOT NULL, digest BYTEA NOT NULL, public_key BYTEA NOT NULL,
    rate_per_s BIGINT NOT NULL, created_s BIGINT NOT NULL, expires_s BIGINT NOT NULL,
    revoked_s BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE audit (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at_s BIGINT NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, object TEXT NOT NULL, status BIGINT NOT NULL, times BIGINT NOT NULL
);
CREATE INDEX audit_by_age ON audit (at_s);

CREATE TABLE erased (account TEXT PRIMARY KEY, at_s BIGINT NOT NULL);

-- Nothing is changed; only what is older than the 400 days of audit.py is forgotten.
CREATE FUNCTION refuse_young() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' OR OLD.at_s > EXTRACT(EPOCH FROM now()) - 34560000 THEN
    RAISE EXCEPTION '% is append-only for 400 days', TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION refuse_young();
