"""The reference retailer over loopback: purchases, webhooks, faults."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from running_retailer import SERVE, RunningRetailer, cart, receipt

from sim.retailer import service
from sim.retailer.catalogue import CATALOGUE, write_catalogue
from sim.retailer.faults import FaultsError, read_faults

TRIP = cart("x")["shoppingTrip"]


def is_problem(reply: requests.Response, status: int, slug: str = "") -> bool:
    assert reply.status_code == status, (reply.status_code, reply.text)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status
    return bool(reply.json()["type"].endswith(slug))


def test_cart_is_priced_and_booked(retailer: RunningRetailer) -> None:
    before = retailer.get("/v1/books").json()
    reply = retailer.buy(cart("book-1", ("banana", 2), ("cola-330ml", 1)))
    assert reply.status_code == 201
    purchase = reply.json()
    assert purchase["total"] == 2 * 35 + 99
    assert purchase["purchaseId"]
    books = retailer.get("/v1/books").json()
    assert books["purchases"] - before["purchases"] == 1
    assert books["purchased_minor"] - before["purchased_minor"] == 169
    page = service.purchases(retailer.url, retailer.data / "retailer.key")
    assert "book-1" in {sold.trip for sold in page.purchases}
    latest = page.purchases[-1]
    assert not service.purchases(
        retailer.url, retailer.data / "retailer.key", latest.number
    ).purchases


def test_same_trip_is_one_purchase_under_any_key_and_request_id(retailer: RunningRetailer) -> None:
    wanted = cart("trip-1", ("apple", 1))
    first = retailer.buy(wanted, "trip-key")
    again = retailer.buy(wanted, "trip-key")
    other_key = retailer.buy(wanted | {"requestId": "another"}, "trip-key-2")
    assert first.status_code == again.status_code == other_key.status_code == 201
    assert first.content == again.content == other_key.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert is_problem(retailer.buy(cart("trip-1", ("apple", 2))), 422, "trip-changed")
    changed = retailer.buy(cart("trip-1", ("apple", 2)), "trip-key")
    assert is_problem(changed, 422, "idempotency-key-reused")


def test_thirty_two_racers_with_a_key_each_make_one_purchase(retailer: RunningRetailer) -> None:
    wanted = cart("race-1", ("pasta-500g", 1))
    before = retailer.get("/v1/books").json()["purchases"]
    barrier = threading.Barrier(32)

    def racer(number: int) -> bytes:
        barrier.wait()
        reply = retailer.buy(wanted, f"racer-{number}")
        assert reply.status_code == 201
        return reply.content

    with ThreadPoolExecutor(32) as pool:
        assert len(set(pool.map(racer, range(32)))) == 1
    assert retailer.get("/v1/books").json()["purchases"] == before + 1


def test_empty_cart_is_no_purchase(retailer: RunningRetailer) -> None:
    before = retailer.get("/v1/books").json()["purchases"]
    reply = retailer.buy(cart("empty-1"))
    assert reply.status_code == 200
    assert reply.json() == {"purchaseId": "", "currency": "EUR", "lines": [], "total": 0}
    assert retailer.get("/v1/books").json()["purchases"] == before


def test_unknown_sku_is_named_and_the_corrected_cart_is_priced(retailer: RunningRetailer) -> None:
    reply = retailer.buy(cart("sku-1", ("banana", 1), ("caviar", 1)), "sku-key")
    assert is_problem(reply, 422, "/unknown-sku")
    assert "caviar" in reply.json()["detail"]
    assert reply.json()["param"] == "$.cartItems[1].id"
    assert retailer.buy(cart("sku-1", ("banana", 1)), "sku-key").status_code == 201


def test_repeated_line_is_refused(retailer: RunningRetailer) -> None:
    wanted = cart("twice-1", ("banana", 1), ("apple", 1))
    wanted["cartItems"][1]["lineItemId"] = wanted["cartItems"][0]["lineItemId"]
    assert is_problem(retailer.buy(wanted), 422, "/duplicate-line")


@pytest.mark.parametrize(
    "change",
    [
        {"cartItems": None},
        {"cartItems": [{}]},
        {"cartItems": [7]},
        {"shoppingTrip": {}},
        {"shoppingTrip": TRIP | {"authEvents": []}},
        {"shoppingTrip": TRIP | {"authEvents": TRIP["authEvents"] * 101}},
        {"shoppingTrip": TRIP | {"authEvents": [{"id": "a", "timestamp": "noon"}]}},
        {"shoppingTrip": TRIP | {"endTime": "later"}},
        {"shoppingTrip": TRIP | {"partySize": -5}},
        {"storeId": ""},
        {"storeId": "a\u0000b"},
        {"idempotentShoppingTripId": 5},
        {"shopperIdentity": {"id": "x" * 300}},
    ],
)
def test_malformed_cart_is_a_422_problem(retailer: RunningRetailer, change: dict[str, Any]) -> None:
    assert is_problem(retailer.buy(cart("bad-1", ("banana", 1)) | change), 422, "/invalid-body")


def test_strangers_and_keyless_requests_are_refused(retailer: RunningRetailer) -> None:
    url = f"{retailer.url}/v1/order/purchases"
    wanted = cart("none-1", ("banana", 1))
    assert is_problem(requests.post(url, json=wanted, timeout=20), 401)
    reply = requests.post(url, json=wanted, headers=retailer.bearer(), timeout=20)
    assert is_problem(reply, 400, "/idempotency-key-needed")
    assert is_problem(requests.get(f"{retailer.url}/v1/books", timeout=20), 401)
    assert is_problem(retailer.get("/v1/nowhere"), 404)
    headers = retailer.bearer() | {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"null", b"[]"):
        assert is_problem(requests.post(url, data=body, headers=headers, timeout=20), 422)


# --- webhooks ---------------------------------------------------------------------------------


def test_signed_receipt_is_stored_once_and_booked(retailer: RunningRetailer) -> None:
    before = retailer.get("/v1/books").json()
    body = receipt(1_825)
    for status in ("stored", "known", "known"):
        reply = retailer.deliver(body, retailer.signed("msg-1", body))
        assert reply.json() == {"status": status}
    other = receipt(0, "payment.declined")
    retailer.deliver(other, retailer.signed("msg-2", other))
    books = retailer.get("/v1/books").json()
    assert books["webhooks"] - before["webhooks"] == 2
    assert books["receipts"] - before["receipts"] == 1
    assert books["paid_minor"] - before["paid_minor"] == 1_825


def test_forged_stale_or_malformed_webhooks_are_401_and_leave_nothing(
    retailer: RunningRetailer,
) -> None:
    body = receipt(100)
    good = retailer.signed("msg-bad", body)
    before = retailer.get("/v1/books").json()
    attempts: list[tuple[bytes, dict[str, Any]]] = [
        (body, {}),
        (receipt(99), good),
        (body, good | {"webhook-id": "another"}),
        (body, good | {"webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)}),
        (body, retailer.signed("msg-bad", body, age_s=301)),
        (body, retailer.signed("msg-bad", body, age_s=-301)),
        (b"\xff\xfe", good),
        (b"", good),
        *(
            (text, retailer.signed("msg-bad", text))
            for text in (b"{", b"[]", b"null", b'{"type": 5}', receipt("much"), receipt(1.5))
        ),
        *(
            (receipt(total), retailer.signed("msg-bad", receipt(total)))
            for total in (-1, 2**63, 2**70, True)
        ),
    ]
    for value in (
        "",
        "v1",
        "v1,",
        "v1,a",
        "v1  x",
        ",",
        "v1,%%%",
        "v2,AAAA",
        "v1,\xe9",
        "x" * 9_000,
    ):
        attempts.append((body, good | {"webhook-signature": value.encode("latin-1")}))
    for value in ("", "now", "1e9", "-1", "9" * 40, "nan", "1.5"):
        attempts.append((body, good | {"webhook-timestamp": value}))
    for text, headers in attempts:
        assert is_problem(retailer.deliver(text, headers), 401, "/webhook-not-verified"), headers
    assert retailer.get("/v1/books").json() == before
    assert retailer.deliver(body, good).status_code == 200


# --- faults, files, restarts ------------------------------------------------------------------


def test_planned_faults_come_in_order_and_then_stop(
    tmp_path: Path, open_shop: Callable[..., RunningRetailer]
) -> None:
    shop = open_shop(
        tmp_path,
        "[purchases]\nfail_times = 2\ndrop_times = 1\nwrong_total_times = 1\ndelay_s = 0.05\n"
        "[webhooks]\nfail_times = 1\nfail_status = 503\ndrop_times = 1\n",
    )
    wanted = cart("fault-1", ("banana", 1))
    for _ in range(2):
        assert is_problem(shop.buy(wanted, "k"), 500)
        assert shop.get("/v1/books").json()["purchases"] == 0
    with pytest.raises(requests.RequestException):
        shop.buy(wanted, "k")
    assert shop.get("/v1/books").json()["purchases"] == 1
    started = time.monotonic()
    assert shop.buy(wanted, "k").json()["total"] == 135
    assert time.monotonic() - started >= 0.05
    assert shop.buy(wanted, "k").json()["total"] == 35
    body = receipt(35)
    assert is_problem(shop.deliver(body, shop.signed("m", body)), 503)
    with pytest.raises(requests.RequestException):
        shop.deliver(body, shop.signed("m", body))
    assert shop.deliver(body, shop.signed("m", body)).json() == {"status": "known"}


@pytest.mark.parametrize(
    "text",
    ["[nowhere]\n", "[purchases]\nfail_time = 1\n", "[purchases]\nfail_times = '1'\n", "not toml"],
)
def test_faults_that_are_not_understood_are_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "faults.toml").write_text(text)
    with pytest.raises(FaultsError):
        read_faults(tmp_path / "faults.toml")


def test_own_catalogue_is_sold_and_everything_survives_a_restart(
    tmp_path: Path, open_shop: Callable[..., RunningRetailer]
) -> None:
    (tmp_path / "data").mkdir()
    write_catalogue(tmp_path / "data" / "catalogue.toml", CATALOGUE[:1])
    shop = open_shop(tmp_path)
    wanted = cart("keep-1", ("milk-1l", 1))
    first = shop.buy(wanted)
    assert is_problem(shop.buy(cart("keep-2", ("banana", 1))), 422, "/unknown-sku")
    body = receipt(129)
    shop.deliver(body, shop.signed("m", body))
    for name in ("retailer.key", "webhook.secret", "retailer.db"):
        assert (shop.data / name).stat().st_mode & 0o077 == 0
    assert shop.end() == 0
    again = open_shop(tmp_path)
    assert again.buy(wanted).content == first.content
    books = service.books(again.url, again.data / "retailer.key")
    assert (books.purchases, books.receipts, books.paid_minor) == (1, 1, 129)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(again.data), str(tmp_path / "second")],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert b"served by another process" in done.stderr
