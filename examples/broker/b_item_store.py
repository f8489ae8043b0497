"""System B: an office pantry that the company pays, with an invitation for each colleague.

python examples/broker/b_item_store.py
"""

from __future__ import annotations

from live import Client, euro, tell

COLA, MAGAZINE = "4006381333931", "9771234567003"


def story(broker: Client) -> None:
    """The office sponsors cola; Carla takes two and a magazine and pays the magazine alone."""
    pantry, carla = broker.name("pantry"), broker.name("carla")
    limits = {
        "gtins": [COLA],
        "max_item_minor": 300,
        "max_items": 2,
        "max_amount_minor": 500,
        "interval": "day",
        "valid_until_s": 2**40,
    }
    asked = {"organizer": "Office", "payment_ref": "tok_office", "currency": "EUR"}
    broker.post("/v1/item-stores", {"item_store": pantry, "params": limits, **asked})
    funding = {"funding": broker.name("funding"), "amount_minor": 5_000, "currency": "EUR"}
    broker.post(f"/v1/item-stores/{pantry}/fundings", funding)
    broker.post(f"/v1/item-stores/{pantry}/open")
    print(f"The office opens a pantry with {euro(5_000)}: two colas a day for each colleague")

    wish = {"invitation": broker.name("invitation"), "contact": "carla@example.org"}
    invited = broker.post(f"/v1/item-stores/{pantry}/invitations", wish)
    stolen = {"code": invited["code"], "consumer": "thief"}
    print(f"Somebody else who got the link is told: {broker.refused('/v1/claims', stolen)}")
    claim = {"code": invited["code"], "consumer": carla, "contact": "carla@example.org"}
    grant = broker.post("/v1/claims", claim)["grant"]
    print("Carla claims her invitation")

    account = {"account": carla, "currency": "EUR", "limit_minor": 5_000}
    broker.post("/v1/accounts", account)
    visit = {"store": "lab", "visit": broker.name("visit")}
    hold = {"hold": broker.name("hold"), "account": carla, "credential": broker.name("c")}
    broker.post("/v1/holds", {**hold, **visit, "amount_minor": 3_000, "currency": "EUR"})
    lines = [
        {"line_id": "1", "gtin": COLA, "quantity": 3, "total_minor": 447},
        {"line_id": "2", "gtin": MAGAZINE, "quantity": 1, "total_minor": 550},
    ]
    cart = {"redemption": broker.name("redemption"), "grant": grant, "lines": lines, **visit}
    reply = broker.post("/v1/redemptions", cart)
    print(f"She takes three colas and a magazine, {euro(997)} in all:")
    print(f"  the office pays {euro(reply['sponsor_minor'])}, she {euro(reply['consumer_minor'])}")
    done = {
        "capture": broker.name("capture"),
        "merchant": "corner-shop",
        "purchase": broker.name("purchase"),
        "handover": "gate",
        "consumer_hold": hold["hold"],
    }
    broker.post(f"/v1/redemptions/{cart['redemption']}/fulfil", done)
    owed = broker.get(f"/v1/accounts/{carla}")["owed_minor"]
    print(f"At the gate both are charged in one go; Carla owes {euro(owed)}")
    (notice,) = broker.get(f"/v1/item-stores/{pantry}/notices")["notices"]
    goods = notice["items"] or "not shown"
    print(f"The office is told: {euro(notice['sponsor_minor'])}, goods {goods}")
    left = broker.get(f"/v1/item-stores/{pantry}")["available_minor"]
    print(f"{euro(left)} are left in the pantry")


if __name__ == "__main__":
    tell(story)
