-- System J: merchants' rules, shoppers' consent, associations (systems/associations.py).

CREATE TABLE association_rule (
    merchant TEXT NOT NULL, version BIGINT NOT NULL, min_trips BIGINT NOT NULL,
    min_minor BIGINT NOT NULL, currency TEXT NOT NULL, window_days BIGINT NOT NULL,
    created_s BIGINT NOT NULL, PRIMARY KEY (merchant, version)
);
CREATE TABLE association_exclusion (
    merchant TEXT NOT NULL, version BIGINT NOT NULL, category TEXT NOT NULL,
    PRIMARY KEY (merchant, version, category)
);
CREATE TABLE association_setting (
    account TEXT PRIMARY KEY REFERENCES account, version BIGINT NOT NULL, auto_join TEXT NOT NULL,
    profiling BIGINT NOT NULL, marketing BIGINT NOT NULL, updated_s BIGINT NOT NULL
);
CREATE TABLE interaction (
    capture TEXT PRIMARY KEY REFERENCES capture, account TEXT NOT NULL, merchant TEXT NOT NULL,
    sensitive BIGINT NOT NULL, told_s BIGINT NOT NULL
);
CREATE INDEX interaction_by_pair ON interaction (account, merchant);
CREATE TABLE interaction_category (
    capture TEXT NOT NULL REFERENCES interaction, category TEXT NOT NULL,
    PRIMARY KEY (capture, category)
);
-- removed: the mark that stays; pairwise while active alone.
CREATE TABLE association (
    account TEXT NOT NULL REFERENCES account, merchant TEXT NOT NULL, state TEXT NOT NULL,
    pairwise TEXT UNIQUE, rule_version BIGINT NOT NULL, judged_s BIGINT NOT NULL,
    PRIMARY KEY (account, merchant), CHECK ((state = 'active') = (pairwise IS NOT NULL))
);
CREATE INDEX association_by_merchant ON association (merchant, pairwise);
CREATE TABLE association_evidence (
    account TEXT NOT NULL, merchant TEXT NOT NULL, capture TEXT NOT NULL REFERENCES capture,
    amount_minor BIGINT NOT NULL, PRIMARY KEY (account, merchant, capture)
);

CREATE TRIGGER association_rule_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON association_rule
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER association_exclusion_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON association_exclusion
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
