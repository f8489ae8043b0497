"""System C: small purchases charged as one, invoiced, corrected, and paid out to the seller.

python examples/broker/c_statements.py
"""

from __future__ import annotations

import re

from live import Client, euro, tell

CENT_PER_CHARGE, PERCENT = 25, 1.5  # a published price of card charges in the EEA


def story(broker: Client) -> None:
    """Anna drinks five coffees at 1.30; one charge, one invoice; a bun comes back later."""
    anna, kiosk = broker.name("anna"), broker.name("kiosk")
    account = {"account": anna, "currency": "EUR", "limit_minor": 2_000}
    broker.post("/v1/accounts", account)
    home = {"name": "A Household", "country": "DE", "city": "Berlin"}
    broker.post("/v1/buyers", {"account": anna, "invoice_to": home, "close_minor": 500})
    shop = {"name": "Kiosk Nord", "country": "DE", "vat_id": "DE123456789"}
    terms = {"currency": "EUR", "payout_ref": "iban-token", "fee_bp": 150, "fee_minor": 25}
    prefix = f"K{broker.run.upper()}"
    seller = {"merchant": kiosk, "invoice_from": shop, "invoice_prefix": prefix, **terms}
    broker.post("/v1/sellers", seller)

    for day in range(5):
        visit = _visit(broker, anna, kiosk, day)
    statement = visit["statement"]
    total = broker.get(f"/v1/statements/{statement}")["total_minor"]
    print(f"Five visits are gathered in one statement of {euro(total)}")
    alone = 5 * CENT_PER_CHARGE + total * PERCENT / 100
    print(f"  charged one by one the fees would be {alone / total:.0%} of it,")
    print(f"  together they are {(CENT_PER_CHARGE + total * PERCENT / 100) / total:.0%}")

    (number,) = broker.post(f"/v1/statements/{statement}/close")["invoices"]
    invoice = broker.get(f"/v1/invoices/{number}")
    text = broker.text(f"/v1/invoices/{number}/ubl")
    print(f"Invoice {number[-6:]}: net {euro(invoice['net_minor'])}, VAT")
    print(f"  {euro(invoice['vat_minor'])}, rounding {euro(invoice['rounding_minor'])}, payable")
    print(f"  {euro(invoice['payable_minor'])}; {len(re.findall('<cac:InvoiceLine>', text))} lines")
    paid = {"payment": broker.name("payment"), "amount_minor": total, "currency": "EUR"}
    state = broker.post(f"/v1/statements/{statement}/payments", paid)["state"]
    print(f"The payment provider collects it at once: {state}")

    back = {"refund": broker.name("refund"), "line_id": "2", "quantity": 1, "reason": "stale"}
    refund = broker.post(f"/v1/micro-purchases/{visit['capture']}/refunds", back)
    print(f"A bun comes back: credit note {refund['credit_note'][-6:]} over")
    print(f"  {euro(refund['amount_minor'])}; the issued statement stays as it is")
    payout = broker.post("/v1/payouts", {"payout": broker.name("payout"), "merchant": kiosk})
    broker.post(f"/v1/payouts/{payout['payout']}/send")
    print(f"The kiosk gets {euro(payout['net_minor'])}: sold {euro(payout['gross_minor'])},")
    print(f"  back {euro(payout['refunds_minor'])}, fee {euro(payout['fee_minor'])}")


def _visit(broker: Client, anna: str, kiosk: str, day: int) -> dict[str, str]:
    """Anna's visit of a day, captured and gathered; a bun on the last."""
    lines = [{"line_id": "1", "name": "Coffee", "quantity": 1, "gross_minor": 130, "vat_bp": 1900}]
    if day == 4:
        lines.append(
            {"line_id": "2", "name": "Bun", "quantity": 2, "gross_minor": 198, "vat_bp": 700}
        )
    amounts = [int(line["gross_minor"]) for line in lines]
    name, capture = broker.name(f"hold{day}"), broker.name(f"capture{day}")
    hold = {"hold": name, "account": anna, "store": "lab", "credential": broker.name("c")}
    hold |= {"visit": broker.name(f"visit{day}"), "currency": "EUR"}
    broker.post("/v1/holds", {**hold, "credential": name, "amount_minor": sum(amounts)})
    taken = {"capture": capture, "merchant": kiosk, "purchase": name, "currency": "EUR"}
    money = {"amount_minor": sum(amounts), "line_totals": amounts}
    broker.post(f"/v1/holds/{name}/capture", {**taken, **money})
    found: dict[str, str] = broker.post(
        "/v1/micro-purchases", {"capture": capture, "purchase_lines": lines}
    )
    return found


if __name__ == "__main__":
    tell(story)
