"""System F: a sofa sold from a sample card; sealed bids decide who delivers, and one defaults.

python examples/broker/f_bids.py
"""

from __future__ import annotations

import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live import Client, Refused, euro, tell

WAIT_S = 30.0


def story(broker: Client) -> None:
    """Anna buys at the display's price; three shops bid for the delivery."""
    anna = broker.name("anna")
    broker.post("/v1/accounts", {"account": anna, "currency": "EUR", "limit_minor": 50_000})
    shops = ("near", "cheap", "fast")
    for shop in shops:
        public = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
        broker.put(f"/v1/merchants/{broker.name(shop)}", {"public_key": public}, If_Match='"0"')
    item = {"name": "sofa", "price_minor": 10_000, "currency": "EUR"}
    broker.put(f"/v1/display-items/{broker.name('sofa')}", item, If_Match='"0"')

    sale = {
        "sale": broker.name("sale"),
        "account": anna,
        "item": broker.name("sofa"),
        "region": "DE-BY",
        "price_minor": 10_000,
        "closes_in_s": 2,
        "criteria": ["total", "eta"],
    }
    sold = broker.post("/v1/display-sales", sale)
    print(f"Anna buys the sofa for {euro(sold['price_minor'])}; now shops bid for the delivery")
    path = f"/v1/bid-requests/{sold['request']}"
    seen = broker.get(path)
    print(f"  they see: {seen['items'][0]} to {seen['region']}, and nobody's name")
    receipts = {}
    for shop, price, days in (("near", 7_000, 3), ("cheap", 6_000, 3), ("fast", 8_000, 1)):
        bid = {
            "bid_id": broker.name(shop),
            "merchant": broker.name(shop),
            "price_minor": price,
            "shipping_minor": 500,
            "eta_days": days,
            "stock_until_s": int(time.time()) + 90_000,
        }
        receipts[shop] = broker.post(f"{path}/bids", bid)["digest"]
    print(f"Three sealed bids are in; who asks for the log gets: {_slug(broker, f'{path}/log')}")

    deadline = time.monotonic() + WAIT_S
    while _slug(broker, f"{path}/award") == "unknown-award" and time.monotonic() < deadline:
        time.sleep(0.2)
    log = broker.get(f"{path}/log")
    print(f"Closed. The log is public, every receipt is in it: {_all_in(receipts, log)}")
    award = broker.get(f"{path}/award")
    print(f"The best is {_shop(award)}, {euro(award['total_minor'])} with shipping")
    declined = broker.post(f"{path}/award/decline")
    print(f"It says no, which costs it {euro(declined['penalty_minor'])}; Anna's price stands")
    award = broker.get(f"{path}/award")
    broker.post(f"{path}/award/confirm")
    broker.post(f"{path}/award/fulfill")
    owed = broker.get(f"/v1/accounts/{anna}")["owed_minor"]
    print(f"{_shop(award)} delivers for {euro(award['total_minor'])}. Anna owes {euro(owed)}")


def _slug(broker: Client, path: str) -> str:
    try:
        broker.get(path)
    except Refused as refusal:
        return refusal.slug
    return "an answer"


def _all_in(receipts: dict[str, str], log: dict[str, list[str]]) -> str:
    return "yes" if set(receipts.values()) <= set(log["digests"]) else "no"


def _shop(award: dict[str, str]) -> str:
    return award["merchant"].partition("-")[0]


if __name__ == "__main__":
    tell(story)
