"""Codes, gifts, redemptions, statements, refunds, expiry in any order, on both databases at once.

Both must say the same to every step, and every invariant of the ledger and the systems must hold
whenever one looks.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from both_databases import KINDS, Databases, Ledger, account_of, capture_of, hold_of
from desk import Desk
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from broker import store
from broker.ledger import LedgerRefusalError
from broker.problems import ProblemError
from broker.routes import Nothing
from broker.systems import (
    code_payments,
    coupons,
    gifts,
    invitations,
    item_stores,
    micro_parties,
    micro_refunds,
    payment_codes,
    payouts,
    redemptions,
    statements,
    wallets,
)
from broker.systems import statement_types as micro
from broker.systems.funds import FundingRequest
from broker.systems.goods import CartLine
from broker.systems.redemption_types import FulfilRequest, RedemptionRequest

COLA = "04006381333931"
LOOK_EVERY = 8  # steps between two looks at all invariants; at the end always


class Systems(RuleBasedStateMachine):
    """Two wallets, a sponsor with little money, a buyer and a seller."""

    databases: ClassVar[Databases]
    codes = Bundle("codes")
    gifts_sent = Bundle("gifts_sent")
    redeemed = Bundle("redeemed")
    bought = Bundle("bought")
    amounts = st.integers(1, 900)

    def __init__(self) -> None:
        super().__init__()
        self.desks = [Desk(Ledger(self.databases.new(kind))) for kind in KINDS]
        self.numbers, self.steps = itertools.count(), 0
        for name in ("anna", "ben"):
            self.do(wallets.open_wallet, wallets.WalletRequest(wallet=name, currency="EUR"))
            self.effect(lambda db, now, n=name: store.open_account(db, account_of(n), now))
        self.top_up(1_500)
        self._pantry()
        self._kiosk()

    def _pantry(self) -> None:
        limits = item_stores.Params(
            gtins=[COLA], max_item_minor=400, max_items=4, max_amount_minor=700,
            interval="day", valid_until_s=2**40,
        )  # fmt: skip
        asked = item_stores.ItemStoreRequest(
            item_store="pantry", organizer="O", payment_ref="t", currency="EUR", params=limits
        )
        self.do(item_stores.create, asked)
        paid = FundingRequest(funding="f", amount_minor=1_200, currency="EUR")
        self.do(item_stores.fund, paid, id="pantry")
        self.do(item_stores.signalled(item_stores.StoreSignal.OPEN), Nothing(), id="pantry")
        for name in ("anna", "ben"):
            self.do(invitations.invite, invitations.InvitationRequest(invitation=name), id="pantry")
            code = self.desks[0].code(invitations.PURPOSE, name)
            self.do(invitations.claim, invitations.ClaimRequest(code=code, consumer=name))

    def _kiosk(self) -> None:
        home = micro_parties.Party(name="Home", country="DE")
        shop = micro_parties.Party(name="Shop", country="DE", vat_id="DE123456789")
        wish = micro_parties.BuyerRequest(account="anna", invoice_to=home, close_minor=100)
        self.do(micro_parties.register_buyer, wish)
        seller = micro_parties.SellerRequest(
            merchant="shop", currency="EUR", payout_ref="t", invoice_prefix="S",
            invoice_from=shop, fee_bp=200,
        )  # fmt: skip
        self.do(micro_parties.register_seller, seller)

    # --- both ---------------------------------------------------------------------------------

    def do(self, effect: Callable[..., Any], asked: Any, **path: str) -> Any:
        return self.same(lambda desk: desk.do(effect, asked, **path))

    def effect(self, work: Callable[..., Any]) -> Any:
        def one(desk: Desk) -> Any:
            answer = desk.ledger.do(lambda db: work(db, desk.now_s))
            return json.loads(answer.body) if hasattr(answer, "body") else answer

        return self.same(one)

    def same(self, work: Callable[[Desk], Any]) -> Any:
        said = [self.said(work, desk) for desk in self.desks]
        assert said[0] == said[1]
        return said[0]

    def said(self, work: Callable[[Desk], Any], desk: Desk) -> Any:
        """The reply without numbers of journals, or the slug of the refusal."""
        try:
            reply = work(desk)
        except ProblemError as problem:
            return problem.slug
        except LedgerRefusalError as refusal:
            return refusal.reason.value
        return {k: v for k, v in reply.items() if k != "journal"} if isinstance(reply, dict) else 0

    def name(self, word: str) -> str:
        return f"{word}{next(self.numbers)}"

    # --- I ------------------------------------------------------------------------------------

    @rule(amount=amounts)
    def top_up(self, amount: int) -> None:
        wish = wallets.TopupRequest(topup=self.name("t"), amount_minor=amount, currency="EUR")
        self.do(wallets.top_up, wish, id="anna")

    @rule(target=codes, amount=amounts)
    def show_code(self, amount: int) -> Any:
        name = self.name("p")
        wish = payment_codes.PaymentCodeRequest(
            payment_request=name, wallet="anna", max_amount_minor=amount
        )
        said = self.do(payment_codes.issue, wish)
        return name if isinstance(said, dict) else multiple()

    @rule(code=codes)
    def gate(self, code: str) -> None:
        shown = self.desks[0].code(payment_codes.PURPOSE, code)
        wish = payment_codes.ReserveRequest(code=shown, merchant="shop", store="lab", visit="v")
        self.do(payment_codes.reserve, wish)

    @rule(code=codes, amount=amounts)
    def charge(self, code: str, amount: int) -> None:
        wish = code_payments.TransactionRequest(
            transaction=f"x-{code}",
            code=self.desks[0].code(payment_codes.PURPOSE, code),
            merchant="shop",
            amount_minor=amount,
            currency="EUR",
            purchase="p",
        )
        self.do(code_payments.charge, wish)

    @rule(code=codes, amount=amounts)
    def refund(self, code: str, amount: int) -> None:
        wish = code_payments.CodeRefundRequest(refund=self.name("r"), amount_minor=amount)
        self.do(code_payments.refund, wish, id=f"x-{code}")

    @rule(code=codes)
    def revoke(self, code: str) -> None:
        self.do(code_payments.revoke, Nothing(), id=f"x-{code}")

    @rule(code=codes)
    def cancel(self, code: str) -> None:
        self.do(payment_codes.cancel_asked, Nothing(), id=code)

    @rule(target=gifts_sent, amount=amounts)
    def send(self, amount: int) -> Any:
        name = self.name("g")
        wish = gifts.GiftRequest(gift=name, wallet="anna", amount_minor=amount)
        return name if isinstance(self.do(gifts.send, wish), dict) else multiple()

    @rule(gift=gifts_sent, wallet=st.sampled_from(["anna", "ben"]))
    def claim(self, gift: str, wallet: str) -> None:
        code = self.desks[0].code(gifts.PURPOSE, gift)
        self.do(gifts.claim, gifts.GiftClaim(code=code, wallet=wallet))

    @rule(gift=gifts_sent)
    def take_back(self, gift: str) -> None:
        self.do(gifts.revoke, Nothing(), id=gift)

    # --- B ------------------------------------------------------------------------------------

    @rule(target=redeemed, who=st.sampled_from(["anna", "ben"]), pieces=st.integers(1, 4),
          total=amounts)  # fmt: skip
    def redeem(self, who: str, pieces: int, total: int) -> str:
        name = self.name("d")
        line = CartLine(line_id="1", gtin=COLA, quantity=pieces, total_minor=total)
        wish = RedemptionRequest(
            redemption=name, grant=f"grant:{who}", store="lab", visit="v", lines=[line]
        )
        self.do(redemptions.reserve, wish)
        return name

    @rule(name=redeemed)
    def hand_over(self, name: str) -> None:
        wish = FulfilRequest(capture=f"c-{name}", merchant="shop", purchase="p", handover="gate")
        self.do(redemptions.fulfil, wish, id=name)

    @rule(name=redeemed)
    def put_back(self, name: str) -> None:
        self.do(redemptions.release, Nothing(), id=name)

    # --- C ------------------------------------------------------------------------------------

    @rule(target=bought, pieces=st.integers(1, 3), total=st.integers(1, 300))
    def buy(self, pieces: int, total: int) -> Any:
        name = self.name("b")
        hold = self.effect(lambda db, now: store.place_hold(db, hold_of(name, "anna", total), now))
        if hold.get("status") != "held":
            return multiple()
        taken = capture_of(name, total)
        self.effect(lambda db, now: store.capture_hold(db, f"hold-{name}", taken, now))
        line = micro.PurchaseLine(
            line_id="1", name="Tea", quantity=pieces, gross_minor=total, vat_bp=700
        )
        self.do(statements.accrue, micro.PurchaseRequest(capture=name, purchase_lines=[line]))
        return name

    @rule(name=bought)
    def bring_back(self, name: str) -> None:
        wish = micro.MicroRefundRequest(refund=self.name("m"), line_id="1", quantity=1)
        self.do(micro_refunds.refund, wish, id=name)

    @rule(issued=st.sampled_from([True, True, False]))
    def nightly(self, issued: bool) -> None:
        """Sometimes cut off between closing and issuing."""
        self.effect(statements.close_due)
        if issued:
            self.effect(statements.issue_closed)

    @rule(number=st.integers(1, 2), good=st.booleans())
    def collect(self, number: int, good: bool) -> None:
        name = f"anna:{number:06d}"
        if not good:
            self.do(statements.decline, micro.StatementReason(), id=name)
            return
        known = self.desks[0].ledger.rows(
            "SELECT total_minor FROM statement WHERE statement = $1", name
        )
        wish = micro.StatementPayment(
            payment=f"y-{name}", amount_minor=known[0][0] if known else 1, currency="EUR"
        )
        self.do(statements.pay, wish, id=name)

    @rule()
    def pay_out(self) -> None:
        wish = payouts.PayoutRequest(payout=self.name("o"), merchant="shop")
        said = self.do(payouts.make, wish)
        if isinstance(said, dict):
            send = payouts.signalled(payouts.PayoutSignal.SEND)
            self.do(send, Nothing(), id=said["payout"])

    # --- time ---------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([30, 61, 6 * 3600, 24 * 3600, 31 * 24 * 3600]))
    def wait(self, seconds: int) -> None:
        for desk in self.desks:
            desk.now_s += seconds

    @rule()
    def housekeeping(self) -> None:
        for chore in (store.sweep, gifts.return_due, coupons.release_lapsed):
            self.effect(chore)

    @invariant()
    def sound(self) -> None:
        self.steps += 1
        if self.steps % LOOK_EVERY == 0:
            assert self.desks[0].breaches() == {}

    def teardown(self) -> None:
        for desk in self.desks:
            assert desk.breaches() == {}
            desk.ledger.close()
            self.databases.drop(desk.ledger.where)


def test_systems_stay_sound_in_any_order_and_both_databases_agree(databases: Databases) -> None:
    databases.new("postgresql")  # skipped here where there is none
    case = type("Case", (Systems,), {"databases": databases})
    case.TestCase.settings = settings(
        max_examples=8, stateful_step_count=40, deadline=None, database=None
    )
    case.TestCase().runTest()


@pytest.mark.parametrize("kind", KINDS)
def test_the_machine_would_notice_a_payment_without_money(databases: Databases, kind: str) -> None:
    """A payment that says it is settled, with nothing captured for it."""
    desk = Desk(Ledger(databases.new(kind)))
    row = "'x', NULL, 'shop', 1, 'EUR', 'p', 'settled', 0, 0"
    desk.ledger.change(f"INSERT INTO code_payment VALUES ({row})")
    assert desk.breaches() == {"wallets: a transaction was paid exactly when it says so": 1}
    desk.ledger.close()
    databases.drop(desk.ledger.where)
