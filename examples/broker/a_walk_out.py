"""System A: walk in, take what you like, walk out; a debt, the deny list, a dispute.

python examples/broker/a_walk_out.py
"""

from __future__ import annotations

from typing import Any

from live import Client, euro, tell


def story(broker: Client) -> None:
    """Anna shops twice: once all is well but for a bottle, once her card does not reach."""
    anna, shop = broker.name("anna"), broker.name("shop")
    account = {"account": anna, "currency": "EUR", "limit_minor": 20_000}
    broker.post("/v1/accounts", account | {"payment_ref": f"tok-{anna}"})

    gate = {"merchant": shop, "store": "lab", "gate": "north", "currency": "EUR"}
    card = {"credential_kind": "card", "presented": f"tok-{anna}", "wanted_minor": 5_000}
    entry = broker.post("/v1/entries", {"entry": broker.name("e1"), **gate, **card})
    held = euro(entry["held_minor"])
    print(f"Anna taps her card: {entry['decision']}, {held} held. The shop knows her as")
    print(f"{entry['account_ref']}, and no other shop does")

    first = broker.name("visit1")
    broker.post("/v1/trips", {"trip": first, "entries": [entry["entry"]]})
    taken = {"milk": 120, "bread": 290, "wine": 900}
    settled = walked_out(broker, first, taken)
    print(
        f"She walks out. The shop's price is {euro(settled['total_minor'])}, captured of the hold"
    )

    wish = {"dispute": broker.name("d"), "capture": settled["capture"], "reason": "I put it back"}
    broker.post("/v1/disputes", {**wish, "contested": [{"line_id": "wine"}]})
    seen = {"evidence_id": "bay-3", "said": "the scale of bay 3 got 1210 g back at 10:42"}
    dispute = broker.post(f"/v1/disputes/{wish['dispute']}/evidence", seen)
    line = dispute["lines"][0]
    print(f"She contests the wine; the store was {line['confidence_permille'] / 10} % sure, and")
    print(f"has evidence: {dispute['evidence'][0]['said']}")
    decision = {"upheld": ["wine"], "note": "it went back"}
    decided = broker.post(f"/v1/disputes/{wish['dispute']}/decide", decision)
    print(f"A person decides: {decided['state']}, {euro(decided['upheld_minor'])} are given back")
    receipt = broker.get(f"/v1/trips/{first}/receipt")
    print("The receipt: " + ", ".join(_line(one) for one in receipt["lines"]))

    entry = broker.post("/v1/entries", {"entry": broker.name("e2"), **gate, **card})
    second = broker.name("visit2")
    broker.post("/v1/trips", {"trip": second, "entries": [entry["entry"]]})
    short = walked_out(broker, second, {"coffee machine": 6_500})
    captured, rest = euro(short["captured_minor"]), euro(short["debt_minor"])
    print(f"Next time {captured} are captured, as much as the hold was, and {rest} are a debt")
    turned = broker.post("/v1/entries", {"entry": broker.name("e3"), **gate, **card})
    print(f"At the gate: {turned['decision']}, {turned['reason']} of {euro(turned['debt_minor'])}")
    paid = {"recovery": broker.name("r"), "amount_minor": 1_500, "currency": "EUR"}
    debt = broker.post(f"/v1/debts/{second}/recoveries", paid)
    again = broker.post("/v1/entries", {"entry": broker.name("e4"), **gate, **card})
    print(f"She pays it ({debt['state']}) and the gate says: {again['decision']}")


def walked_out(broker: Client, trip: str, taken: dict[str, int]) -> Any:
    """The final cart, and the retailer's price of it."""
    lines = [
        {"line_id": name.replace(" ", "-"), "gtin": "", "units": 1, "confidence_permille": 981}
        for name in taken
    ]
    cart = {"cart_state": "final", "cart_lines": lines}
    broker.put(f"/v1/trips/{trip}/cart", cart, If_Match='"1"')
    price = [
        {"line_id": line["line_id"], "total_minor": minor}
        for line, minor in zip(lines, taken.values(), strict=True)
    ]
    total = {"total_minor": sum(taken.values()), "currency": "EUR"}
    return broker.post(
        f"/v1/trips/{trip}/settle", {"purchase": f"p-{trip}", "priced": price, **total}
    )


def _line(line: dict[str, Any]) -> str:
    state = f" ({line['dispute_state']})" if line["dispute_state"] else ""
    return f"{line['line_id']} {euro(line['total_minor'])}{state}"


if __name__ == "__main__":
    tell(story)
