"""A payment provider with faults: the part of Stripe's wire that our adapter speaks.

Not Stripe: a stand-in on loopback with the same forms, answers and errors as far as our adapter
goes (PaymentIntents with manual capture, increments, refunds, idempotency keys that keep their
first answer, 500 included). It keeps books of its own that tests compare with ours. Payment methods
decide what a card does: ``pm_card_declined``, ``pm_no_increment``, ``pm_limit_<minor>``; all others
pay.

    with serving(Psp(faults=Faults(seed=7, lost=0.1))) as psp: ... psp.url
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "sk_test_walkout"
PAGE_MAX = 100
LIMIT_PREFIX = "pm_limit_"

Answer = tuple[int, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Faults:
    """Probabilities per call, drawn in order of arrival. ``planned``: these first, then chance.

    lost: the effect is there, the line breaks. dropped: the line breaks before. broken: a 500 that
    the key keeps. throttled: 429.
    """

    seed: int = 0
    lost: float = 0.0
    dropped: float = 0.0
    broken: float = 0.0
    throttled: float = 0.0
    planned: list[str] = field(default_factory=list)
    happened: dict[str, int] = field(default_factory=dict)
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def next(self) -> str:
        """The fate of the next call; "" = none."""
        fate = self.planned.pop(0) if self.planned else self._drawn()
        if fate:
            self.happened[fate] = self.happened.get(fate, 0) + 1
        return fate

    def _drawn(self) -> str:
        left = self._chance.random()
        for name in ("lost", "dropped", "broken", "throttled"):
            left -= getattr(self, name)
            if left < 0:
                return name
        return ""


@dataclass(slots=True, kw_only=True)
class Psp:
    """The provider's state. ``keys_live``: False forgets idempotency keys, as after a day."""

    faults: Faults = field(default_factory=Faults)
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, tuple[Any, Answer]] = field(default_factory=dict)
    keys_live: bool = True
    url: str = ""
    lock: RLock = field(default_factory=RLock)

    # --- books ----------------------------------------------------------------------------------

    def held_minor(self) -> int:
        return sum(one["amount_capturable"] for one in self.intents.values())

    def captured_minor(self) -> int:
        return sum(one["amount_received"] for one in self.intents.values())

    def refunded_minor(self) -> int:
        return sum(one["amount"] for one in self.refunds.values())

    # --- one call -------------------------------------------------------------------------------

    def post(self, path: str, form: dict[str, Any], key: str) -> Answer:
        """Once per key: the first answer stays."""
        known = self.keys.get(key) if key and self.keys_live else None
        if known is not None:
            if known[0] != (path, form):
                return _error(400, "idempotency_error", "key reused with other parameters")
            return known[1]
        answer = deepcopy(self._done(path, form))
        if key:
            self.keys[key] = ((path, form), answer)
        return answer

    def broken(self, path: str, form: dict[str, Any], key: str) -> Answer:
        """A 500 without an effect, which the key keeps."""
        answer = _error(500, "api_error", "something went wrong over here")
        if key not in self.keys:
            self.keys[key] = ((path, form), answer)
        return self.keys[key][1]

    def get(self, path: str, query: dict[str, Any]) -> Answer:
        parts = path.strip("/").split("/")
        if parts[1] == "refunds":
            wanted = query.get("payment_intent")
            return _listed([r for r in self.refunds.values() if r["payment_intent"] == wanted])
        if len(parts) == 3:
            found = self.intents.get(parts[2])
            return (200, found) if found else _missing(parts[2])
        every = [one for one in reversed(self.intents.values())]
        if "customer" in query:
            every = [one for one in every if one["customer"] == query["customer"]]
        if "starting_after" in query:
            ids = [one["id"] for one in every]
            every = every[ids.index(query["starting_after"]) + 1 :]
        return _listed(every, int(query.get("limit", 10)))

    def _done(self, path: str, form: dict[str, Any]) -> Answer:
        parts = path.strip("/").split("/")
        if parts[1] == "refunds":
            return self._refund(form)
        if len(parts) == 2:
            return self._create(form)
        intent = self.intents.get(parts[2])
        if intent is None:
            return _missing(parts[2])
        does: dict[str, Callable[[dict[str, Any], dict[str, Any]], Answer]] = {
            "capture": self._capture,
            "cancel": self._cancel,
            "increment_authorization": self._increase,
        }
        return does[parts[3]](intent, form)

    def _create(self, form: dict[str, Any]) -> Answer:
        amount, card = int(form["amount"]), form["payment_method"]
        intent = {
            "id": f"pi_{len(self.intents) + 1}",
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": 0,
            "currency": form["currency"],
            "customer": form["customer"],
            "payment_method": card,
            "status": "requires_payment_method",
            "metadata": form.get("metadata", {}),
        }
        self.intents[intent["id"]] = intent
        if _declines(card, amount):
            return _card_error("insufficient_funds" if card.startswith(LIMIT_PREFIX) else "generic")
        intent |= {"status": "requires_capture", "amount_capturable": amount}
        return 200, intent

    def _increase(self, intent: dict[str, Any], form: dict[str, Any]) -> Answer:
        amount = int(form["amount"])
        if intent["status"] != "requires_capture" or amount <= intent["amount"]:
            return _error(400, "invalid_request_error", "cannot be incremented")
        if intent["payment_method"] == "pm_no_increment":
            return _error(400, "invalid_request_error", "the card does not support increments")
        if _declines(intent["payment_method"], amount):
            return _card_error("insufficient_funds")
        intent |= {"amount": amount, "amount_capturable": amount}
        return 200, intent

    def _capture(self, intent: dict[str, Any], form: dict[str, Any]) -> Answer:
        amount = int(form.get("amount_to_capture", intent["amount_capturable"]))
        if intent["status"] != "requires_capture" or amount > intent["amount_capturable"]:
            return _error(400, "invalid_request_error", f"is {intent['status']}")
        intent |= {"status": "succeeded", "amount_capturable": 0, "amount_received": amount}
        return 200, intent

    def _cancel(self, intent: dict[str, Any], form: dict[str, Any]) -> Answer:
        if intent["status"] not in ("requires_capture", "requires_payment_method"):
            return _error(400, "invalid_request_error", f"is {intent['status']}")
        intent |= {"status": "canceled", "amount_capturable": 0}
        return 200, intent

    def _refund(self, form: dict[str, Any]) -> Answer:
        intent, amount = self.intents[form["payment_intent"]], int(form["amount"])
        back = [r for r in self.refunds.values() if r["payment_intent"] == intent["id"]]
        if sum(r["amount"] for r in back) + amount > intent["amount_received"]:
            return _error(400, "invalid_request_error", "more than was captured")
        refund = {
            "id": f"re_{len(self.refunds) + 1}",
            "object": "refund",
            "amount": amount,
            "payment_intent": intent["id"],
            "status": "succeeded",
            "metadata": form.get("metadata", {}),
        }
        self.refunds[refund["id"]] = refund
        return 200, refund


