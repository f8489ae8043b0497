CREATE TABLE answer (
    tenant TEXT NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL,
    digest BYTEA NOT NULL, status BIGINT NOT NULL, body BYTEA NOT NULL, created_s BIGINT NOT NULL,
    grp TEXT, sequence BIGINT, attempt BIGINT,
    PRIMARY KEY (tenant, path, key)
);
CREATE INDEX answer_by_age ON answer (created_s);
