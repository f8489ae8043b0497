"""What must hold in a scenario beyond the types: each act has what it needs, every name exists.

``ACTS`` is the table of what each act needs and knows; the handbook prints it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from edge.toml_lines import Path
from messages.store_config import StoreConfig
from sim.faults import devices_for
from sim.geometry import fixture_boxes
from sim.scenario_read import Problem, nearest
from sim.script import Act, Do, Fault, FaultKind, Member, PartyScript, Scenario

PARTY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
ALWAYS = ("act", "after_s", "mark", "probability")  # every act knows these
PARTIES_MAX = 200


@dataclass(frozen=True, slots=True)
class ActKeys:
    """Keys that an act needs, and others that it knows, beside ``ALWAYS``."""

    needs: tuple[str, ...] = ()
    knows: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()  # exactly one of these


_REACH = ("press_g", "crossed")
ACTS: dict[Act, ActKeys] = {
    Act.TAKE: ActKeys(("facing",), ("sku", "quantity", "together", "hold_s", "slow", *_REACH)),
    Act.RETURN: ActKeys((), ("facing", "sku", "quantity", "together", *_REACH)),
    Act.TOUCH: ActKeys(("facing",), ("lasts_s", *_REACH)),
    Act.LEAN: ActKeys(("facing",), ("lasts_s", *_REACH)),
    Act.HAND_OVER: ActKeys(("to",), ("sku", "quantity")),
    Act.DROP: ActKeys((), ("sku", "quantity", "facing", "point")),
    Act.PICK_UP: ActKeys((), ("sku", "quantity")),
    Act.BUMP: ActKeys(("facing",)),
    Act.READ: ActKeys(("facing",), ("lasts_s",)),
    Act.GO: ActKeys((), ("lasts_s",), one_of=("facing", "point")),
    Act.MEET: ActKeys(("to",), ("lasts_s",)),
    Act.SWAP: ActKeys(("to",)),
    Act.WAIT: ActKeys(("lasts_s",)),
    Act.LIFT_CHILD: ActKeys(("to",)),
    Act.PUT_DOWN_CHILD: ActKeys((), ("to",)),
    Act.RESTOCK: ActKeys(("facing",), ("sku", "quantity")),
    Act.CLEAR: ActKeys(("facing",)),
    Act.LEAVE: ActKeys(),
}
STAFF_ONLY = frozenset({Act.RESTOCK, Act.CLEAR})
NEEDS_GOODS = frozenset({Act.RETURN, Act.HAND_OVER, Act.DROP})
BRINGS_GOODS = frozenset({Act.TAKE, Act.PICK_UP})

# kind -> what ``amount`` is, with its range; kinds without one have no amount
AMOUNTS: dict[FaultKind, tuple[str, float, float]] = {
    FaultKind.LATE_CAMERA: ("seconds", 0.001, 60.0),
    FaultKind.BLIND_SPOT: ("a share", 0.001, 1.0),
    FaultKind.NOISY_SHELF: ("a factor", 0.0, 1000.0),
    FaultKind.DRIFTING_PLATE: ("grams per minute", -10_000.0, 10_000.0),
    FaultKind.LOST_BATCHES: ("a share", 0.001, 1.0),
    FaultKind.REPEATED_BATCHES: ("a share", 0.001, 1.0),
    FaultKind.LATE_BATCHES: ("seconds", 0.001, 60.0),
    FaultKind.CLOCK_STEP: ("seconds", -4000.0, 4000.0),
}


def problems(scenario: Scenario, config: StoreConfig) -> list[Problem]:
    """Everything that does not fit, in no particular order."""
    checks = (_parties, _acts, _marks, _background, _faults, _planogram)
    return [problem for one in checks for problem in one(scenario, config)]


# --- who ----------------------------------------------------------------------------------------


def _parties(scenario: Scenario, config: StoreConfig) -> Iterator[Problem]:
    names = Counter(p.name for p in scenario.parties)
    if not scenario.parties and not scenario.background.every_s:
        yield Problem((), "nobody comes; add a [[party]], or [background] with every_s")
    if len(scenario.parties) > PARTIES_MAX:
        yield Problem(("party",), f"more than {PARTIES_MAX} parties; use [background]")
    entries = [str(g.id) for g in config.gates if g.direction != "exit"]
    for i, party in enumerate(scenario.parties):
        at: Path = ("party", i)
        if not PARTY_NAME.fullmatch(party.name):
            text = f"name {party.name!r}: write a-z first, then a-z, 0-9, '-' or '_'"
            yield Problem((*at, "name"), text)
        if names[party.name] > 1:
            yield Problem((*at, "name"), f"name {party.name!r} is used twice; parties differ")
        if party.gate and party.gate not in entries:
            text = f"gate {party.gate!r} is no way in; {nearest(party.gate, entries)}"
            yield Problem((*at, "gate"), text)
        yield from _tailgates(party, at, names)
        yield from _members(party, at)


def _tailgates(party: PartyScript, at: Path, names: Counter[str]) -> Iterator[Problem]:
    if not party.tailgates:
        return
    others = [name for name in names if name != party.name]
    if party.tailgates not in others:
        text = f"tailgates {party.tailgates!r}, which is no other party; "
        yield Problem((*at, "tailgates"), text + nearest(party.tailgates, others))
    if party.staff or party.gate:
        text = "tailgates: has no credential and no gate of its own; take out staff and gate"
        yield Problem((*at, "tailgates"), text)


def _members(party: PartyScript, at: Path) -> Iterator[Problem]:
    if not party.members:
        yield Problem((*at, "member"), "a party has at least one member; add [[party.member]]")
    for j, member in enumerate(party.members):
        if member.child and j == 0:
            text = "child: the first member holds the credential; put a grown-up first"
            yield Problem((*at, "member", j, "child"), text)


# --- what they do -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """An act and whose it is."""

    do: Do
    path: Path
    party: PartyScript
    member: int


def _all_acts(scenario: Scenario) -> Iterator[_Place]:
    for i, party in enumerate(scenario.parties):
        for j, member in enumerate(party.members):
            for k, do in enumerate(member.do):
                yield _Place(do, ("party", i, "member", j, "do", k), party, j)


def _acts(scenario: Scenario, config: StoreConfig) -> Iterator[Problem]:
    for place in _all_acts(scenario):
        yield from _keys(place)
        yield from _names(place, scenario, config)
        yield from _sense(place, scenario)


def _keys(place: _Place) -> Iterator[Problem]:
    keys, do = ACTS[place.do.act], place.do
    changed = [f.name for f in fields(Do) if getattr(do, f.name) != f.default and f.name != "act"]
    known = (*ALWAYS, *keys.needs, *keys.knows, *keys.one_of)
    for name in changed:
        if name not in known:
            text = f"{name}: '{do.act}' does not know it; it knows {', '.join(known[1:])}"
            yield Problem((*place.path, name), text)
    for name in keys.needs:
        if name not in changed:
            yield Problem(place.path, f"'{do.act}' needs {name}; add {name} = ...")
    if keys.one_of and sum(name in changed for name in keys.one_of) != 1:
        yield Problem(place.path, f"'{do.act}' needs one of {' and '.join(keys.one_of)}")


def _names(place: _Place, scenario: Scenario, config: StoreConfig) -> Iterator[Problem]:
    do, path = place.do, place.path
    facings, skus = [str(f.id) for f in config.facings], [str(p.id) for p in config.products]
    if do.facing and do.facing not in facings:
        text = f"facing {do.facing!r} is not in store '{scenario.store}'; "
        yield Problem((*path, "facing"), text + nearest(do.facing, facings))
    if do.sku and do.sku not in skus:
        text = f"sku {do.sku!r} is not sold in store '{scenario.store}'; "
        yield Problem((*path, "sku"), text + nearest(do.sku, skus))
    if do.to:
        yield from _other(place, scenario)
    if do.point is not None and (text := _bad_point(do.point, config)):
        yield Problem((*path, "point"), text)


def _other(place: _Place, scenario: Scenario) -> Iterator[Problem]:
    """``to`` names somebody else: "b", its first member, or "b/1"."""
    path = (*place.path, "to")
    name, _, index = place.do.to.partition("/")
    members = {p.name: p.members for p in scenario.parties}
    if name not in members:
        yield Problem(path, f"to {name!r} is no party; {nearest(name, members)}")
        return
    if index and not (index.isdecimal() and int(index) < len(members[name])):
        last = len(members[name]) - 1
        text = f"to {place.do.to!r}: party {name!r} has members {name}/0 to {name}/{last}"
        yield Problem(path, text)
        return
    number = int(index or 0)
    if (name, number) == (place.party.name, place.member):
        yield Problem(path, f"to {place.do.to!r} is the one who acts; name somebody else")
    yield from _carried_child(place, members[name], (name, number))


def _carried_child(
    place: _Place, members: tuple[Member, ...], who: tuple[str, int]
) -> Iterator[Problem]:
    if place.do.act not in (Act.LIFT_CHILD, Act.PUT_DOWN_CHILD):
        return
    if who[0] != place.party.name or not members[who[1]].child:
        text = f"to {place.do.to!r} is no child of this party; give that member child = true"
        yield Problem((*place.path, "to"), text)


def _bad_point(point: tuple[float, float], config: StoreConfig) -> str:
    area, at = config.area, np.array(point)
    x, y = f"x {area.x_min_m:g} to {area.x_max_m:g}", f"y {area.y_min_m:g} to {area.y_max_m:g}"
    if not (area.x_min_m <= at[0] <= area.x_max_m and area.y_min_m <= at[1] <= area.y_max_m):
        return f"point {list(point)} is outside the store; choose {x}, {y}"
    lower, upper = fixture_boxes(config.fixtures)
    for fixture, low, high in zip(config.fixtures, lower[:, :2], upper[:, :2], strict=True):
        if ((at > low) & (at < high)).all():
            return f"point {list(point)} is inside '{fixture.id}'; choose a free place"
    return ""


def _sense(place: _Place, scenario: Scenario) -> Iterator[Problem]:
    do, party = place.do, place.party
    if do.act in STAFF_ONLY and not party.staff:
        text = f"'{do.act}' is for staff; give party {party.name!r} staff = true"
        yield Problem((*place.path, "act"), text)
    if do.act in NEEDS_GOODS and not _gets_goods(party, scenario):
        text = f"'{do.act}': party {party.name!r} never holds anything; let it take something first"
        yield Problem((*place.path, "act"), text)
    if do.mark and do.probability < 1:
        text = "mark: the others would wait for an act that may not come; take out probability"
        yield Problem((*place.path, "mark"), text)


def _gets_goods(party: PartyScript, scenario: Scenario) -> bool:
    own = any(do.act in BRINGS_GOODS for member in party.members for do in member.do)
    return own or any(
        p.do.act is Act.HAND_OVER and p.do.to.partition("/")[0] == party.name
        for p in _all_acts(scenario)
    )


def _marks(scenario: Scenario, config: StoreConfig) -> Iterator[Problem]:
    """A mark joins acts of several people, and no two marks are met in opposite orders."""
    del config
    places: dict[str, list[_Place]] = {}
    for place in _all_acts(scenario):
        if place.do.mark:
            places.setdefault(place.do.mark, []).append(place)
    for mark, users in places.items():
        people = Counter((p.party.name, p.member) for p in users)
        if len(people) < 2:
            text = f"mark {mark!r} is one person's only; give it to somebody else's act too"
            yield Problem((*users[0].path, "mark"), text)
        elif max(people.values()) > 1:
            text = f"mark {mark!r} stands twice with one person; name the second one differently"
            yield Problem((*users[-1].path, "mark"), text)
    for mark in _circular(scenario):
        text = f"mark {mark!r}: everybody would wait for somebody else; order marks alike"
        yield Problem((*places[mark][0].path, "mark"), text)


def _circular(scenario: Scenario) -> list[str]:
    """Marks that can never come off, because people meet them in different orders."""
    queues = [[d.mark for d in m.do if d.mark] for p in scenario.parties for m in p.members]
    left = [queue for queue in queues if queue]
    while left:
        heads = Counter(queue[0] for queue in left)
        wanted = Counter(mark for queue in left for mark in set(queue))
        ready = {mark for mark in heads if heads[mark] == wanted[mark]}
        if not ready:
            return sorted(heads)
        left = [queue[1:] if queue[0] in ready else queue for queue in left]
        left = [queue for queue in left if queue]
    return []


# --- the store ----------------------------------------------------------------------------------


def _background(scenario: Scenario, config: StoreConfig) -> Iterator[Problem]:
    del config
    if scenario.background.adversary_share and not scenario.background.every_s:
        text = "adversary_share: nobody comes who could confuse; give every_s"
        yield Problem(("background", "adversary_share"), text)


def _faults(scenario: Scenario, config: StoreConfig) -> Iterator[Problem]:
    for i, fault in enumerate(scenario.faults):
        known = devices_for(fault.kind, config)
        if fault.device not in known:
            text = f"device {fault.device!r} cannot have '{fault.kind}'; "
            yield Problem(("fault", i, "device"), text + nearest(fault.device, known))
        if text := _bad_amount(fault):
            yield Problem(("fault", i, "amount"), text)
        if fault.at_s[0] > scenario.duration_s + 120:
            text = f"at_s {fault.at_s[0]:g}: the doors close at {scenario.duration_s:g}; earlier"
            yield Problem(("fault", i, "at_s"), text)


def _bad_amount(fault: Fault) -> str:
    if fault.kind not in AMOUNTS:
        return f"amount: '{fault.kind}' has none; take it out" if fault.amount else ""
    unit, least, most = AMOUNTS[fault.kind]
    if fault.amount and least <= fault.amount <= most:
        return ""
    return f"amount of '{fault.kind}' is {unit}, {least:g} to {most:g} and not 0; give one"


def _planogram(scenario: Scenario, config: StoreConfig) -> Iterator[Problem]:
    books = {str(f.id): str(f.sku) for f in config.facings}
    skus = [str(p.id) for p in config.products]
    twice = Counter(w.facing for w in scenario.planogram)
    for i, wrong in enumerate(scenario.planogram):
        at: Path = ("wrong_facing", i)
        if wrong.facing not in books:
            text = f"facing {wrong.facing!r} is not in store '{scenario.store}'; "
            yield Problem((*at, "facing"), text + nearest(wrong.facing, books))
        elif books[wrong.facing] == wrong.holds:
            text = f"holds {wrong.holds!r}: that is what the books say; name other goods"
            yield Problem((*at, "holds"), text)
        if twice[wrong.facing] > 1:
            yield Problem((*at, "facing"), f"facing {wrong.facing!r} stands twice; keep one")
        if wrong.holds not in skus:
            text = f"holds {wrong.holds!r}, not sold in store '{scenario.store}'; "
            yield Problem((*at, "holds"), text + nearest(wrong.holds, skus))
