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
from example_bodies import WORD, body_of
from running_broker import Broker, capture_body, hold_body
from tenant_keys import admin, caller

from broker import api_keys, audit, key_commands
from broker.api import ROUTES
from broker.database import DatabaseError
from broker.key_commands import Wanted
from broker.rate_limits import BUCKETS_MAX, Buckets
from broker.routes import Route


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


def made_objects(broker: Broker) -> None:
    """Objects of the main tenant, all called ``matrix``."""
    ours = admin(broker)
    account = {"account": WORD, "currency": "EUR", "limit_minor": 90_000}
    assert ours.post("/v1/accounts", account).ok
    for number, hold in enumerate(("matrix-1", WORD)):
        wish = hold_body(f"matrix-{number}", WORD) | {"hold": hold}
        assert ours.post("/v1/holds", wish).ok
    paid = capture_body("matrix-1", 300) | {"capture": WORD}
    assert ours.post("/v1/holds/matrix-1/capture", paid).ok
    first = {"If_Match": '"0"'}
    for path, body in (
        ("/v1/merchants/matrix", {"public_key": "0" * 62 + "01"}),
        ("/v1/screening-policies/matrix", {"rules": []}),
        ("/v1/display-items/matrix", {"name": "x", "price_minor": 5, "currency": "EUR"}),
    ):
        assert ours.ask("PUT", path, body, **first).ok, path
    bids = {"region": "DE", "closes_in_s": 80_000, "criteria": ["total"]}
    came = {"credential_kind": "app", "presented": WORD, "currency": "EUR", "wanted_minor": 5}
    contested = {"contested": [{"line_id": WORD, "total_minor": 1}]}
    goods = {"items": ["x"], "currency": "EUR", "ceiling_minor": 5}
    for path, body in (
        ("/v1/carts", {"cart": WORD, "account": WORD, "currency": "EUR"}),
        ("/v1/screenings", {"screening": WORD, "store": WORD, "evidence": []}),
        ("/v1/bid-requests", {"request": WORD, **goods, **bids}),
        ("/v1/wallets", {"wallet": WORD, "currency": "EUR"}),
        ("/v1/entries", {"entry": WORD, "merchant": WORD, "store": WORD, "gate": WORD} | came),
        ("/v1/trips", {"trip": WORD, "entries": [WORD]}),
        ("/v1/deny-list", {"account": WORD, "reason": WORD}),
        ("/v1/disputes", {"dispute": WORD, "capture": WORD, "reason": WORD} | contested),
        ("/v1/webhook-endpoints", {"endpoint": WORD, "url": "https://example.com/hook"}),
    ):
        assert ours.post(path, body).ok, path


def _before_it_has_any_itself(route: Route) -> int:
    """Lists first, then what names an object, and at last what makes some."""
    return 1 if "{" in route.path else 2 * (route.method != "GET")


def told(reply: requests.Response, named: str) -> tuple[int, str]:
    """The answer without the name that was asked for; what was made has codes of its own."""
    text = reply.text.replace(named, "?")
    return reply.status_code, "" if reply.status_code == 201 else text


def test_no_endpoint_tells_a_foreign_tenant_that_ours_exists(
    broker: Broker, tmp_path: Path
) -> None:
    """Every route, well-formed, with a foreign key of every scope.

    What is ours looks exactly like what never was: the same status and the same words.
    """
    made_objects(broker)
    document = requests.get(f"{broker.url}/openapi.json", timeout=20).json()
    before = broker.get("/v1/books?currency=EUR").json()
    foreign = caller(broker, tmp_path, "foreign")
    found, effects = dict[int, int](), list[str]()
    for route in sorted(ROUTES, key=_before_it_has_any_itself):
        if not route.scope:
            continue
        body = body_of(document, route.path, route.method)
        text, answers = json.dumps(body), list[tuple[int, str]]()
        for named in (WORD, "neverwas"):
            path = re.sub(r"{\w+}", lambda _, n=named: n, route.path)  # type: ignore[misc]
            asked = json.loads(text.replace(WORD, named))
            reply = foreign.ask(route.method, path, asked, If_Match='"1"')
            answers.append(told(reply, named))
        assert answers[0] == answers[1], (route.path, answers)
        found[answers[0][0]] = found.get(answers[0][0], 0) + 1
        if answers[0][0] < 300 and route.method != "GET":
            effects.append(route.path)
    assert set(found) <= {200, 201, 401, 402, 403, 404, 409, 412, 422}, found
    assert found[404] + found.get(403, 0) >= len(ROUTES) // 3, found
    assert not [path for path in effects if "{id}" in path and path not in WITHOUT_OBJECT], effects
    assert broker.get("/v1/books?currency=EUR").json() == before
    actors = {entry["actor"] for entry in foreign.get("/v1/audit").json()["entries"]}
    assert all(actor.startswith("foreign/") for actor in actors)


CARD = "4111111111111111"  # a number that providers publish for tests

# What these name need not exist: it is made, in the foreign tenant's own ledger.
WITHOUT_OBJECT = {"/v1/transactions/{id}/revoke", "/v1/merchants/{id}/insiders/{account}"}


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


def test_card_number_in_any_field_of_any_route_is_refused(broker: Broker) -> None:
    """Each text of each body, one at a time, holds a card number; so does each name in a path."""
    document = requests.get(f"{broker.url}/openapi.json", timeout=20).json()
    ours, fields = admin(broker), 0
    for route in ROUTES:
        path = re.sub(r"{\w+}", WORD, route.path)
        if path != route.path:
            card = re.sub(r"{\w+}", CARD, route.path)
            assert ours.ask(route.method, card, {}).status_code in (401, 422), route.path
        text = json.dumps(body_of(document, route.path, route.method))
        for place in [
            m.span() for m in re.finditer(r'(?<=: ")[^"]*(?=")|(?<=\[")[^"]*(?=")', text)
        ]:
            asked = json.loads(text[: place[0]] + CARD + text[place[1] :])
            reply = ours.ask(route.method, path, asked, If_Match='"1"')
            fields += 1
            assert reply.status_code == 422, (route.path, asked, reply.text)
            assert reply.json()["type"].endswith("/card-number"), (route.path, reply.text)
            assert CARD not in reply.text
    assert fields >= 100
    assert CARD not in broker.log()


# Lists of its own; the open requests, without a person; an id that never was, revoked as its own.
OF_EVERY_MERCHANT = {
    "GET /v1/bid-requests 200",
    "GET /v1/disputes 200",
    "GET /v1/trips 200",
    "GET /v1/webhook-endpoints 200",
    "POST /v1/transactions/{id}/revoke 200",
    "POST /v1/transactions/{id}/refund 409",
}


def test_merchants_key_of_every_scope_reaches_its_own_part_alone(
    broker: Broker, tmp_path: Path
) -> None:
    """Well-formed requests about another merchant's things, by a key that is bound to one."""
    document = requests.get(f"{broker.url}/openapi.json", timeout=20).json()
    bound = caller(broker, tmp_path, party="bakery")
    reached = list[str]()
    for route in ROUTES:
        if not route.scope:
            continue
        path = re.sub(r"{\w+}", "stranger", route.path)
        text = json.dumps(body_of(document, route.path, route.method)).replace(WORD, "stranger")
        reply = bound.ask(route.method, path, json.loads(text), If_Match='"1"')
        if reply.status_code not in (401, 403, 404, 422):  # 422: refused before anything is read
            reached.append(f"{route.method} {route.path} {reply.status_code}")
    assert set(reached) == OF_EVERY_MERCHANT, sorted(set(reached) ^ OF_EVERY_MERCHANT)
