"""A retailer that answers anything at all: nothing is captured, nobody else waits, we go on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from second_systems import Arrival, Fate, SecondSystems, whole_visit
from test_settling_over_http import receipts, settle

from cloud_sync import views

GOOD = {
    "purchaseId": "p-v1",
    "currency": "EUR",
    "total": 120,
    "lines": [
        {
            **{"lineItemId": "v1-l0", "id": "apple", "name": "Apple", "quantity": 1},
            **{"unitPrice": 120, "discount": 0, "tax": 0, "total": 120},
        }
    ],
}


def changed(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def line(**fields: Any) -> bytes:
    return changed(lines=[GOOD["lines"][0] | fields])  # type: ignore[index]


ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<!doctype html><title>Welcome</title>" * 50,
    "half a body": changed()[:-20],
    "two bodies": changed() + changed(),
    "no JSON object": b"[]",
    "null": b"null",
    "depth": b'{"a":' * 20_000,
    "NaN": changed().replace(b'"total": 120}', b'"total": NaN}'),
    "infinity": changed().replace(b'"total": 120,', b'"total": 1e999,'),
    "a float": changed(total=120.0),
    "a float that is not whole": changed(total=120.5),
    "text for a number": changed(total="120"),
    "true for a number": line(unitPrice=True),
    "a negative price": line(unitPrice=-120, total=-120),
    "a negative total": changed(total=-120),
    "more than a machine word": changed(total=2**80),
    "a discount above the price": line(discount=121, total=-1),
    "another currency": changed(currency="USD"),
    "a currency in lower case": changed(currency="eur"),
    "another SKU": line(id="pear"),
    "another quantity": line(quantity=2, total=240),
    "a line too many": changed(lines=GOOD["lines"] * 2, total=240),  # type: ignore[operator]
    "no line": changed(lines=[], total=0),
    "a line of somebody else": line(lineItemId="v2-l0"),
    "a total that is not the sum": changed(total=119),
    "an empty purchase": changed(purchaseId=""),
    "a purchase id without end": changed(purchaseId="p" * 100_000),
    "another encoding": "{'€'}".encode("latin-1", "replace"),
    "no UTF-8": changed().replace(b"Apple", b"\xff\xfe"),
    "half a surrogate": changed().replace(b"Apple", b"\\ud800"),
    "beyond a hundred thousand": line(unitPrice=10**10, total=10**10),
}


def test_no_answer_of_any_kind_is_captured_and_each_is_said(tmp_path: Path) -> None:
    """One store, an account for each answer, and one whose retailer is good."""
    names = list(ANSWERS)

    def fate(arrival: Arrival) -> Fate:
        if arrival.operation != "price" or arrival.group == "good":
            return None
        body = ANSWERS[names[int(arrival.group)]]
        visit = arrival.idem.partition(":")[0]
        body = body.replace(b"v1", visit.encode())
        return 201, {"Content-Type": "application/json"}, body

    systems = SecondSystems(fate=fate)
    visits = [e for i in range(len(names)) for e in whole_visit(f"w{i}", str(i), "apple")]
    config = settle(tmp_path, systems, *visits, *whole_visit("w99", "good", "apple"), status=1)
    assert systems.captured == {"capture-w99": 120}
    states = {
        names[int(r["account"])]: r for r in receipts(config).values() if r["state"] != "paid"
    }
    assert {name for name, row in states.items() if row["state"] == "parked"} == set(names)
    assert all(row["detail"] for row in states.values())
    parked = views.summary(tmp_path / "sync.db")["parked"]
    assert len(parked) == len(names)
    assert all(len(one["error"]) <= 500 for one in parked)


def test_the_good_answer_under_those_names_is_captured(tmp_path: Path) -> None:
    """The planted opposite: without a change, the same way of answering is a paid receipt."""

    def fate(arrival: Arrival) -> Fate:
        return (201, {}, changed()) if arrival.operation == "price" else None

    systems = SecondSystems(fate=fate)
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    assert receipts(config)["v1"]["state"] == "paid"


@pytest.mark.parametrize(
    "fate",
    [
        (201, {"Content-Encoding": "gzip"}, gzip.compress(changed())),
        (201, {"Content-Type": "text/html"}, b"<html>"),
        (204, {}, b""),
        (404, {"Content-Type": "text/html"}, b"<h1>not here</h1>" * 10_000),
        (422, {"Content-Type": "application/problem+json"}, b"{" * 100_000),
        (422, {"Content-Type": "application/problem+json"}, b'{"type": 5}'),
        (409, {}, b"no"),
        (418, {}, b"\x00\x1b[31m\xff"),
    ],
)
def test_a_strange_status_or_encoding_parks_the_account(tmp_path: Path, fate: Fate) -> None:
    systems = SecondSystems(fate=lambda a: fate if a.operation == "price" else None)
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"), status=1)
    assert receipts(config)["v1"]["state"] == "parked"
    assert systems.captured == {}


@pytest.mark.parametrize(
    "wait", ["-1", "99999999999999999999", "soon", "Wed, 99 Foo 2026", "1e9", ""]
)
def test_a_senseless_wish_to_wait_is_no_wish(tmp_path: Path, wait: str) -> None:
    asked: list[str] = []

    def fate(arrival: Arrival) -> Fate:
        if arrival.operation != "price" or asked:
            return None
        asked.append(arrival.idem)
        return 503, {"Retry-After": wait}, b""

    systems = SecondSystems(fate=fate)
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    assert receipts(config)["v1"]["state"] == "paid"
    assert asked == ["v1:price"]
