"""System I: a prepaid wallet, a code that pays once, and a gift to a friend.

python examples/broker/i_wallet.py
"""

from __future__ import annotations

from live import Client, euro, tell


def story(broker: Client) -> None:
    """Anna tops up, walks out paying by a code, and sends Ben what is left for a coffee."""
    anna, ben = broker.name("anna"), broker.name("ben")
    for name in (anna, ben):
        broker.post("/v1/wallets", {"wallet": name, "currency": "EUR"})
    topup = {"topup": broker.name("topup"), "amount_minor": 4_000, "currency": "EUR"}
    broker.post(f"/v1/wallets/{anna}/topups", topup)
    print(f"Anna tops up her wallet: {euro(4_000)}")

    wish = {"payment_request": broker.name("code"), "wallet": anna, "max_amount_minor": 3_000}
    code = broker.post("/v1/payment-requests", wish)
    picture = broker.text(f"/v1/payment-requests/{wish['payment_request']}/qr")
    wallet = broker.get(f"/v1/wallets/{anna}")
    print(f"Her phone shows a code for at most {euro(3_000)} (a QR code of {len(picture)} bytes);")
    print(f"  until it is used or over, {euro(wallet['held_minor'])} are set aside")

    gate = {"code": code["code"], "merchant": "corner-shop", "store": "lab", "visit": "v1"}
    broker.post("/v1/payment-requests/reserve", gate)
    print("The gate reads it and opens: the code now belongs to this visit")
    charge = {
        "transaction": broker.name("sale"),
        "code": code["code"],
        "merchant": "corner-shop",
        "amount_minor": 1_875,
        "currency": "EUR",
        "purchase": broker.name("purchase"),
    }
    paid = broker.post("/v1/transactions", charge)
    print(f"At the exit the shop takes {euro(paid['amount_minor'])}: {paid['state']}")
    again = broker.refused("/v1/transactions", {**charge, "transaction": broker.name("thief")})
    print(f"Somebody who photographed the code gets: {again}")

    wish = {"gift": broker.name("gift"), "wallet": anna, "amount_minor": 500, "note": "a coffee"}
    gift = broker.post("/v1/prepay-messages", wish)
    left = broker.get(f"/v1/wallets/{anna}")["balance_minor"]
    print(f"Anna sends Ben {euro(500)} as a link; her wallet is at {euro(left)} at once")
    claim = {"code": gift["code"], "wallet": ben}
    print(f"Ben claims it: {broker.post('/v1/prepay-messages/claim', claim)['state']}")
    print(f"  once: the sender who wants it back gets {_late(broker, wish['gift'])}")
    for who, name in (("Anna", anna), ("Ben", ben)):
        print(f"{who} has {euro(broker.get(f'/v1/wallets/{name}')['balance_minor'])}")


def _late(broker: Client, gift: str) -> str:
    return broker.refused(f"/v1/prepay-messages/{gift}/revoke")


if __name__ == "__main__":
    tell(story)
