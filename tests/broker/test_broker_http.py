"""The broker over loopback: what it answers, to honest and to hostile requests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyseto
import pytest
import requests
from both_databases import Ledger
from running_broker import SERVE, Broker, capture_body, hold_body

from broker import service
from messages.contract import AccountRequest, CredentialRequest

CARD = "4111111111111111"


def is_problem(reply: requests.Response, status: int, slug: str = "") -> bool:
    assert reply.status_code == status, (reply.status_code, reply.text)
    assert reply.headers["content-type"] == "application/problem+json"
    document = reply.json()
    assert document["status"] == status
    assert document["title"]
    assert document["type"].endswith(f"/problems/{slug}" if slug else document["type"])
    return True


def test_visit_is_held_captured_and_shown_in_the_books(broker: Broker) -> None:
    broker.account("anna")
    assert broker.hold("anna-1", "anna").json()["status"] == "held"
    assert broker.get("/v1/accounts/anna").json()["held_minor"] == 5_000
    before = broker.get("/v1/books").json()
    reply = broker.post("/v1/holds/hold-anna-1/capture", capture_body("anna-1", 1_825))
    assert reply.status_code == 201
    assert reply.json()["amount_minor"] == 1_825
    held = broker.get("/v1/holds/hold-anna-1").json()
    assert (held["status"], held["captured_minor"]) == ("captured", 1_825)
    account = broker.get("/v1/accounts/anna").json()
    assert (account["held_minor"], account["owed_minor"]) == (0, 1_825)
    books = broker.get("/v1/books").json()
    assert books["captured_minor"] - before["captured_minor"] == 1_825
    assert books["unbalanced_journals"] == 0
    assert sum(books["balances"].values()) == 0
    page = broker.get(f"/v1/captures?after={reply.json()['journal'] - 1}").json()
    assert page["captures"][0] == reply.json()


def test_hold_above_the_limit_is_declined_and_remembered_as_declined(broker: Broker) -> None:
    broker.account("poor", limit_minor=6_000)
    assert broker.hold("poor-1", "poor").status_code == 201
    reply = broker.hold("poor-2", "poor")
    assert is_problem(reply, 402, "limit-exceeded")
    declined = broker.get("/v1/holds/hold-poor-2").json()
    assert (declined["status"], declined["reason"]) == ("declined", "limit-exceeded")
    reply = broker.post("/v1/holds/hold-poor-2/capture", capture_body("poor-2", 100))
    assert is_problem(reply, 409, "hold-resolved")
    assert broker.post("/v1/holds/hold-poor-2/void", {}).json()["status"] == "declined"


def test_larger_cart_adjusts_the_hold_before_the_capture(broker: Broker) -> None:
    broker.account("carla", limit_minor=8_000)
    broker.hold("carla-1", "carla", 5_000)
    reply = broker.post("/v1/holds/hold-carla-1/capture", capture_body("carla-1", 7_000), "c")
    assert is_problem(reply, 422, "capture-above-hold")
    reply = broker.post("/v1/holds/hold-carla-1/adjust", {"amount_minor": 8_001})
    assert is_problem(reply, 402, "limit-exceeded")
    reply = broker.post("/v1/holds/hold-carla-1/adjust", {"amount_minor": 7_000})
    assert reply.json()["amount_minor"] == 7_000
    # The refused capture did nothing, so its key is still good.
    reply = broker.post("/v1/holds/hold-carla-1/capture", capture_body("carla-1", 7_000), "c")
    assert reply.status_code == 201


def test_blocked_account_is_declined_until_it_is_unblocked(broker: Broker) -> None:
    broker.account("dora")
    assert broker.post("/v1/accounts/dora/block", {}).json()["status"] == "blocked"
    assert is_problem(broker.hold("dora-1", "dora"), 402, "account-blocked")
    entry = {"account": "dora", "store": "lab"}
    assert is_problem(broker.post("/v1/entry-credentials", entry), 402, "account-blocked")
    broker.post("/v1/accounts/dora/unblock", {})
    assert broker.hold("dora-2", "dora").status_code == 201


def test_payment_frees_the_limit_again(broker: Broker) -> None:
    broker.account("emil", limit_minor=5_000)
    broker.hold("emil-1", "emil")
    broker.post("/v1/holds/hold-emil-1/capture", capture_body("emil-1", 4_000))
    assert broker.hold("emil-2", "emil").status_code == 402
    paid = {"payment": "psp-1", "account": "emil", "amount_minor": 4_000, "currency": "EUR"}
    assert broker.post("/v1/payments", paid).status_code == 201
    assert is_problem(
        broker.post("/v1/payments", {**paid, "payment": "psp-2"}), 422, "payment-above-debt"
    )
    assert broker.hold("emil-3", "emil").status_code == 201


def test_refund_shrinks_the_debt_first_and_never_exceeds_the_capture(broker: Broker) -> None:
    broker.account("rosa")
    broker.hold("rosa-1", "rosa")
    broker.post("/v1/holds/hold-rosa-1/capture", capture_body("rosa-1", 1_000))
    paid = {"payment": "rosa-p", "account": "rosa", "amount_minor": 700, "currency": "EUR"}
    broker.post("/v1/payments", paid)
    path, wish = "/v1/captures/capture-rosa-1/refund", {"amount_minor": 400, "currency": "EUR"}
    reply = broker.post(path, wish | {"refund": "r1"})
    assert (reply.status_code, reply.json()["to_provider_minor"]) == (201, 100)
    assert broker.get("/v1/accounts/rosa").json()["owed_minor"] == 0
    again = broker.post(path, wish | {"refund": "r1"})
    assert again.json() == reply.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    other = wish | {"refund": "r1", "amount_minor": 1}
    assert is_problem(broker.post(path, other), 409, "refund-exists")
    more = wish | {"refund": "r2", "amount_minor": 601}
    assert is_problem(broker.post(path, more), 422, "refund-above-capture")
    assert broker.post(path, more | {"amount_minor": 600}).status_code == 201
    assert is_problem(broker.post("/v1/captures/none/refund", more), 404, "unknown-capture")
    assert is_problem(broker.post(path, wish | {"refund": "x"}, key="store"), 403, "forbidden")


def test_transfer_moves_prepaid_money_and_never_more_than_there_is(broker: Broker) -> None:
    def moved(name: str, debit: str, credit: str, minor: int) -> requests.Response:
        body = {"transfer": name, "debit": debit, "credit": credit, "amount_minor": minor}
        return broker.post("/v1/transfers", body | {"currency": "EUR"})

    assert moved("top-up", "psp_clearing", "wallet:tom", 500).status_code == 201
    bought = moved("buy", "wallet:tom", "merchant_payable:kiosk", 300)
    assert bought.status_code == 201
    assert moved("buy", "wallet:tom", "merchant_payable:kiosk", 300).json() == bought.json()
    assert is_problem(moved("buy", "wallet:tom", "fees", 300), 409, "transfer-exists")
    assert is_problem(moved("more", "wallet:tom", "fees", 201), 402, "insufficient-funds")
    state = broker.get("/v1/ledger-accounts/wallet:tom").json()
    assert (state["balance_minor"], state["held_minor"], state["floor_minor"]) == (200, 0, 0)
    kiosk = broker.get("/v1/ledger-accounts/merchant_payable:kiosk?currency=EUR").json()
    assert (kiosk["balance_minor"], kiosk["floor_minor"]) == (300, None)
    for debit, credit in (
        ("wallet:tom", "wallet:tom"),
        ("wallet", "fees"),
        ("nonsense:x", "fees"),
        ("shopper_receivable:tom", "fees"),
    ):
        assert is_problem(moved("bad", debit, credit, 1), 422, "invalid-body")
    assert is_problem(broker.get("/v1/ledger-accounts/none:x"), 404, "unknown-account")


def test_entry_token_is_signed_by_the_published_key(broker: Broker) -> None:
    broker.account("fritz")
    issued = service.issue_credential(
        broker.url, broker.data / "app.key", CredentialRequest(account="fritz", store="lab")
    )
    (key,) = service.credential_keys(broker.url)
    public = pyseto.Key.from_asymmetric_key_params(4, x=bytes.fromhex(key.public_key))
    claims = json.loads(pyseto.decode(public, issued.token).payload)
    assert claims["jti"] == issued.credential
    assert (claims["acct"], claims["store"], claims["kind"]) == ("fritz", "lab", "shopper")


def test_credential_opens_one_visit_of_its_own_account(broker: Broker) -> None:
    for name in ("gina", "hans"):
        broker.account(name, limit_minor=50_000)
    entry = {"account": "gina", "store": "lab"}
    jti = broker.post("/v1/entry-credentials", entry).json()["credential"]
    stolen = hold_body("hans-1", "hans") | {"credential": jti}
    assert is_problem(broker.post("/v1/holds", stolen), 409, "credential-mismatch")
    assert broker.post("/v1/holds", hold_body("gina-1", "gina") | {"credential": jti}).ok
    again = hold_body("gina-2", "gina") | {"credential": jti}
    assert is_problem(broker.post("/v1/holds", again), 409, "credential-used")


def test_scopes_keep_the_app_from_money_and_the_store_from_accounts(broker: Broker) -> None:
    hold = hold_body("scope-1", "nobody")
    assert is_problem(broker.post("/v1/holds", hold, key="app"), 403, "forbidden")
    account = {"account": "x", "currency": "EUR", "limit_minor": 1}
    assert is_problem(broker.post("/v1/accounts", account, key="store"), 403, "forbidden")
    staff = {"account": "staff-1", "store": "lab", "kind": "staff"}
    assert is_problem(broker.post("/v1/entry-credentials", staff, key="app"), 403, "forbidden")
    assert broker.post("/v1/entry-credentials", staff).status_code == 201
    for verb in ("block", "unblock"):
        reply = broker.post(f"/v1/accounts/x/{verb}", {}, key="app")
        assert is_problem(reply, 403, "forbidden")


def test_replay_gives_the_stored_answer_and_another_body_is_refused(broker: Broker) -> None:
    broker.account("ida")
    first = broker.post("/v1/holds", hold_body("ida-1", "ida"), "ida-key")
    again = broker.post("/v1/holds", hold_body("ida-1", "ida"), "ida-key")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    other = broker.post("/v1/holds", hold_body("ida-1", "ida", 4_999), "ida-key")
    assert is_problem(other, 422, "idempotency-key-reused")
    declined = [broker.post("/v1/holds", hold_body("ida-2", "ida", 9_999), "d") for _ in range(2)]
    assert [reply.status_code for reply in declined] == [402, 402]
    assert declined[1].headers["Idempotent-Replayed"] == "true"


def test_same_id_with_a_new_key_has_no_second_effect(broker: Broker) -> None:
    broker.account("jan")
    for _ in range(2):
        assert broker.hold("jan-1", "jan").status_code == 201
    for _ in range(2):
        reply = broker.post("/v1/holds/hold-jan-1/capture", capture_body("jan-1", 200))
        assert reply.status_code == 201
    assert reply.headers["Idempotent-Replayed"] == "true"
    second = capture_body("jan-1", 200) | {"capture": "capture-jan-1-again"}
    assert is_problem(broker.post("/v1/holds/hold-jan-1/capture", second), 409, "hold-resolved")
    other = capture_body("jan-1", 300)
    assert is_problem(broker.post("/v1/holds/hold-jan-1/capture", other), 409, "capture-exists")
    assert broker.get("/v1/accounts/jan").json()["owed_minor"] == 200
    taken = hold_body("jan-1", "jan") | {"store": "elsewhere"}
    assert is_problem(broker.post("/v1/holds", taken), 409, "hold-exists")
    account = {"account": "jan", "currency": "EUR", "limit_minor": 99}
    assert is_problem(broker.post("/v1/accounts", account), 409, "account-exists")


def test_thirty_two_racers_on_one_key_have_one_effect_and_one_answer(broker: Broker) -> None:
    broker.account("race", limit_minor=1_000_000)
    broker.hold("race-1", "race")
    body, headers = capture_body("race-1", 300), {"Idempotency-Key": "race-key"}
    headers["Authorization"] = f"Bearer {broker.key('store')}"
    barrier = threading.Barrier(32)

    def racer(_: int) -> tuple[int, bytes, bool]:
        barrier.wait()
        while True:
            reply = requests.post(
                f"{broker.url}/v1/holds/hold-race-1/capture",
                json=body,
                headers=headers,
                timeout=20,
            )
            if reply.status_code != 409:
                replayed = "Idempotent-Replayed" in reply.headers
                return reply.status_code, reply.content, replayed
            assert is_problem(reply, 409, "idempotency-in-flight")
            assert int(reply.headers["Retry-After"]) >= 1
            time.sleep(0.01)

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(racer, range(32)))
    assert Counter(status for status, _, _ in results) == {201: 32}
    assert len({answer for _, answer, _ in results}) == 1
    assert sum(not replayed for _, _, replayed in results) == 1
    assert broker.get("/v1/accounts/race").json()["owed_minor"] == 300


# --- hostile requests -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic d3Jvbmc6d3Jvbmc=",
        "bearer\twrong",
        "Bearer " + "a" * 5_000,
        "Bearer wr\xf6ng",
        "Bearer wrong, Bearer wrong",
        CARD,
    ],
)
def test_malformed_authorization_is_a_401_problem(broker: Broker, value: str | None) -> None:
    headers = {"Idempotency-Key": "k"} | (
        {} if value is None else {"Authorization": value.encode("latin-1")}
    )
    for path in ("/v1/holds", "/v1/accounts", "/v1/holds/x/capture"):
        reply = requests.post(broker.url + path, json={}, headers=headers, timeout=20)
        assert is_problem(reply, 401, "unauthorized")
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert is_problem(requests.get(f"{broker.url}/v1/books", headers=headers, timeout=20), 401)


@pytest.mark.parametrize(
    "values", [[], [b""], [b" "], [b"a b"], [b"k\xf6y"], [b"x" * 256], [b"\x7f"], [b"a", b"a"]]
)
def test_malformed_idempotency_key_is_a_400_problem(broker: Broker, values: list[bytes]) -> None:
    keys = b"".join(b"Idempotency-Key: " + value + b"\r\n" for value in values)
    host, port = broker.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(
            b"POST /v1/holds/none/void HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 2\r\nAuthorization: Bearer "
            + broker.key().encode()
            + b"\r\n"
            + keys
            + b"\r\n{}"
        )
        reply = b"".join(iter(lambda: line.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 400 ")
    if values != [b"\x7f"]:  # no HTTP at all: the server refuses it before us
        assert b"application/problem+json" in reply
        assert b"problems/idempotency-key-needed" in reply


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Walkout-Sequence", "-1"),
        ("Walkout-Sequence", "1.5"),
        ("Walkout-Sequence", "9" * 30),
        ("Walkout-Attempt", "first"),
        ("Walkout-Group", "x" * 300),
    ],
)
def test_malformed_outbox_marks_are_a_400_problem(broker: Broker, name: str, value: str) -> None:
    headers = {"Authorization": f"Bearer {broker.key()}", "Idempotency-Key": "k", name: value}
    reply = requests.post(f"{broker.url}/v1/holds", json=hold_body("m", "m"), headers=headers)
    assert is_problem(reply, 400, "invalid-header")


def test_outbox_marks_are_stored_beside_the_answer(broker: Broker) -> None:
    broker.account("karl")
    headers = {
        "Authorization": f"Bearer {broker.key('store')}",
        "Idempotency-Key": "karl-1:hold",
        "Walkout-Group": "karl",
        "Walkout-Sequence": "17",
        "Walkout-Attempt": "2",
    }
    body = hold_body("karl-1", "karl")
    assert requests.post(f"{broker.url}/v1/holds", json=body, headers=headers).ok
    ledger = Ledger(broker.where())
    rows = ledger.rows("SELECT grp, sequence, attempt FROM answer WHERE key = 'karl-1:hold'")
    ledger.close()
    assert rows == [("karl", 17, 2)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", "$"),
        (b"{", "$"),
        (b"[]", "$"),
        (b"null", "$"),
        (b'"text"', "$"),
        (b"\xff\xfe", "$"),
        (b'{"amount_minor": NaN}', "$"),
        (b'{"amount_minor": "\\ud800"}', "$"),
        (b"[" * 100_000, "$"),
        (b"{}", "$"),
        (b'{"amount_minor": 1825.0}', "$.amount_minor"),
        (b'{"amount_minor": 18.25}', "$.amount_minor"),
        (b'{"amount_minor": "1825"}', "$.amount_minor"),
        (b'{"amount_minor": true}', "$.amount_minor"),
        (b'{"amount_minor": null}', "$.amount_minor"),
        (b'{"amount_minor": [1]}', "$.amount_minor"),
        (b'{"amount_minor": 0}', "$.amount_minor"),
        (b'{"amount_minor": -5}', "$.amount_minor"),
        (b'{"amount_minor": 100000001}', "$.amount_minor"),
        (b'{"amount_minor": 1e400}', "$"),
        (b'{"amount_minor": 123456789012345678901234567890}', "$.amount_minor"),
    ],
)
def test_malformed_body_is_a_422_problem_that_names_the_place(
    broker: Broker, body: bytes, param: str
) -> None:
    headers = {
        "Authorization": f"Bearer {broker.key()}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
    }
    reply = requests.post(f"{broker.url}/v1/holds/x/adjust", data=body, headers=headers)
    assert is_problem(reply, 422)
    assert reply.json()["param"] == param


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"currency": "ZZZ"}, "$.currency"),
        ({"currency": "eur"}, "$.currency"),
        ({"hold": ""}, "$.hold"),
        ({"hold": "a/b"}, "$.hold"),
        ({"hold": "x" * 129}, "$.hold"),
        ({"account": "a\u0000b"}, "$.account"),
        ({"visit": 7}, "$.visit"),
        ({"store": None}, "$.store"),
    ],
)
def test_field_out_of_bounds_is_a_422_problem(
    broker: Broker, change: dict[str, Any], param: str
) -> None:
    reply = broker.post("/v1/holds", hold_body("b", "b") | change)
    assert is_problem(reply, 422, "invalid-body")
    assert reply.json()["param"] == param


@pytest.mark.parametrize("lines", [[], [300.0], ["300"], [-1, 301], [100, 100], [0] * 1_001])
def test_line_totals_must_be_whole_and_add_up(broker: Broker, lines: list[Any]) -> None:
    if not broker.get("/v1/accounts/lines").ok:
        broker.account("lines", limit_minor=100_000)
        broker.hold("lines-1", "lines")
    body = capture_body("lines-1", 300) | {"line_totals": lines}
    reply = broker.post("/v1/holds/hold-lines-1/capture", body)
    assert is_problem(reply, 422)
    assert reply.json()["param"].startswith("$.line_totals")


def test_currency_must_be_the_accounts(broker: Broker) -> None:
    broker.account("lena")
    reply = broker.post("/v1/holds", hold_body("lena-1", "lena") | {"currency": "USD"})
    assert is_problem(reply, 422, "currency-mismatch")


def test_unknown_things_and_wrong_verbs_are_problems_too(broker: Broker) -> None:
    assert is_problem(broker.get("/v1/nowhere"), 404, "not-found")
    assert is_problem(broker.get("/v1/accounts/nobody"), 404, "unknown-account")
    assert is_problem(broker.get("/v1/holds/none"), 404, "unknown-hold")
    assert is_problem(broker.post("/v1/holds/none/void", {}), 404, "unknown-hold")
    assert is_problem(broker.post("/v1/holds", hold_body("n", "nobody")), 404, "unknown-account")
    reply = requests.delete(f"{broker.url}/v1/holds", timeout=20)
    assert is_problem(reply, 405, "method-not-allowed")
    assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    for query in ("after=x", "after=-1", "limit=501", "after=" + "9" * 30):
        assert is_problem(broker.get(f"/v1/captures?{query}"), 422, "invalid-query")
    assert is_problem(broker.get("/v1/books?currency=ZZZ"), 422, "invalid-query")


def test_other_media_types_and_endless_bodies_are_refused(broker: Broker) -> None:
    headers = {"Authorization": f"Bearer {broker.key()}", "Idempotency-Key": "k"}
    url = f"{broker.url}/v1/holds"
    text = headers | {"Content-Type": "text/plain"}
    assert is_problem(requests.post(url, data=b"{}", headers=text), 415)
    big = headers | {"Content-Type": "application/json"}
    assert is_problem(requests.post(url, data=b" " * 400_000, headers=big), 413)


def test_caller_who_hangs_up_leaves_the_broker_well(broker: Broker) -> None:
    host, port = broker.url.removeprefix("http://").split(":")
    for half in (
        b"POST /v1/holds HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"\x16\x03",
    ):
        with socket.create_connection((host, int(port))) as line:
            line.sendall(half)
    assert requests.get(f"{broker.url}/healthz", timeout=20).json() == {"status": "ok"}


def test_published_schema_holds_the_bounds(broker: Broker) -> None:
    schemas = requests.get(f"{broker.url}/openapi.json", timeout=20).json()["components"]["schemas"]
    amount = schemas["HoldRequest"]["properties"]["amount_minor"]
    assert (amount["type"], amount["minimum"]) == ("integer", 1)
    assert "EUR" in schemas["AccountRequest"]["properties"]["currency"]["enum"]


# --- card numbers, restarts, crashes ----------------------------------------------------------


def test_card_number_is_refused_everywhere_and_leaves_no_trace(
    tmp_path: Path, start: Callable[[Path], Broker]
) -> None:
    broker = start(tmp_path)
    broker.account("mia")
    account = {"account": "a", "currency": "EUR", "limit_minor": 1}
    hold, grouped = hold_body("mia-1", "mia"), "4111 1111 1111 1111"
    for path, body, key in (
        ("/v1/accounts", account | {"payment_ref": CARD}, "k1"),
        ("/v1/accounts", account | {"payment_ref": f"visa {grouped}"}, "k2"),
        ("/v1/accounts", account | {"account": CARD}, "k3"),
        ("/v1/accounts", account | {"unknown": {"deep": [CARD]}}, "k4"),
        ("/v1/accounts", account | {"limit_minor": int(CARD)}, "k5"),
        ("/v1/accounts", account | {CARD: 1}, "k6"),
        ("/v1/accounts", account, CARD),
        ("/v1/holds", hold | {"visit": CARD}, "k7"),
        (f"/v1/holds/{CARD}/void", {}, "k8"),
        ("/v1/holds/x/void", {"reason": CARD}, "k9"),
    ):
        reply = broker.post(path, body, key)
        assert is_problem(reply, 422, "card-number"), path
        assert CARD not in reply.text
    for headers in ({"Walkout-Group": CARD}, {"Authorization": f"Bearer {CARD}"}):
        good = {"Authorization": f"Bearer {broker.key()}", "Idempotency-Key": "k10"}
        reply = requests.post(f"{broker.url}/v1/holds", json=hold, headers=good | headers)
        assert reply.status_code in (401, 422)
    broker.get(f"/v1/accounts/{CARD}")
    assert broker.end() == 0
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert CARD.encode() not in content, path
            assert grouped.encode() not in content, path


def test_second_broker_on_the_same_data_is_refused(broker: Broker, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(broker.data), str(tmp_path / "port")],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert b"served by another process" in done.stderr
    assert not (tmp_path / "port").exists()


def test_systemd_is_told_and_sigterm_ends_cleanly(
    tmp_path: Path, start: Callable[[Path], Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        broker = start(tmp_path)
        assert notify.recv(100) == b"READY=1"
        broker.account("nora")
        assert broker.end() == 0
        assert notify.recv(100) == b"STOPPING=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert (broker.data / "broker.db").stat().st_mode & 0o077 == 0
    again = start(tmp_path)
    assert again.get("/v1/accounts/nora").json()["status"] == "active"
    assert again.log() == ""


def test_killed_under_load_the_broker_keeps_every_acknowledged_capture(
    tmp_path: Path, start: Callable[[Path], Broker]
) -> None:
    broker = start(tmp_path)
    broker.account("load", limit_minor=100_000_000)
    acknowledged = list[str]()
    headers = {"Authorization": f"Bearer {broker.key('store')}"}

    def shopper(number: int) -> None:
        with requests.Session() as session:
            for i in range(10_000):
                visit = f"load-{number}-{i}"
                for path, body in (
                    ("/v1/holds", hold_body(visit, "load", 500)),
                    (f"/v1/holds/hold-{visit}/capture", capture_body(visit, 300)),
                ):
                    key = {"Idempotency-Key": f"{visit}:{path}"}
                    reply = session.post(broker.url + path, json=body, headers=headers | key)
                    assert reply.status_code == 201
                acknowledged.append(f"capture-{visit}")

    def until_killed(number: int) -> None:
        with pytest.raises(requests.RequestException):
            shopper(number)

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(until_killed, number) for number in range(8)]
        deadline = time.monotonic() + 20
        while len(acknowledged) < 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(broker.process.pid, signal.SIGKILL)
        broker.process.wait(timeout=20)
        for future in done:
            future.result(timeout=20)
    assert len(acknowledged) >= 100
    again = start(tmp_path)
    kept, after, more = set[str](), 0, True
    while more:
        page = service.captures(again.url, again.data / "store.key", after)
        kept |= {capture.capture for capture in page.captures}
        after, more = page.after, page.more
    assert set(acknowledged) <= kept
    books = service.books(again.url, again.data / "store.key")
    assert (books.unbalanced_journals, sum(books.balances.values())) == (0, 0)
    assert books.captured_minor == 300 * len(kept) == 300 * books.captures
    # An answer that was lost is asked for again with the same key, and has no second effect.
    visit = acknowledged[-1].removeprefix("capture-")
    path = f"/v1/holds/hold-{visit}/capture"
    reply = again.post(path, capture_body(visit, 300), f"{visit}:{path}", key="store")
    assert reply.headers["Idempotent-Replayed"] == "true"


def test_command_line_functions_say_what_the_broker_refused(broker: Broker) -> None:
    opened = service.open_account(
        broker.url,
        broker.data / "app.key",
        AccountRequest(account="olga", currency="EUR", limit_minor=100),
    )
    assert opened.status == "active"
    with pytest.raises(service.BrokerError, match="403"):
        service.books(broker.url, broker.data / "app.key")
