-- System H: what parties are told, and the queue of signed webhooks (systems/events.py, deliveries.py).

CREATE TABLE event (
    event BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, party TEXT NOT NULL, kind TEXT NOT NULL,
    about TEXT NOT NULL, once TEXT NOT NULL, data TEXT NOT NULL, at_s BIGINT NOT NULL,
    UNIQUE (party, kind, once)
);
CREATE INDEX event_by_age ON event (at_s);
-- Written with its event, gone once the event is in the queue of every endpoint that wants it.
CREATE TABLE event_due (event BIGINT PRIMARY KEY REFERENCES event);

CREATE TABLE webhook_endpoint (
    endpoint TEXT PRIMARY KEY, version BIGINT NOT NULL, party TEXT NOT NULL, url TEXT NOT NULL,
    kinds TEXT NOT NULL, ordering TEXT NOT NULL, network TEXT NOT NULL, status TEXT NOT NULL,
    detail TEXT NOT NULL, kid TEXT NOT NULL, secret_id TEXT NOT NULL, old_kid TEXT NOT NULL,
    old_secret_id TEXT NOT NULL, old_until_s BIGINT NOT NULL, created_s BIGINT NOT NULL
);
CREATE TABLE webhook_message (
    message TEXT PRIMARY KEY, endpoint TEXT NOT NULL REFERENCES webhook_endpoint,
    event BIGINT NOT NULL REFERENCES event, grp TEXT NOT NULL, place BIGINT NOT NULL,
    state TEXT NOT NULL, attempts BIGINT NOT NULL, status BIGINT NOT NULL, last_error TEXT NOT NULL,
    answered_s BIGINT NOT NULL, UNIQUE (endpoint, event), UNIQUE (grp, place)
);
CREATE INDEX webhook_message_queued ON webhook_message (grp, place) WHERE state = 'queued';
CREATE INDEX webhook_message_by_event ON webhook_message (event);
-- One row a serialization group: its head alone may leave, so finding work costs the groups that are due.
CREATE TABLE webhook_group (
    grp TEXT PRIMARY KEY, endpoint TEXT NOT NULL REFERENCES webhook_endpoint, head TEXT NOT NULL,
    state TEXT NOT NULL, not_before_s BIGINT NOT NULL, failures BIGINT NOT NULL,
    next_place BIGINT NOT NULL
);
CREATE INDEX webhook_group_due ON webhook_group (endpoint, not_before_s) WHERE head <> '' AND state <> 'parked';
-- Since when every notice is an event too: later than the last one of before, and than what was forgotten.
CREATE TABLE event_kept (since_s BIGINT NOT NULL);
INSERT INTO event_kept SELECT COALESCE(MAX(at_s), -1) FROM
    (SELECT at_s FROM merchant_notice UNION ALL SELECT at_s FROM sponsor_notice) AS notices;
