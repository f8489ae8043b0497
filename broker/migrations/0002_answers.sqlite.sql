CREATE TABLE answer (
    tenant TEXT NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL,
    digest BLOB NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL, created_s INTEGER NOT NULL,
    grp TEXT, sequence INTEGER, attempt INTEGER,
    PRIMARY KEY (tenant, path, key)
) STRICT;
CREATE INDEX answer_by_age ON answer (created_s);
