"""When things of a visit happened by the wall clock, and the credentials that let its people in."""

from __future__ import annotations

from cloud_sync.wall_time import rfc3339
from messages.contract import AuthEvent
from messages.events import CartClosed


def wall_ns(at_ns: int, cart: CartClosed) -> int:
    """Store time as wall time, by the visit's own end as anchor."""
    return cart.ended_at_wall_ns - (cart.ended_at_ns - at_ns)


def auth_events(cart: CartClosed) -> list[AuthEvent]:
    """Every credential of the trip, the first one first."""
    first = AuthEvent(id=cart.credential, timestamp=rfc3339(cart.started_at_wall_ns))
    later = (
        AuthEvent(id=one.credential, timestamp=rfc3339(wall_ns(one.at_ns, cart)))
        for one in cart.joined
    )
    return [first, *later]