@contextmanager
def serving(psp: Psp) -> Iterator[Psp]:
    """The provider on a free port of this host while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            with psp.lock:
                self._answer(*psp.get(url.path, _form(url.query)))

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            form, key = _form(raw), self.headers.get("Idempotency-Key", "")
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                return self._answer(*_error(401, "invalid_request_error", "wrong key"))
            with psp.lock:
                fate = psp.faults.next()
                if fate == "throttled":
                    return self._answer(*_error(429, "rate_limit_error", "not so fast"))
                if fate == "dropped":
                    return self._hang_up()
                if fate == "broken":
                    return self._answer(*psp.broken(self.path, form, key))
                answer = psp.post(self.path, form, key)
            return self._hang_up() if fate == "lost" else self._answer(*answer)

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _hang_up(self) -> None:
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    psp.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield psp
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _form(text: str) -> dict[str, Any]:
    """``a=1&metadata[b]=2`` as a tree of one level."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, _, rest = name.partition("[")
        if rest:
            tree.setdefault(head, {})[rest.rstrip("]")] = value
        else:
            tree[head] = value
    return tree


def _declines(card: str, amount: int) -> bool:
    if card.startswith(LIMIT_PREFIX):
        return amount > int(card.removeprefix(LIMIT_PREFIX))
    return card == "pm_card_declined"


def _error(status: int, kind: str, message: str) -> Answer:
    return status, {"error": {"type": kind, "message": message}}


def _card_error(code: str) -> Answer:
    error = {"type": "card_error", "code": "card_declined", "decline_code": code}
    return 402, {"error": error | {"message": "Your card was declined."}}


def _missing(name: str) -> Answer:
    return _error(404, "invalid_request_error", f"No such payment_intent: {name}")


def _listed(rows: list[dict[str, Any]], limit: int = PAGE_MAX) -> Answer:
    return 200, {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit}
