"""The systems' state machines as pictures for the handbook, drawn from their tables."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from broker.systems.associations import ASSOCIATION_STATES, AssociationState
from broker.systems.bid_rules import AWARD_STATES, REQUEST_STATES, AwardState, RequestState
from broker.systems.campaigns import CAMPAIGN_STATES, CampaignStatus
from broker.systems.cart_refs import REF_STATES, RefState
from broker.systems.cart_types import CART_STATES, PART_STATES, CartState, PartState
from broker.systems.checkouts import CHECKOUT_STATES, CheckoutState
from broker.systems.code_payments import PAYMENT_STATES, PaymentState
from broker.systems.coupons import LOCK_STATES, LockState
from broker.systems.debts import DEBT_STATES, DebtState
from broker.systems.display_sales import QUOTE_STATES, QuoteState
from broker.systems.disputes import DISPUTE_STATES, DisputeState
from broker.systems.frames import FRAME_STATES, FrameState
from broker.systems.gifts import GIFT_STATES, GiftState
from broker.systems.invitations import INVITATION_STATES, InvitationState
from broker.systems.item_stores import STORE_STATES, StoreStatus
from broker.systems.orders import ORDER_STATES, OrderState
from broker.systems.payment_codes import CODE_STATES, CodeState
from broker.systems.payouts import PAYOUT_STATES, PayoutState
from broker.systems.promo_tokens import TOKEN_STATES, TokenState
from broker.systems.redemption_types import REDEMPTION_STATES, RedemptionState
from broker.systems.screenings import SCREENING_STATES, ScreeningState
from broker.systems.shipments import SHIPMENT_STATES, ShipmentState
from broker.systems.statement_types import STATEMENT_STATES, StatementState
from broker.systems.states import diagram
from broker.systems.trips import TRIP_STATES, TripState
from broker.systems.wallets import WALLET_STATES, WalletStatus

# name -> table, first state
MACHINES: Mapping[str, tuple[Mapping[Any, Any], StrEnum]] = {
    "A: trip": (TRIP_STATES, TripState.OPEN),
    "A: debt": (DEBT_STATES, DebtState.OPEN),
    "A: dispute": (DISPUTE_STATES, DisputeState.CONTESTED),
    "D: cart": (CART_STATES, CartState.OPEN),
    "D: part of a merchant": (PART_STATES, PartState.PENDING),
    "D: reference": (REF_STATES, RefState.ACTIVE),
    "E: screening": (SCREENING_STATES, ScreeningState.ISSUED),
    "F: request for bids": (REQUEST_STATES, RequestState.OPEN),
    "F: award": (AWARD_STATES, AwardState.OFFERED),
    "F: quote": (QUOTE_STATES, QuoteState.OFFERED),
    "G: checkout": (CHECKOUT_STATES, CheckoutState.INCOMPLETE),
    "G: order": (ORDER_STATES, OrderState.PLACED),
    "G: shipment": (SHIPMENT_STATES, ShipmentState.PACKED),
    "I: wallet": (WALLET_STATES, WalletStatus.OPEN),
    "I: payment code": (CODE_STATES, CodeState.ISSUED),
    "I: transaction": (PAYMENT_STATES, PaymentState.RECEIVED),
    "I: gift": (GIFT_STATES, GiftState.SENT),
    "B: item store": (STORE_STATES, StoreStatus.DRAFT),
    "B: invitation": (INVITATION_STATES, InvitationState.ISSUED),
    "B: redemption": (REDEMPTION_STATES, RedemptionState.REQUESTED),
    "K: campaign": (CAMPAIGN_STATES, CampaignStatus.DRAFT),
    "K: frame": (FRAME_STATES, FrameState.DRAFT),
    "K: token": (TOKEN_STATES, TokenState.ISSUED),
    "K: coupon lock": (LOCK_STATES, LockState.LOCKED),
    "C: statement": (STATEMENT_STATES, StatementState.OPEN),
    "C: payout": (PAYOUT_STATES, PayoutState.DUE),
    "J: association": (ASSOCIATION_STATES, AssociationState.NONE),
}


def markdown() -> str:
    """All of them, each under its name."""
    return "\n\n".join(
        f"**{name}**\n\n{diagram(table, first)}" for name, (table, first) in MACHINES.items()
    )
