"""System I: prepaid wallets, one-time codes, gifts, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from both_databases import Ledger
from desk import RACERS, Desk

from broker.routes import Nothing
from broker.store import sweep
from broker.systems import code_payments, gifts, payment_codes, wallets
from broker.systems.code_payments import CodeRefundRequest, ConfirmRequest, TransactionRequest
from broker.systems.gifts import GiftClaim, GiftRequest
from broker.systems.payment_codes import PaymentCodeRequest, ReserveRequest
from broker.systems.wallets import TopupRequest, WalletPayoutRequest, WalletRequest, WalletSignal


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    """Anna has 100 EUR in her wallet, Ben has none in his."""
    desk = Desk(ledger)
    for name in ("anna", "ben"):
        desk.do(wallets.open_wallet, WalletRequest(wallet=name, currency="EUR"))
    desk.do(
        wallets.top_up, TopupRequest(topup="t1", amount_minor=10_000, currency="EUR"), id="anna"
    )
    return desk


def shown(desk: Desk, name: str = "p1", most_minor: int = 3_000, merchant: str = "") -> str:
    """A code on Anna's phone."""
    wish = PaymentCodeRequest(
        payment_request=name, wallet="anna", max_amount_minor=most_minor, only_merchant=merchant
    )
    reply = desk.do(payment_codes.issue, wish)
    assert (reply["state"], reply["code"]) == ("issued", desk.service.signing[0].kid)
    return desk.code(payment_codes.PURPOSE, name)


def charge_of(code: str, amount_minor: int = 1_250, name: str = "x1") -> TransactionRequest:
    return TransactionRequest(
        transaction=name,
        code=code,
        merchant="shop",
        amount_minor=amount_minor,
        currency="EUR",
        purchase=f"purchase-{name}",
    )


def money(desk: Desk, name: str = "anna") -> tuple[int, int]:
    state = desk.ask(wallets.wallet, name)
    return state.balance_minor, state.held_minor


def gift_of(name: str, amount_minor: int = 500, contact: str = "") -> GiftRequest:
    return GiftRequest(gift=name, wallet="anna", amount_minor=amount_minor, contact=contact)


def test_shown_code_opens_the_gate_and_pays_once_at_the_exit(desk: Desk) -> None:
    code = shown(desk)
    assert money(desk) == (10_000, 3_000)
    gate = ReserveRequest(code=code, merchant="shop", store="lab", visit="v1")
    assert desk.do(payment_codes.reserve, gate)["state"] == "reserved"
    desk.now_s += 3_600  # the code's minute is over, the visit is not
    assert desk.do(code_payments.charge, charge_of(code))["state"] == "settled"
    assert money(desk) == (8_750, 0)
    assert desk.balance("merchant_payable:shop") == 1_250
    assert desk.refused(code_payments.charge, charge_of(code, name="x2")) == "code-spent"
    assert desk.do(code_payments.charge, charge_of(code))["state"] == "settled"  # told again
    assert desk.breaches() == {}


def test_photographed_code_is_worth_nothing_after_a_minute_or_a_use(desk: Desk) -> None:
    code = shown(desk)
    desk.now_s += payment_codes.CODE_VALIDITY_S
    assert desk.refused(code_payments.charge, charge_of(code)) == "wrong-state"
    gate = ReserveRequest(code=code, merchant="shop", store="lab", visit="v1")
    assert desk.refused(payment_codes.reserve, gate) == "wrong-state"
    assert money(desk) == (10_000, 0)  # the hold went with it
    used = shown(desk, "p2")
    desk.do(payment_codes.reserve, replace(gate, code=used))
    assert desk.refused(payment_codes.reserve, replace(gate, code=used, visit="v2"))
    assert desk.refused(code_payments.charge, charge_of("A" * 26)) == "unknown-code"
    assert desk.breaches() == {}


def test_merchant_cannot_take_more_than_was_agreed_nor_another_merchants_code(desk: Desk) -> None:
    code = shown(desk, merchant="bakery")
    assert desk.refused(code_payments.charge, charge_of(code)) == "other-merchant"
    mine = shown(desk, "p2", 1_000)
    assert desk.refused(code_payments.charge, charge_of(mine, 1_001)) == "above-code"
    assert money(desk) == (10_000, 4_000)
    assert desk.do(payment_codes.cancel_asked, Nothing(), id="p2")["state"] == "canceled"
    assert desk.refused(code_payments.charge, charge_of(mine, 900)) == "wrong-state"
    assert money(desk) == (10_000, 3_000)


