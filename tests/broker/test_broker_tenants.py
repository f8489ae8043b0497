"""Tenants, keys, rate limits and the audit log, on both databases."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from both_databases import Ledger
from running_broker import Broker, capture_body, hold_body
from tenant_keys import admin, caller

from broker import api_keys, audit, key_commands
from broker.api import ROUTES
from broker.database import DatabaseError
from broker.key_commands import Wanted
from broker.rate_limits import BUCKETS_MAX, Buckets
from broker.routes import Command


def test_key_is_shown_once_stored_hashed_and_dead_once_revoked(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = broker.where()
    wanted = Wanted(tenant="main", name="reader", scopes="books")
    key_commands.create_key(where, wanted, True)
    made = json.loads(capsys.readouterr().out)
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert requests.get(f"{broker.url}/v1/books", headers=headers, timeout=20).ok
    holds = requests.get(f"{broker.url}/v1/holds/x", headers=headers, timeout=20)
    assert holds.status_code == 403
    key_commands.list_keys(where, "", True)
    listed = capsys.readouterr().out
    assert made["key_id"] in listed
    assert made["secret"] not in listed
    for path in broker.data.rglob("*.db*"):
        assert made["secret"].encode() not in path.read_bytes()
    key_commands.revoke_key(where, made["key_id"], True)
    deadline = time.monotonic() + 30
    while requests.get(f"{broker.url}/v1/books", headers=headers, timeout=20).ok:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises(DatabaseError, match="keys list"):
        key_commands.revoke_key(where, "aaaaaaaaaaaaaaaa", True)
    with pytest.raises(DatabaseError, match="no scope bookz"):
        key_commands.create_key(where, Wanted(tenant="main", name="x", scopes="bookz"), True)
    with pytest.raises(DatabaseError, match="tenants create nowhere"):
        key_commands.create_key(where, Wanted(tenant="nowhere", name="x", scopes="books"), True)


# Objects of the main tenant that the matrix asks for by name: kind in the path -> id.
def made_objects(broker: Broker) -> dict[str, str]:
    broker.account("matrix")
    broker.hold("matrix-1", "matrix")
    broker.post("/v1/holds/hold-matrix-1/capture", capture_body("matrix-1", 300))
    broker.hold("matrix-2", "matrix")
    return {
        "accounts": "matrix",
        "holds": "hold-matrix-2",
        "captures": "capture-matrix-1",
    }


BODIES: dict[str, Any] = {
    "/v1/holds": hold_body("matrix-9", "matrix"),
    "/v1/entry-credentials": {"account": "matrix", "store": "lab"},
    "/v1/payments": {"payment": "m", "account": "matrix", "amount_minor": 1, "currency": "EUR"},
    "/v1/holds/{id}/adjust": {"amount_minor": 1},
    "/v1/holds/{id}/capture": capture_body("matrix-2", 300),
    "/v1/captures/{id}/refund": {"refund": "mr", "amount_minor": 1, "currency": "EUR"},
}

# The id need not exist: the chart's own names, and a revoked id that never was, in its own ledger.
WITHOUT_OBJECT = {"/v1/ledger-accounts/{id}", "/v1/transactions/{id}/revoke"}


def test_no_endpoint_gives_a_foreign_tenant_anything_of_ours(
    broker: Broker, tmp_path: Path
) -> None:
    """Every route of the table, asked with a foreign key that has every scope."""
    objects = made_objects(broker)
    before = broker.get("/v1/books?currency=EUR").json()
    foreign = caller(broker, tmp_path, "foreign")
    asked = 0
    for route in ROUTES:
        if not route.scope:
            continue
        named = objects.get(route.path.split("/")[2], "matrix")
        path = re.sub(r"{\w+}", lambda found, n=named: n, route.path)  # type: ignore[misc]
        body = BODIES.get(route.path, {}) if isinstance(route, Command) else None
        reply = foreign.ask(route.method, path, body, **({"If-Match": '"1"'} if body else {}))
        asked += 1
        if "{" in route.path and route.path not in WITHOUT_OBJECT:
            assert reply.status_code in (403, 404, 422), (route.path, reply.text)
            assert reply.status_code != 422 or route.path not in BODIES
        if reply.ok and route.path not in WITHOUT_OBJECT:
            assert "matrix" not in reply.text, route.path
    assert asked >= 15
    for path, body in BODIES.items():  # well-formed, so that nothing else can be in the way
        named = objects.get(path.split("/")[2], "")
        reply = foreign.post(path.replace("{id}", named), body)
        assert reply.status_code == 404, (path, reply.text)
    assert broker.get("/v1/books?currency=EUR").json() == before
    assert foreign.get("/v1/books").json()["balances"] == {}
    assert foreign.get("/v1/ledger-accounts/shopper_receivable:matrix").json()["balance_minor"] == 0
    actors = {entry["actor"] for entry in foreign.get("/v1/audit").json()["entries"]}
    assert all(actor.startswith("foreign/") for actor in actors)


def test_two_tenants_use_the_same_ids_and_keys_apart(broker: Broker, tmp_path: Path) -> None:
    ours, theirs = admin(broker), caller(broker, tmp_path, "other-shop")
    for number, one in enumerate((ours, theirs)):
        body = {"account": "twin", "currency": "EUR", "limit_minor": 100 + number}
        assert one.post("/v1/accounts", body, Idempotency_Key="twin").status_code == 201
    assert ours.get("/v1/accounts/twin").json()["limit_minor"] == 100
    assert theirs.get("/v1/accounts/twin").json()["limit_minor"] == 101


def test_key_asks_only_so_often_and_strangers_cannot_lock_others_out(
    broker: Broker, tmp_path: Path
) -> None:
    slow = caller(broker, tmp_path, scopes="books", rate_per_s=1)
    replies = [slow.get("/v1/ledger-accounts/fees") for _ in range(20)]
    limited = [reply for reply in replies if reply.status_code == 429]
    assert limited
    assert limited[0].json()["type"].endswith("/too-many-requests")
    assert int(limited[0].headers["Retry-After"]) >= 1
    assert broker.get("/v1/ledger-accounts/fees").ok


def test_bucket_refills_with_time_and_forgets_the_oldest() -> None:
    buckets = Buckets()
    assert [buckets.take("a", 2.0, 2.0, 0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert buckets.take("a", 2.0, 2.0, 0.5) == 0.0
    assert buckets.take("a", 2.0, 2.0, 0.2) > 0.0  # a clock that goes back fills nothing
    for number in range(BUCKETS_MAX + 5):
        buckets.take(str(number), 1.0, 1.0, 1.0)
    assert len(buckets) == BUCKETS_MAX


def test_every_effect_is_in_the_audit_log_and_stays_there(ledger: Ledger) -> None:
    now_s = int(time.time())
    for number in range(3):
        ledger.do(lambda db, n=number: audit.record(db, now_s, "main/app", "POST /x", str(n), 201))
    page = ledger.ask(lambda db: audit.page(db, 0, 2))
    assert [entry.object for entry in page.entries] == ["0", "1"]
    assert page.more
    rest = ledger.ask(lambda db: audit.page(db, page.after, 2))
    assert [entry.object for entry in rest.entries] == ["2"]
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(Exception, match="append-only"):
            ledger.change(statement)
    old_s = now_s - audit.KEPT_S - 10
    ledger.do(lambda db: audit.record(db, old_s, "main/app", "POST /old", "", 201))
    assert ledger.do(lambda db: audit.purge(db, now_s)) == 1
    assert len(ledger.rows("SELECT seq FROM audit")) == 3


def test_refusals_are_counted_and_a_failed_writing_loses_none(ledger: Ledger) -> None:
    refusals = audit.Refusals()
    for number in range(audit.REFUSALS_MAX + 50):
        refusals.add("", f"GET /{number}", 401)
    refusals.add("", "GET /0", 401)
    ledger.change("ALTER TABLE audit RENAME TO audit_away")
    with pytest.raises(Exception, match="audit"):
        ledger.do(lambda db: refusals.write(db, 1))
    ledger.change("ALTER TABLE audit_away RENAME TO audit")
    ledger.do(lambda db: refusals.write(db, 1))
    rows = ledger.rows("SELECT action, times FROM audit")
    assert len(rows) == audit.REFUSALS_MAX + 1
    assert sum(times for _, times in rows) == audit.REFUSALS_MAX + 51
    assert ("others", 50) in rows
    assert ledger.do(lambda db: refusals.write(db, 2)) == 0
    assert len(ledger.rows("SELECT seq FROM audit")) == len(rows)


def test_audit_log_tells_who_did_what_in_the_same_transaction(broker: Broker) -> None:
    broker.account("audited")
    refused = broker.post("/v1/holds", hold_body("audited-1", "audited", 99_999_999))
    assert refused.status_code == 402
    broker.post("/v1/holds/none/void", {})  # 404: no effect, no row
    entries, after, more = list[dict[str, Any]](), 0, True
    while more:
        page = broker.get(f"/v1/audit?after={after}").json()
        entries, after, more = entries + page["entries"], page["after"], page["more"]
    about = [(e["actor"], e["action"], e["object"], e["status"]) for e in entries]
    assert ("main/admin", "POST /v1/accounts", "", 201) in about
    assert ("main/admin", "POST /v1/holds", "", 402) in about
    assert not [e for e in entries if e["object"] == "none"]


def test_revoked_and_expired_keys_are_nobodys(ledger: Ledger) -> None:
    new = api_keys.NewKey(tenant="main", name="short", scopes=("books",), expires_s=100)
    key_id, whole = ledger.do(lambda db: api_keys.create(db, new, 1))
    clock = [50]
    ring = api_keys.KeyRing((), ledger.database, lambda: clock[0])
    found = ledger.runner.run(ring.bearer(whole))
    assert found is not None
    assert found.scopes == {"books"}
    for wrong in (whole[:-1] + "x", whole.replace(key_id, "a" * 16), "walkout_x", "", "ü" * 99):
        assert ledger.runner.run(ring.bearer(wrong)) is None
    assert ledger.runner.run(ring.signer(key_id)) is None
    clock[0] = 100
    assert ledger.runner.run(ring.bearer(whole)) is None
