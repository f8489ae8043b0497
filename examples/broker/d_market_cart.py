"""System D: one cart over two merchants of a food hall, one charge, and a shared lunch.

python examples/broker/d_market_cart.py
"""

from __future__ import annotations

import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live import Client, euro, tell

from broker.systems.merchants import sign


def story(broker: Client) -> None:
    """Anna eats from two kitchens and pays once; her team buys from the cart she shares."""
    kitchens = {name: Ed25519PrivateKey.generate() for name in ("bakery", "grill")}
    for name, key in kitchens.items():
        public = key.public_key().public_bytes_raw().hex()
        merchant = {"public_key": public, "fee_permille": 25}
        broker.put(f"/v1/merchants/{broker.name(name)}", merchant, If_Match='"0"')
    for name in ("anna", "ben"):
        account = {"account": broker.name(name), "currency": "EUR", "limit_minor": 10_000}
        broker.post("/v1/accounts", account)

    cart = _cart(broker, kitchens, "cart")
    seen = broker.get(f"/v1/carts/{cart}")
    print(f"Two kitchens priced and signed their parts: {euro(seen['total_minor'])} in all")
    wish = {"purchase": broker.name("p"), "total_minor": seen["total_minor"] - 1}
    less = broker.refused(f"/v1/carts/{cart}/purchase", {**wish, "shown": seen["shown"]})
    print(f"An app that shows another total gets: {less}")
    wish |= {"total_minor": seen["total_minor"], "shown": seen["shown"]}
    done = broker.post(f"/v1/carts/{cart}/purchase", wish)
    for split in done["splits"]:
        name = split["merchant"].partition("-")[0]
        print(f"  {name} gets {euro(split['amount_minor'])} less {euro(split['fee_minor'])} fee")
    back = {"refund": broker.name("r"), "merchant": broker.name("grill"), "amount_minor": 300}
    broker.post(f"/v1/carts/{cart}/refunds", back)
    owed = broker.get(f"/v1/accounts/{broker.name('anna')}")["owed_minor"]
    print(f"The grill gives {euro(300)} back at its own cost; Anna owes {euro(owed)}")

    shared = _cart(broker, kitchens, "lunch")
    ref = broker.post(f"/v1/carts/{shared}/refs", {"ref": broker.name("ref"), "mode": "shared"})
    view = broker.get(f"/v1/cart-refs/{ref['code']}")
    lines = [line["name"] for part in view["parts"] for line in part["lines"]]
    print(f"Anna shares the lunch of the team: {', '.join(lines)}; opening it orders nothing")
    take = {
        "code": ref["code"],
        "cart": broker.name("bens"),
        "purchase": broker.name("pb"),
        "account": broker.name("ben"),
        "lines": [{"merchant": broker.name("grill"), "line_id": "fish"}],
        "total_minor": 1_100,
    }
    bought = broker.post("/v1/cart-refs/purchase", take)
    print(f"Ben buys the fish for {euro(bought['total_minor'])}")
    again = {**take, "cart": broker.name("other"), "purchase": broker.name("po")}
    print(f"Who wants the same fish gets: {broker.refused('/v1/cart-refs/purchase', again)}")


def _cart(broker: Client, kitchens: dict[str, Ed25519PrivateKey], word: str) -> str:
    """Anna's cart with a signed part of each kitchen."""
    cart = broker.name(word)
    wish = {"cart": cart, "account": broker.name("anna"), "currency": "EUR"}
    broker.post("/v1/carts", wish)
    menu = {"bakery": [("roll", 333), ("cake", 250)], "grill": [("fish", 1_100)]}
    for name, dishes in menu.items():
        promise: dict[str, Any] = {
            "cart": cart,
            "merchant": broker.name(name),
            "currency": "EUR",
            "lines": [
                {"line_id": dish, "name": dish, "quantity": 1, "total_minor": minor, "gtin": ""}
                for dish, minor in dishes
            ],
            "valid_until_s": int(time.time()) + 600,
        }
        part = {k: promise[k] for k in ("merchant", "lines", "valid_until_s")}
        part["merchant_signature"] = sign(kitchens[name], "cart part", promise)
        broker.post(f"/v1/carts/{cart}/parts", part)
    return cart


if __name__ == "__main__":
    tell(story)