def test_codes_together_never_hold_more_than_is_there(desk: Desk) -> None:
    shown(desk, "p1", 6_000)
    second = PaymentCodeRequest(payment_request="p2", wallet="anna", max_amount_minor=6_000)
    assert desk.refused(payment_codes.issue, second) == "insufficient-funds"
    desk.now_s += payment_codes.CODE_VALIDITY_S
    assert desk.do(payment_codes.issue, second)["state"] == "issued"


def test_sixty_four_racers_on_one_code_make_one_payment(desk: Desk) -> None:
    code = shown(desk)
    done, slugs = desk.race(
        code_payments.charge, [charge_of(code, 1_000, f"x{i}") for i in range(RACERS)]
    )
    assert [one["state"] for one in done] == ["settled"]
    assert set(slugs) == {"code-spent"}
    assert money(desk) == (9_000, 0)
    assert desk.breaches() == {}


def test_large_payment_waits_for_the_shopper_and_silence_is_no(desk: Desk) -> None:
    code = shown(desk, most_minor=8_000)
    assert desk.do(code_payments.charge, charge_of(code, 7_000))["state"] == (
        "awaiting-confirmation"
    )
    assert money(desk) == (10_000, 8_000)
    yes = desk.do(code_payments.confirm, ConfirmRequest(approve=True), id="x1")
    assert yes["state"] == "settled"
    assert money(desk) == (3_000, 0)
    low = WalletRequest(wallet="carla", currency="EUR", confirm_above_minor=0)
    desk.do(wallets.open_wallet, low)
    desk.do(wallets.top_up, TopupRequest(topup="t2", amount_minor=900, currency="EUR"), id="carla")
    asked = PaymentCodeRequest(payment_request="p2", wallet="carla", max_amount_minor=900)
    desk.do(payment_codes.issue, asked)
    desk.do(code_payments.charge, charge_of(desk.code(payment_codes.PURPOSE, "p2"), 800, "x2"))
    desk.now_s += code_payments.CONFIRM_S
    assert desk.ask(code_payments.transaction, "x2").state == "refused"
    assert desk.refused(code_payments.confirm, ConfirmRequest(approve=True), id="x2")
    assert money(desk, "carla") == (900, 0)
    desk.ledger.do(lambda db: sweep(db, desk.now_s))
    assert desk.breaches() == {}


def test_revoked_transaction_gives_back_and_one_that_comes_late_never_pays(desk: Desk) -> None:
    code = shown(desk)
    desk.do(code_payments.charge, charge_of(code))
    assert desk.do(code_payments.revoke, Nothing(), id="x1")["state"] == "revoked"
    assert desk.do(code_payments.revoke, Nothing(), id="x1")["state"] == "revoked"
    assert money(desk) == (10_000, 0)
    desk.do(code_payments.revoke, Nothing(), id="late")  # no answer came; it had not arrived
    late = charge_of(shown(desk, "p2"), name="late")
    assert desk.refused(code_payments.charge, late) == "transaction-revoked"
    assert desk.breaches() == {}


def test_refund_goes_back_into_the_wallet_and_never_exceeds_the_payment(desk: Desk) -> None:
    desk.do(code_payments.charge, charge_of(shown(desk), 1_000))
    part = CodeRefundRequest(refund="r1", amount_minor=400)
    for _ in range(2):
        assert desk.do(code_payments.refund, part, id="x1")["amount_minor"] == 400
    more = CodeRefundRequest(refund="r2", amount_minor=601)
    assert desk.refused(code_payments.refund, more, id="x1") == "refund-above-capture"
    assert money(desk) == (9_400, 0)
    desk.do(code_payments.revoke, Nothing(), id="x1")
    assert money(desk) == (10_000, 0)
    assert desk.breaches() == {}


def test_gift_leaves_at_once_and_comes_back_exactly_once(desk: Desk) -> None:
    desk.do(gifts.send, gift_of("g1"))
    assert (money(desk)[0], desk.balance("gift_escrow")) == (9_500, 500)
    code = desk.code(gifts.PURPOSE, "g1")
    assert desk.do(gifts.claim, GiftClaim(code=code, wallet="ben"))["state"] == "claimed"
    assert desk.refused(gifts.revoke, Nothing(), id="g1") == "wrong-state"
    assert desk.refused(gifts.claim, GiftClaim(code=code, wallet="anna")) == "wrong-state"
    desk.do(gifts.send, gift_of("g2"))
    desk.do(gifts.revoke, Nothing(), id="g2")
    desk.do(gifts.send, gift_of("g3"))
    desk.now_s += gifts.VALIDITY_S
    late = GiftClaim(code=desk.code(gifts.PURPOSE, "g3"), wallet="ben")
    assert desk.refused(gifts.claim, late) == "wrong-state"
    for _ in range(2):
        desk.ledger.do(lambda db: gifts.return_due(db, desk.now_s))
    assert (money(desk), money(desk, "ben")) == ((9_500, 0), (500, 0))
    assert desk.balance("gift_escrow") == 0
    assert desk.breaches() == {}


