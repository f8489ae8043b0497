"""Demands on a purchase as commands: left durably beside the sync file, carried out once, audited.

The retailer's calls (``connector.py``) and an operator's commands take the same way.
"""

from __future__ import annotations

import msgspec

from cloud_sync.demands import (
    ChargeAdjust,
    ChargeCancel,
    ChargeCapture,
    Contested,
    Demand,
    RefundAsked,
    Reviewed,
    SettledElsewhere,
)

ACTIONS: dict[str, type[Demand]] = {
    "charge_adjust": ChargeAdjust,
    "charge_capture": ChargeCapture,
    "charge_cancel": ChargeCancel,
    "refund": RefundAsked,
    "contest": Contested,
    "review": Reviewed,
    "settled": SettledElsewhere,
}
_NAMES = {kind: action for action, kind in ACTIONS.items()}


class DemandError(ValueError):
    """A demand whose command file does not hold what its name says."""


def words(demand: Demand) -> tuple[str, str]:
    """The action and the body of the command that says it."""
    return _NAMES[type(demand)], msgspec.json.encode(demand).decode()


def read(action: str, body: str) -> Demand:
    """The demand of a command. Raises DemandError."""
    try:
        return msgspec.json.decode(body, type=ACTIONS[action])
    except (KeyError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DemandError(f"{action}: {error}") from None
