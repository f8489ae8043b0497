"""System H: a merchant is told, signed, in order and once, also after it was away.

python examples/broker/h_webhooks.py
"""

from __future__ import annotations

import http.server
import threading
import time
from typing import Any

from live import Client, tell

from cloud_sync.webhooks import Signing, signer, verify

WAIT_S = 60.0


class Shop(http.server.BaseHTTPRequestHandler):
    """A merchant's receiver."""

    signing: Signing
    heard: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, event = verify(self.signing, dict(self.headers), body, time.time_ns())
        self.heard.append(f"{event.type} {event.data['about']}")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Its log is nobody's business here."""


def story(broker: Client) -> None:
    """A shop hears of the visits it sold; it breaks, and nothing is lost."""
    shop, visit = broker.name("shop"), broker.name("visit")
    Shop.heard = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/hook"

    name = broker.name("hook")
    wish = {"endpoint": name, "party": f"merchant:{shop}", "url": url}
    refused = broker.refused("/v1/webhook-endpoints", wish)
    print(f"An address on the inside is nobody's to name unasked: {refused}")
    made = broker.post("/v1/webhook-endpoints", {**wish, "network": "private"})
    Shop.signing = signer(made["secret"])
    print("The operator allows it for this story; the secret is shown once, and stored nowhere")

    anna = broker.name("anna")
    broker.post("/v1/accounts", {"account": anna, "currency": "EUR", "limit_minor": 20_000})
    for number in (1, 2):
        sold(broker, shop, anna, f"{visit}-{number}")
    until(lambda: len(Shop.heard) == 2)
    print(f"The shop heard, signed and in order: {', '.join(word(one) for one in Shop.heard)}")

    server.shutdown()
    server.server_close()
    sold(broker, shop, anna, f"{visit}-3")
    until(lambda: listed(broker, name)[-1]["attempts"] >= 1)
    last = listed(broker, name)[-1]
    print(f"The shop is down: its third message is {last['state']}, and the queue holds")
    print(f"{broker.get('/v1/queue')['depth']} that wait; all else goes on")

    Shop.heard = []
    host, port = "127.0.0.1", server.server_address[1]
    server = http.server.ThreadingHTTPServer((host, port), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    until(lambda: len(Shop.heard) >= 1)
    print(f"It is back and hears: {word(Shop.heard[0])}")
    first = listed(broker, name)[0]
    broker.post(f"/v1/webhook-messages/{first['message']}/replay")
    until(lambda: len(Shop.heard) >= 2)
    print(f"Sent once more on request, under the same id: {word(Shop.heard[1])}")
    server.shutdown()
    server.server_close()


def sold(broker: Client, shop: str, anna: str, trip: str) -> None:
    """A visit from the gate to the settled purchase."""
    gate = {"merchant": shop, "store": "lab", "gate": "north", "currency": "EUR"}
    came = {"credential_kind": "app", "presented": anna, "wanted_minor": 1_000}
    entry = broker.post("/v1/entries", {"entry": f"e-{trip}", **gate, **came})
    broker.post("/v1/trips", {"trip": trip, "entries": [entry["entry"]]})
    cart = {"cart_state": "final", "cart_lines": [{"line_id": "tea", "gtin": "", "units": 1}]}
    broker.put(f"/v1/trips/{trip}/cart", cart, If_Match='"1"')
    price = {"priced": [{"line_id": "tea", "total_minor": 250}], "total_minor": 250}
    broker.post(f"/v1/trips/{trip}/settle", {"purchase": f"p-{trip}", "currency": "EUR", **price})


def listed(broker: Client, endpoint: str) -> Any:
    return broker.get(f"/v1/webhook-endpoints/{endpoint}/messages")["messages"]


def word(heard: str) -> str:
    """Without the run's suffix, which says nothing here."""
    kind, _, about = heard.partition(" ")
    return f"{kind} of visit {about.rpartition('-')[2]}"


def until(happened: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError("the webhook did not come")
        time.sleep(0.05)


if __name__ == "__main__":
    tell(story)
