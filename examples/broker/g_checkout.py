"""System G: a lamp seen on a display is ordered, shipped in two parcels, and partly returned.

python examples/broker/g_checkout.py
"""

from __future__ import annotations

import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live import Client, euro, tell

from broker.systems.merchants import sign


def story(broker: Client) -> None:
    """Anna picks at the display; the merchant signs the offer; she pays for what is handed over."""
    anna, lights = broker.name("anna"), broker.name("lights")
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    broker.put(f"/v1/merchants/{lights}", {"public_key": public}, If_Match='"0"')
    broker.post("/v1/accounts", {"account": anna, "currency": "EUR", "limit_minor": 20_000})

    checkout = broker.name("checkout")
    offer: dict[str, Any] = {
        "currency": "EUR",
        "lines": [
            {"line_id": "lamp", "name": "lamp", "quantity": 1, "total_minor": 4_000, "gtin": ""},
            {"line_id": "bulb", "name": "bulb", "quantity": 2, "total_minor": 500, "gtin": ""},
        ],
        "ways": [
            {"way": "home", "by": "ship", "price_minor": 490, "regions": ["DE-BY"]},
            {"way": "counter", "by": "pick_up", "price_minor": 0, "regions": []},
        ],
        "extras": [{"extra": "gift_wrap", "price_minor": 250}],
        "tax_minor": 0,
        "discount_minor": 300,
        "valid_until_s": int(time.time()) + 3_600,
    }
    promise = {"checkout": checkout, "merchant": lights, "offer": offer}
    wish = {"checkout": checkout, "account": anna, "merchant": lights, "offer": offer}
    wish["merchant_signature"] = sign(key, "checkout", promise)
    broker.post("/v1/checkouts", wish)
    print("The merchant signed the offer: a lamp, two bulbs, ways to get them")

    choice = {"way": "home", "chosen_extras": ["gift_wrap"]}
    choice["destination"] = {"region": "DE-BY", "address": "Lindenweg 3, Hof"}
    seen = broker.put(f"/v1/checkouts/{checkout}", choice, If_Match='"1"')
    print(f"Shipped home, gift wrapped: {euro(seen['total_minor'])} in all")
    order = broker.name("order")
    stale = {"order_id": order, "totals_hash": "0" * 64}
    print(
        f"Completing another total: {broker.refused(f'/v1/checkouts/{checkout}/complete', stale)}"
    )
    done = {"order_id": order, "totals_hash": seen["totals_hash"]}
    broker.post(f"/v1/checkouts/{checkout}/complete", done)
    held = broker.get(f"/v1/accounts/{anna}")["held_minor"]
    print(f"Completed: {euro(held)} are held, nothing is charged yet")

    notice = broker.get(f"/v1/merchants/{lights}/notices")["notices"][0]
    print(f"The merchant is told: {notice['what']}")
    broker.post(f"/v1/orders/{order}/accept")
    for shipment, line in (("s1", "lamp"), ("s2", "bulb")):
        parcel = {"shipment": shipment, "line_ids": [line]}
        broker.post(f"/v1/orders/{order}/shipments", parcel)
        event = {"event": f"{shipment}-1", "happened": "handed_over"}
        path = f"/v1/orders/{order}/shipments/{shipment}/events"
        sent = broker.post(path, event)
        broker.post(path, event)  # the carrier tells it twice
        print(f"  the {line} is handed over: {euro(sent['amount_minor'])} are charged, once")
    back = {"event": "s2-back", "happened": "returned"}
    broker.post(f"/v1/orders/{order}/shipments/s2/events", back)
    state, owed = broker.get(f"/v1/orders/{order}")["state"], broker.get(f"/v1/accounts/{anna}")
    print(f"The bulbs came back. The order is {state}; Anna owes {euro(owed['owed_minor'])}")


if __name__ == "__main__":
    tell(story)
