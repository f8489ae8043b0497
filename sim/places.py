"""Where the acts of a script are done: one generator for each sort of place.

``facing_of``, ``other_of``, ``held`` and ``on_floor`` say what an act is about.
"""

from __future__ import annotations

import numpy as np

from sim.actors import ANYBODY, NS, Actor, Ticks
from sim.hands import NOWHERE
from sim.moves import before_facing, clear_of_doors, come_to, walk_to
from sim.script import Act, Do

GOODS_MAX_S = 60.0  # until goods lie on the floor
LATER_MAX_S = 120.0  # for somebody who has something else to do before it meets
SWAP_M = 1.8  # from here two trade places


def at_facing(actor: Actor, do: Do) -> Ticks:
    return (yield from before_facing(actor, facing_of(actor, do), crossed=do.crossed))


def at_shelf_of_return(actor: Actor, do: Do) -> Ticks:
    """The facing that is named, else the one that the goods came from."""
    units = held(actor, do)
    if not units:
        return False
    facing = facing_of(actor, do) if do.facing else dict(actor.party.carried)[units[0]]
    if facing == NOWHERE:
        return False
    return (yield from before_facing(actor, facing, crossed=do.crossed))


def here(actor: Actor, do: Do) -> Ticks:
    del do
    return (yield from clear_of_doors(actor))


def at_once(actor: Actor, do: Do) -> Ticks:
    del actor, do
    yield
    return True


def somewhere(actor: Actor, do: Do) -> Ticks:
    """At ``point``, before ``facing``, or here."""
    if do.facing:
        return (yield from before_facing(actor, facing_of(actor, do)))
    if do.point is None:
        return (yield from clear_of_doors(actor))
    if not (yield from walk_to(actor, np.array(do.point))):
        return False
    actor.stop()
    return True


def beside_other(actor: Actor, do: Do) -> Ticks:
    return (yield from come_to(actor, other_of(actor, do)))


def near_other(actor: Actor, do: Do) -> Ticks:
    return (yield from come_to(actor, other_of(actor, do), SWAP_M))


def where_both_meet(actor: Actor, do: Do) -> Ticks:
    """To the other one; who is to meet this person later on is waited for."""
    other = other_of(actor, do)
    ends_ns = actor.awake_ns + int(LATER_MAX_S * NS)
    if other is not None and _meets_later(actor, other):
        yield from clear_of_doors(actor)
    while other is not None and actor.awake_ns < ends_ns and _meets_later(actor, other):
        if other.gone:
            return False
        yield
    return (yield from come_to(actor, other))


def at_goods(actor: Actor, do: Do) -> Ticks:
    """To the nearest goods on the floor, once there are any."""
    ends_ns = actor.awake_ns + int(GOODS_MAX_S * NS)
    if not on_floor(actor, do):
        yield from clear_of_doors(actor)
    while actor.awake_ns < ends_ns:
        lying = on_floor(actor, do)
        if lying and (yield from walk_to(actor, actor.crowd.stock.floor[lying[0]])):
            actor.stop()
            return True
        yield
    return False


# --- what an act is about -------------------------------------------------------------------------


def facing_of(actor: Actor, do: Do) -> int:
    return actor.scene.facing_index[do.facing]


def other_of(actor: Actor, do: Do) -> Actor | None:
    """Whom the act is done with; for ``ANYBODY`` who is held already, else the nearest."""
    if do.to == ANYBODY and actor.holding is not None:
        return actor.holding
    return actor.scene.find(do.to, actor)


def held(actor: Actor, do: Do) -> list[int]:
    return actor.crowd.hands.carried(actor.party, actor.person, do.sku, do.quantity)


def on_floor(actor: Actor, do: Do) -> list[int]:
    """Units that lie about, of the wanted goods, the nearest first."""
    stock = actor.crowd.stock
    lying = [u for u in stock.floor if do.sku in ("", stock.units[u].sku)]
    return sorted(lying, key=lambda u: (np.hypot(*(stock.floor[u] - actor.person.position)), u))


# --- helpers --------------------------------------------------------------------------------------


def _meets_later(actor: Actor, other: Actor) -> bool:
    """True while the other one has something else to do before it meets this person."""
    later = other.todo[other.at + 1 :]
    return not actor.mutual(other) and any(
        do.act is Act.MEET and actor.scene.find(do.to, other) is actor for do in later
    )
