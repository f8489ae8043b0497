"""Retailers that break the contract in one way: the reference retailer behind a meddling proxy."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import requests

PURCHASES, HOOKS = "/v1/order/purchases", "/v1/webhooks"
ENTRY, IDENTITY = "/v1/fraudandabuse/shopperauthorization", "/v1/identity/identity-keys"
OK = (200, {"content-type": "application/json"}, b"{}")

Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def but(self, body: Any = None, **headers: str) -> Asked:
        changed = {name.replace("_", "-"): text for name, text in headers.items()}
        raw = self.body if body is None else json.dumps(body).encode()
        return replace(self, headers=self.headers | changed, body=raw)


@dataclass
class Wrong:
    """``meddle(asked, forward)`` answers; ``forward`` asks the honest retailer."""

    url: str  # of the honest one
    meddle: Callable[[Wrong, Asked], Answer]
    bearer: str = ""
    seen: dict[str, bytes] = field(default_factory=dict)
    count: Iterator[int] = field(default_factory=itertools.count)
    lock: Lock = field(default_factory=Lock)
    name: str = field(default_factory=lambda: secrets.token_hex(8))  # no two share their trips

    def forward(self, asked: Asked) -> Answer:
        dropped = ("host", "content-length", "connection", "accept-encoding")
        headers = {k: v.encode("latin-1") for k, v in asked.headers.items() if k not in dropped}
        reply = requests.post(self.url + asked.path, data=asked.body, headers=headers, timeout=20)
        kept = ("content-type", "retry-after")
        return (
            reply.status_code,
            {k: reply.headers[k] for k in kept if k in reply.headers},
            (reply.content),
        )

    def twisted(self, asked: Asked, twist: Callable[[dict[str, Any]], Any]) -> Answer:
        """The honest 2xx answer with its JSON changed in place."""
        status, headers, body = self.forward(asked)
        if status >= 300:
            return status, headers, body
        tree = json.loads(body)
        twist(tree)
        return status, headers, json.dumps(tree).encode()


@contextmanager
def serving(wrong: Wrong) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): text for name, text in self.headers.items()}
            status, more, answer = wrong.meddle(wrong, Asked(self.path, headers, body))
            self.send_response(status)
            for name, text in more.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- one way to be wrong each -------------------------------------------------------------------


def _on(path: str, meddle: Callable[[Wrong, Asked], Answer]) -> Callable[[Wrong, Asked], Answer]:
    return lambda wrong, asked: meddle(wrong, asked) if asked.path == path else wrong.forward(asked)


def _twist(path: str, twist: Callable[[dict[str, Any]], Any]) -> Callable[[Wrong, Asked], Answer]:
    return _on(path, lambda wrong, asked: wrong.twisted(asked, twist))


def _one_cent(tree: dict[str, Any]) -> None:
    tree["total"] += 1 if tree["lines"] else 0


def _last_line_gone(tree: dict[str, Any]) -> None:
    if len(tree["lines"]) > 1:
        tree["total"] -= tree["lines"].pop()["total"]


def _discount_on_total_only(tree: dict[str, Any]) -> None:
    for line in tree["lines"]:
        line["total"] += line["discount"]
        line["discount"] = 0
    # the total stays: the lines no longer add up to it


def _floats(tree: dict[str, Any]) -> None:
    tree["total"] = tree["total"] / 100


def _named_empty(tree: dict[str, Any]) -> None:
    tree["purchaseId"] = tree["purchaseId"] or "purchase-empty"


def _renewed(wrong: Wrong, asked: Asked) -> Asked:
    """The same cart as a trip that the honest retailer has not seen."""
    tree = asked.json
    number = next(wrong.count)
    if isinstance(tree, dict) and "idempotentShoppingTripId" in tree:
        tree = tree | {"idempotentShoppingTripId": f"t{number}-{wrong.name}"}
        return asked.but(tree, idempotency_key=f"k{number}-{wrong.name}")
    return asked


def _forgets_keys(wrong: Wrong, asked: Asked) -> Answer:
    return wrong.forward(_renewed(wrong, asked))


def _forgets_trips(wrong: Wrong, asked: Asked) -> Answer:
    """Keys are kept, but a new key is a new purchase."""
    tree = asked.json
    if not isinstance(tree, dict) or "idempotentShoppingTripId" not in tree:
        return wrong.forward(asked)
    key = asked.headers["idempotency-key"]
    tree = tree | {"idempotentShoppingTripId": f"{tree['idempotentShoppingTripId']}-{key}"[:190]}
    return wrong.forward(asked.but(tree))


def _takes_any_body(wrong: Wrong, asked: Asked) -> Answer:
    status, headers, body = wrong.forward(asked)
    if status == 422 and b"idempotency-key-reused" in body:
        return wrong.forward(_renewed(wrong, asked))
    return status, headers, body


def _races(wrong: Wrong, asked: Asked) -> Answer:
    """Looks the key up, works, and only then writes it down."""
    key = asked.headers.get("idempotency-key", "")
    if key in wrong.seen:
        return 201, OK[1], wrong.seen[key]
    answer = wrong.forward(_renewed(wrong, asked)) if "-race:" in key else wrong.forward(asked)
    time.sleep(0.05)
    if "-race:" in key:
        wrong.seen[key] = answer[2]
    return answer


def _unknown_is_free(wrong: Wrong, asked: Asked) -> Answer:
    """Leaves out what it does not know."""
    status, headers, body = wrong.forward(asked)
    if status == 422 and b"unknown-sku" in body:
        tree = asked.json
        known = [one for one in tree["cartItems"] if "unknown" not in one["id"]]
        return wrong.forward(asked.but(tree | {"cartItems": known}))
    return status, headers, body


def _crashes_on_unknown(wrong: Wrong, asked: Asked) -> Answer:
    status, headers, body = wrong.forward(asked)
    crashed = status == 422 and b"unknown-sku" in body
    return (500, {}, b"KeyError") if crashed else (status, headers, body)


def _strict(wrong: Wrong, asked: Asked) -> Answer:
    if b"walkoutCheck" in asked.body:
        return 422, {"content-type": "application/problem+json"}, b'{"title":"unknown field"}'
    return wrong.forward(asked)


def _open_door(wrong: Wrong, asked: Asked) -> Answer:
    return wrong.forward(asked.but(authorization=wrong.bearer))


def _todays_price(wrong: Wrong, asked: Asked) -> Answer:
    tree = asked.json
    if not isinstance(tree, dict) or "cartItems" not in tree:
        return wrong.forward(asked)
    items = [one | {"takenAt": "2026-02-01T00:00:00Z"} for one in tree["cartItems"]]
    return wrong.forward(asked.but(tree | {"cartItems": items}))


def _per_gram(tree: dict[str, Any]) -> None:
    """Cuts fractions of a cent off instead of rounding."""
    for line in tree["lines"]:
        cut = line["unitPrice"] * line["quantity"] // 1000
        if line["id"] == "walkout-check-loose":
            tree["total"] += cut - line["total"]
            line["total"], line["tax"] = cut, 0


def _believes_anything(wrong: Wrong, asked: Asked) -> Answer:
    return OK


def _no_clock(wrong: Wrong, asked: Asked) -> Answer:
    """Right signatures of any age: what an attacker replays is taken."""
    status, headers, body = wrong.forward(asked)
    old = (
        abs(int(asked.headers.get("webhook-timestamp", "x").zfill(1)) - time.time()) > 300
        if (
            asked.headers.get("webhook-timestamp", "").isdigit()
            and len(asked.headers["webhook-timestamp"]) < 12
        )
        else False
    )
    return OK if status == 401 and old else (status, headers, body)


def _crashes_on_garbage(wrong: Wrong, asked: Asked) -> Answer:
    if "," not in asked.headers.get("webhook-signature", ","):
        return 500, {}, b"ValueError: not enough values to unpack"
    return wrong.forward(asked)


def _first_signature_only(wrong: Wrong, asked: Asked) -> Answer:
    first = asked.headers.get("webhook-signature", "").split(" ")[0]
    return wrong.forward(asked.but(webhook_signature=first))


def _holds_more(tree: dict[str, Any]) -> None:
    for condition in tree["authorizationConditions"]:
        condition["amount"]["amount"] = 1_000_000


def _welcomes_all(tree: dict[str, Any]) -> None:
    tree |= {"decision": "ACCEPT", "shopperIdentity": {"id": "guest"}, "reason": ""}


def _other_currency(tree: dict[str, Any]) -> None:
    tree["currency"] = "USD"


# what is wrong -> (how, cases that have to fail)
VIOLATIONS: dict[str, tuple[Callable[[Wrong, Asked], Answer], set[str]]] = {
    "total is a cent off": (_twist(PURCHASES, _one_cent), {"cart-is-priced"}),
    "a line is missing": (_twist(PURCHASES, _last_line_gone), {"cart-is-priced"}),
    "a discount is on the total only": (
        _twist(PURCHASES, _discount_on_total_only),
        {"cart-is-priced", "promotion-adds-up"},
    ),
    "amounts are floats": (_twist(PURCHASES, _floats), {"cart-is-priced"}),
    "another currency": (_twist(PURCHASES, _other_currency), {"cart-is-priced"}),
    "keys are forgotten": (_on(PURCHASES, _forgets_keys), {"same-key", "same-trip"}),
    "a new key is a new purchase": (_on(PURCHASES, _forgets_trips), {"same-trip"}),
    "a key takes any body": (_on(PURCHASES, _takes_any_body), {"same-key-other-body"}),
    "retries race": (_on(PURCHASES, _races), {"racing-retries"}),
    "an empty cart is a purchase": (_twist(PURCHASES, _named_empty), {"empty-cart"}),
    "an unknown SKU is left out": (_on(PURCHASES, _unknown_is_free), {"unknown-sku"}),
    "an unknown SKU is a crash": (_on(PURCHASES, _crashes_on_unknown), {"unknown-sku"}),
    "unknown attributes are refused": (_on(PURCHASES, _strict), {"unknown-attributes"}),
    "no key is needed": (_on(PURCHASES, _open_door), {"no-key", "wrong-key"}),
    "today's price counts": (_on(PURCHASES, _todays_price), {"price-at-pick-time"}),
    "weights are cut, not rounded": (_twist(PURCHASES, _per_gram), {"sold-by-weight"}),
    "every webhook is believed": (
        _on(HOOKS, _believes_anything),
        {"webhook-unsigned", "webhook-other-key", "webhook-altered", "webhook-stale"},
    ),
    "old webhooks are taken": (_on(HOOKS, _no_clock), {"webhook-stale"}),
    "a malformed signature is a crash": (_on(HOOKS, _crashes_on_garbage), {"webhook-malformed"}),
    "one signature is looked at": (_on(HOOKS, _first_signature_only), {"webhook-rotation"}),
    "a hold is raised at the entry": (_twist(ENTRY, _holds_more), {"entry-adjusted"}),
    "strangers are let in": (_twist(IDENTITY, _welcomes_all), {"identity-unknown"}),
}