def test_sixty_four_claimers_and_a_regretful_sender_end_a_gift_once(desk: Desk) -> None:
    desk.do(gifts.send, gift_of("g1"))
    code = desk.code(gifts.PURPOSE, "g1")
    for i in range(RACERS):
        desk.do(wallets.open_wallet, WalletRequest(wallet=f"w{i}", currency="EUR"))
    wishes: list[Any] = [GiftClaim(code=code, wallet=f"w{i}") for i in range(RACERS)]
    done, slugs = desk.race(gifts.claim, wishes)
    assert len(done) == 1
    assert set(slugs) == {"wrong-state"}
    assert desk.breaches() == {}


def test_gift_is_the_addressees_and_caps_keep_it_small(desk: Desk) -> None:
    desk.do(gifts.send, gift_of("g1", contact="Ben@example.org"))
    code = desk.code(gifts.PURPOSE, "g1")
    assert desk.refused(gifts.claim, GiftClaim(code=code, wallet="ben")) == "not-the-addressee"
    mine = GiftClaim(code=code, wallet="ben", contact=" ben@EXAMPLE.org")
    assert desk.do(gifts.claim, mine)["claimed_by"] == "ben"
    too_much = gift_of("g2", gifts.GIFT_MAX_MINOR + 1)
    assert desk.refused(gifts.send, too_much) == "gift-limit"
    texts = desk.ledger.rows("SELECT contact_hash, note, code_hash FROM gift")
    assert not any("ben@" in text or code in text for text in texts[0])


def test_wallet_has_a_ceiling_and_is_closed_only_when_empty(desk: Desk) -> None:
    full = TopupRequest(topup="t2", amount_minor=wallets.BALANCE_MAX_MINOR, currency="EUR")
    assert desk.refused(wallets.top_up, full, id="anna") == "wallet-full"
    close, block = WalletSignal.CLOSE, WalletSignal.BLOCK
    assert desk.refused(wallets.signalled(close), Nothing(), id="anna") == "wallet-not-empty"
    desk.do(wallets.signalled(block), Nothing(), id="anna")
    wish = PaymentCodeRequest(payment_request="p1", wallet="anna", max_amount_minor=100)
    assert desk.refused(payment_codes.issue, wish) == "wallet-not-open"
    out = WalletPayoutRequest(payout="o1", amount_minor=10_000, currency="EUR")
    desk.do(wallets.pay_out, out, id="anna")
    assert desk.do(wallets.signalled(close), Nothing(), id="anna")["status"] == "closed"
    assert desk.balance("refund_clearing") == 10_000
    page = desk.ask(wallets.entries, "anna", 0, 10)
    assert [(e.movement, e.amount_minor) for e in page.entries] == [
        ("topup", 10_000),
        ("wallet-payout", -10_000),
    ]
    assert desk.breaches() == {}


PLANTED = {
    "wallets: a wallet's balance is what came in less what went out": (
        "UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE account = 'wallet:anna'"
    ),
    "wallets: the escrow is the sum of gifts that nobody has claimed": (
        "UPDATE gift SET amount_minor = 499 WHERE gift = 'g1'"
    ),
    "wallets: a gift leaves once and ends once, by its own journals": (
        "UPDATE gift SET state = 'returned', ended_journal = (SELECT journal FROM capture)"
    ),
    "wallets: a code pays once, its own merchant, within its maximum": (
        "UPDATE payment_request SET max_amount_minor = 1249"
    ),
    "wallets: a transaction was paid exactly when it says so": (
        "UPDATE code_payment SET state = 'refused'"
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_is_found(desk: Desk, name: str) -> None:
    desk.do(code_payments.charge, charge_of(shown(desk)))
    desk.do(gifts.send, gift_of("g1"))
    assert desk.breaches() == {}
    desk.ledger.change(PLANTED[name])
    assert name in desk.breaches()
