-- System J: merchants' rules, shoppers' consent, associations (systems/associations.py).

CREATE TABLE association_rule (
    merchant TEXT NOT NULL, version INTEGER NOT NULL, min_trips INTEGER NOT NULL,
    min_minor INTEGER NOT NULL, currency TEXT NOT NULL, window_days INTEGER NOT NULL,
    created_s INTEGER NOT NULL, PRIMARY KEY (merchant, version)
) STRICT;
CREATE TABLE association_exclusion (
    merchant TEXT NOT NULL, version INTEGER NOT NULL, category TEXT NOT NULL,
    PRIMARY KEY (merchant, version, category)
) STRICT;
CREATE TABLE association_setting (
    account TEXT PRIMARY KEY REFERENCES account, version INTEGER NOT NULL, auto_join TEXT NOT NULL,
    profiling INTEGER NOT NULL, marketing INTEGER NOT NULL, updated_s INTEGER NOT NULL
) STRICT;
CREATE TABLE interaction (
    capture TEXT PRIMARY KEY REFERENCES capture, account TEXT NOT NULL, merchant TEXT NOT NULL,
    sensitive INTEGER NOT NULL, told_s INTEGER NOT NULL
) STRICT;
CREATE INDEX interaction_by_pair ON interaction (account, merchant);
CREATE TABLE interaction_category (
    capture TEXT NOT NULL REFERENCES interaction, category TEXT NOT NULL,
    PRIMARY KEY (capture, category)
) STRICT;
-- removed: the mark that stays; pairwise while active alone.
CREATE TABLE association (
    account TEXT NOT NULL REFERENCES account, merchant TEXT NOT NULL, state TEXT NOT NULL,
    pairwise TEXT UNIQUE, rule_version INTEGER NOT NULL, judged_s INTEGER NOT NULL,
    PRIMARY KEY (account, merchant), CHECK ((state = 'active') = (pairwise IS NOT NULL))
) STRICT;
CREATE INDEX association_by_merchant ON association (merchant, pairwise);
CREATE TABLE association_evidence (
    account TEXT NOT NULL, merchant TEXT NOT NULL, capture TEXT NOT NULL REFERENCES capture,
    amount_minor INTEGER NOT NULL, PRIMARY KEY (account, merchant, capture)
) STRICT;

CREATE TRIGGER association_rule_update BEFORE UPDATE ON association_rule
BEGIN SELECT RAISE(ABORT, 'association_rule is append-only'); END;
CREATE TRIGGER association_rule_delete BEFORE DELETE ON association_rule
BEGIN SELECT RAISE(ABORT, 'association_rule is append-only'); END;
CREATE TRIGGER association_exclusion_update BEFORE UPDATE ON association_exclusion
BEGIN SELECT RAISE(ABORT, 'association_exclusion is append-only'); END;
CREATE TRIGGER association_exclusion_delete BEFORE DELETE ON association_exclusion
BEGIN SELECT RAISE(ABORT, 'association_exclusion is append-only'); END;
