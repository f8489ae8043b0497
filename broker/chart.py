"""Chart of accounts: which kinds of ledger account there are, and which have a floor.

An account is ``kind`` or ``kind:owner``, once per currency. A debit is positive, a credit negative;
``balance`` is credits less debits, what we owe the owner. An account with a *floor* keeps its
balance and what is held on it in one row, and balance less held never falls below the floor. All
others keep no balance: theirs is the sum of their postings, so that a shop that everybody's
purchase credits is no row that everybody waits for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PSP_CLEARING = "psp_clearing"
REFUND_CLEARING = "refund_clearing"
SHOPPER_RECEIVABLE = "shopper_receivable"
MERCHANT_PAYABLE = "merchant_payable"
ACCOUNT = re.compile(r"[a-z_]{1,32}(:[^\x00-\x1f\x7f]{1,200})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``floor``: the least its balance less holds may be; None = no floor, no stored balance."""

    means: str
    owned: bool  # written with an owner: wallet:anna
    floor: int | None = None
    opened: bool = False  # has a row of its own before its first posting, with its own floor
    free: bool = True  # POST /v1/transfers may name it


CHART: Mapping[str, Kind] = {
    SHOPPER_RECEIVABLE: Kind(
        means="what a shopper owes; the floor is the shopper's limit, negated",
        owned=True,
        floor=0,
        opened=True,
        free=False,
    ),
    MERCHANT_PAYABLE: Kind(means="what we owe a retailer", owned=True),
    PSP_CLEARING: Kind(means="collected by the payment provider, not paid out yet", owned=False),
    REFUND_CLEARING: Kind(means="to be given back through the payment provider", owned=False),
    "wallet": Kind(means="a prepaid wallet", owned=True, floor=0),
    "sponsor_budget": Kind(means="what a sponsor set aside", owned=True, floor=0),
    "gift_escrow": Kind(means="gifts that nobody has claimed yet", owned=False, floor=0),
    "promo_fund": Kind(means="what a brand set aside for coupons", owned=True, floor=0),
    "bid_margin": Kind(means="quoted price less the winner's", owned=False),
    "fees": Kind(means="our fees", owned=False),
    "bad_debt": Kind(means="debts given up", owned=False),
}


class UnknownAccountError(ValueError):
    """No account of the chart."""


def kind_of(account: str) -> Kind:
    """The kind of a ledger account.

    Raises:
        UnknownAccountError: none of the chart, or written with an owner it should not have.
    """
    name, colon, owner = account.partition(":")
    kind = CHART.get(name)
    if kind is None or not ACCOUNT.fullmatch(account) or kind.owned != bool(colon and owner):
        known = ", ".join(f"{n}:<owner>" if k.owned else n for n, k in CHART.items())
        raise UnknownAccountError(f"not in the chart of accounts: {known}")
    return kind


def receivable(account: str) -> str:
    """The ledger account of what a shopper owes."""
    return f"{SHOPPER_RECEIVABLE}:{account}"


def shopper_of(account: str) -> str:
    """The shopper's account behind a ledger account."""
    return account.removeprefix(f"{SHOPPER_RECEIVABLE}:")


def payable(merchant: str) -> str:
    """The ledger account of what we owe a retailer."""
    return f"{MERCHANT_PAYABLE}:{merchant}"
