"""Who the reference retailer lets in, and for how much: ``shoppers.toml``.

::

    open_house = true               # accounts that are not listed are let in (the default)
    [[shopper]]
    id = "acct-7"
    reason = "BAD_DEBT"             # empty: authorized; else why not
    hold_minor = 2000               # hold no more than this
    unpaid_minor = 350              # owed from earlier visits

The shoppers of the retailers' test plan (``walkout-check-...``) are always there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from messages.contract import ShopperIdentity
from messages.retailer_contract import (
    Amount,
    Choice,
    Condition,
    EntryReason,
    EntryReply,
    EntryRequest,
    IdentityReply,
    IdentityRequest,
)

UNKNOWN = "walkout-check-nobody"  # never a shopper, in an open house neither


class ShoppersError(ValueError):
    """A shoppers file that is not understood; names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shopper:
    id: str
    reason: str = ""
    hold_minor: int = 0  # 0: as much as is asked for
    unpaid_minor: int = 0


TEST_SHOPPERS = {
    one.id: one
    for one in (
        Shopper(id="walkout-check-shopper"),
        Shopper(id="walkout-check-limited", hold_minor=1000),
        Shopper(id="walkout-check-debtor", reason=EntryReason.BAD_DEBT, unpaid_minor=1234),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shoppers:
    """The retailer's shoppers; ``open_house``: whoever is not listed is one too."""

    listed: Mapping[str, Shopper]
    open_house: bool = True

    def find(self, name: str) -> Shopper | None:
        known = self.listed.get(name) or TEST_SHOPPERS.get(name)
        if known is not None or not self.open_house or name == UNKNOWN:
            return known
        return Shopper(id=name)

    def identity(self, asked: IdentityRequest) -> IdentityReply:
        """Whose key that is."""
        shopper = self.find(asked.identityKey)
        if shopper is None:
            return IdentityReply(decision=Choice.REJECT, reason=EntryReason.UNKNOWN_SHOPPER)
        return IdentityReply(decision=Choice.ACCEPT, shopperIdentity=ShopperIdentity(id=shopper.id))

    def entry(self, asked: EntryRequest) -> EntryReply:
        """Whether somebody may come in, and how much to hold."""
        shopper = self.find(asked.shopperIdentity.id)
        if shopper is None:
            return EntryReply(shopperAuthorized=False, reason=EntryReason.UNKNOWN_SHOPPER)
        currency = asked.authorizedAmount.currencyCode
        owed = Amount(amount=shopper.unpaid_minor, currencyCode=currency)
        unpaid = owed if shopper.unpaid_minor else None
        if shopper.reason:
            return EntryReply(
                shopperAuthorized=False, reason=EntryReason(shopper.reason), unpaidBalance=unpaid
            )
        return EntryReply(
            shopperAuthorized=True,
            authorizationConditions=_conditions(shopper, asked.authorizedAmount),
            unpaidBalance=unpaid,
        )


def read_shoppers(path: Path) -> Shoppers:
    """The shoppers in the file; an open house without one.

    Raises:
        ShoppersError: not TOML, or a key or value that is not one of ours.
    """
    if not path.exists():
        return Shoppers(listed={})
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ShoppersError(f"{path.name}: {error}") from error
    unknown = sorted(set(document) - {"open_house", "shopper"})
    if unknown:
        raise ShoppersError(f"{path.name}: unknown key {unknown[0]!r}; known: open_house, shopper")
    house = document.get("open_house", True)
    if type(house) is not bool:
        raise ShoppersError(f"{path.name}: open_house is true or false")
    listed = [_shopper(path.name, row) for row in document.get("shopper", [])]
    return Shoppers(listed={one.id: one for one in listed}, open_house=house)


def _conditions(shopper: Shopper, asked: Amount) -> list[Condition]:
    if not 0 < shopper.hold_minor < asked.amount:
        return []
    amount = Amount(amount=shopper.hold_minor, currencyCode=asked.currencyCode)
    return [Condition(type="ADJUST", amount=amount)]


def _shopper(file: str, row: dict[str, Any]) -> Shopper:
    known = {field.name for field in fields(Shopper)}
    for key, value in row.items():
        if key not in known:
            raise ShoppersError(f"{file}: unknown key {key!r}; known: {', '.join(sorted(known))}")
        whole = key.endswith("_minor")
        if type(value) is not (int if whole else str) or (whole and value < 0):
            raise ShoppersError(f"{file}: {key} = {value!r} does not fit")
    if not row.get("id"):
        raise ShoppersError(f"{file}: a shopper without an id")
    if row.get("reason", "") not in set(EntryReason):
        reasons = ", ".join(one for one in EntryReason if one)
        raise ShoppersError(f"{file}: reason {row['reason']!r}; known: {reasons}")
    return Shopper(**row)
