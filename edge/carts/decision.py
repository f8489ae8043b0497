"""From probabilities to a verdict: charge, take off, ask a person, or let it be.

What is claimed about a step is the marginal probability of one *part*: this visit, this SKU, this
quantity. A part at or above the threshold is sure; otherwise the step is a doubt, with every
candidate that has a noticeable probability and the visits whose carts must wait for the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.carts.outcomes import Kind, Outcomes
from edge.carts.put import Holdings
from edge.carts.who import Actors
from messages.arrays import Bools, Floats
from messages.events import Candidate
from messages.ids import Sku, VisitId

NOTICED = 0.03  # a visit with this probability waits for the answer
CANDIDATE_MIN = 0.005
CANDIDATES_MAX = 8  # what a person can compare on one screen
SPLIT_MIN = 0.05  # two units may have gone to two people: ask about each unit
NOTHING_MIN = 0.5  # above this a take is explained by nothing
HELD_MIN = 0.03  # a put that a holder made with this probability is worth a question
HELD_INSTEAD_MIN = 0.1  # ... where it is likelier that nobody held it
NOT_HELD_MIN = 0.3
EXCHANGE_MIN = 0.1  # of a put that nothing explains better: the holder is not charged then
HANDED_OVER = 0.5  # an item put back by who never took it: how often a holder had passed it on
GUESS = 0.85  # of a claim whose mass or goods do not fit: a person decides
CLAIM_MAX = 0.999  # no model of ours is right more often than that

Part = tuple[int, int, int]  # actor, product, quantity
What = tuple[tuple[int, int], ...]  # (product, quantity), sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class SurePart:
    visit: VisitId
    product: int
    quantity: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    reason: str
    candidates: tuple[Candidate, ...]
    visits: tuple[VisitId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``counted``: the counter that says what became of the step."""

    counted: str
    sure: tuple[SurePart, ...] = ()
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a decision needs beside the probabilities."""

    skus: Sequence[Sku]
    actors: Actors
    staff: Bools  # (v + 1,) true for staff visits, false for nobody
    charge_min: float
    confidence: float = 1.0  # below 1 where the sensors did not see everything
    warning: str = ""  # ... and why
    looks: Floats | None = None  # (config.products,) log ratio by looks into hands


@dataclass(slots=True)
class Tally:
    """Marginals of one step's outcomes."""

    kinds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    whats: dict[What, float] = field(default_factory=lambda: defaultdict(float))
    parts: dict[Part, float] = field(default_factory=lambda: defaultdict(float))
    split: dict[Part, float] = field(default_factory=lambda: defaultdict(float))  # actors, product
    unknown: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    not_held: dict[Part, float] = field(default_factory=lambda: defaultdict(float))
    actors: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    came: dict[Part, float] = field(default_factory=lambda: defaultdict(float))  # exchanged for ...
    went: dict[int, float] = field(default_factory=lambda: defaultdict(float))  # ... this product


def tally(outcomes: Outcomes, confidence: float) -> Tally:
    """Sum the probability of each kind, each what, and each part."""
    t = Tally()
    columns = (outcomes.kind, outcomes.actor, outcomes.product, outcomes.quantity)
    trust = np.where(outcomes.wrong | outcomes.loose, min(GUESS, confidence), confidence)
    rows = zip(
        *(c.tolist() for c in columns), outcomes.probability.tolist(), trust.tolist(), strict=True
    )
    for kind, actor, product, quantity, probability, sure in rows:
        t.kinds[kind] += probability
        t.actors[actor[0]] += probability
        if kind == Kind.ITEM:
            _tally_items(t, actor, product, quantity, probability * sure)
        elif kind == Kind.UNKNOWN:
            t.unknown[actor[0]] += probability
        elif kind == Kind.NOT_HELD:
            t.not_held[actor[0], product[0], quantity[0]] += probability
        elif kind == Kind.EXCHANGE:
            t.came[actor[0], product[0], 1] += probability
            t.went[product[1]] += probability
    return t


def take_verdict(outcomes: Outcomes, about: Circumstances) -> Verdict:
    """What a take means. A visit is only ever charged for a sure part."""
    t = tally(outcomes, about.confidence)
    if t.kinds[Kind.NOTHING] + t.kinds[Kind.FOREIGN] > NOTHING_MIN:
        foreign = t.kinds[Kind.FOREIGN] > t.kinds[Kind.NOTHING]
        return Verdict(counted="foreign_removed" if foreign else "nothing")
    if sum(p for a, p in t.actors.items() if about.staff[a]) >= about.charge_min:
        return Verdict(counted="takes_staff")
    what = max(t.whats, key=lambda w: (t.whats[w], w), default=())
    if not what or t.kinds[Kind.UNKNOWN] > t.whats[what]:
        reason = about.warning or "What left the shelf has the weight of no product there."
        return Verdict(counted="takes_unknown", doubts=(_doubt(t, t.parts, 1, reason, about),))
    units = _split_units(t, what, about)
    if units:
        return Verdict(counted="takes_doubtful", doubts=units)
    return _by_part(t, what, 1, "takes", about)


def put_verdict(outcomes: Outcomes, held: Holdings, about: Circumstances) -> Verdict:
    """What a put means: a return of a holder, stock, a thing of somebody's own, or nothing."""
    t = tally(outcomes, about.confidence)
    shoppers = {i for i in range(about.actors.nobody) if not about.staff[i]}
    by_holder = sum(p for (actor, _, _), p in t.parts.items() if actor in shoppers)
    not_held = sum(t.not_held.values())
    if t.kinds[Kind.EXCHANGE] >= max(EXCHANGE_MIN, by_holder):
        return Verdict(counted="exchanges", doubts=_exchange(t, about))
    if by_holder >= (HELD_MIN if not_held < NOT_HELD_MIN else HELD_INSTEAD_MIN):
        theirs = {w: p for w, p in t.whats.items() if any(a in shoppers for a in _who(t, w))}
        what = max(theirs, key=lambda w: (theirs[w], w))
        return _by_part(t, what, -1, "returns", about)
    if not_held >= NOT_HELD_MIN:
        reason = "An item was put back that the shopper's cart does not have."
        parts = _with_givers(t.not_held, held)
        return Verdict(counted="returns_not_held", doubts=(_doubt(t, parts, -1, reason, about),))
    unseen = {part: p for part, p in t.parts.items() if part[0] == about.actors.nobody}
    back = _with_givers(unseen, held)
    if sum(unseen.values()) >= NOTHING_MIN and len(back) > len(unseen):
        reason = "Goods that somebody inside holds were put back, by nobody known to us."
        return Verdict(counted="returns_unseen", doubts=(_doubt(t, back, -1, reason, about),))
    if t.kinds[Kind.UNKNOWN] >= NOTHING_MIN:
        return Verdict(counted="foreign_put")
    return Verdict(counted="stocked" if t.kinds[Kind.ITEM] >= NOTHING_MIN else "nothing")


def _exchange(t: Tally, about: Circumstances) -> tuple[Doubt, Doubt]:
    """One question about what came back, and one about what was taken from there meanwhile."""
    near = about.actors.probability[:, 0].tolist()
    went = {(a, x, 1): p * w for x, p in t.went.items() for a, w in enumerate(near)}
    reason = about.warning or "One thing was put back while another was taken from the same place."
    return _doubt(t, t.came, -1, reason, about), _doubt(t, went, 1, reason, about)


def _with_givers(parts: dict[Part, float], held: Holdings) -> dict[Part, float]:
    """Who holds such an item may have given it to the one who put it back: ask about it too."""
    result = dict(parts)
    for (_, product, quantity), probability in parts.items():
        givers = held.actor[(held.product == product) & (held.sure > 0)].tolist()
        for giver in givers:
            more = probability * HANDED_OVER / len(givers)
            result[giver, product, quantity] = result.get((giver, product, quantity), 0.0) + more
    return result


def _tally_items(
    t: Tally, actor: list[int], product: list[int], quantity: list[int], probability: float
) -> None:
    things = [i for i in (0, 1) if quantity[i] > 0]
    t.whats[tuple(sorted((product[i], quantity[i]) for i in things))] += probability
    for i in things:
        t.parts[actor[i], product[i], quantity[i]] += probability
    if quantity == [1, 1] and product[0] == product[1]:
        t.split[min(actor), max(actor), product[0]] += probability


def _who(t: Tally, what: What) -> list[int]:
    return [actor for actor, product, quantity in t.parts if (product, quantity) in what]


def _by_part(t: Tally, what: What, sign: int, name: str, about: Circumstances) -> Verdict:
    """Each part of the best what on its own: sure, by staff, or a doubt."""
    sure, doubts, staff = list[SurePart](), list[Doubt](), False
    for product, quantity in what:
        who = {a: p for (a, x, q), p in t.parts.items() if (x, q) == (product, quantity)}
        best = max(who, key=lambda a: (who[a], -a))
        if who[best] < about.charge_min or best == about.actors.nobody:
            parts = t.parts if len(what) == 1 else _only(t.parts, product)
            reason = about.warning or _reason(who, sum(who.values()), sign, what, t, about)
            doubts.append(_doubt(t, parts, sign, reason, about))
        elif about.staff[best]:
            staff = True
        else:
            visit, claim = about.actors.visits[best], min(who[best], CLAIM_MAX)
            sure.append(
                SurePart(visit=visit, product=product, quantity=quantity, probability=claim)
            )
    counted = f"{name}_doubtful" if doubts else f"{name}_staff" if staff else f"{name}_sure"
    return Verdict(counted=counted, sure=tuple(sure), doubts=tuple(doubts))


def _split_units(t: Tally, what: What, about: Circumstances) -> tuple[Doubt, ...]:
    """Two units that one or two people took: one question for each unit, unless one is sure.

    The second one supposes that the first is answered by its likeliest candidate.
    """
    if len({product for product, _ in what}) != 1 or sum(q for _, q in what) != 2:
        return ()
    product = what[0][0]
    pairs = {(a, b): p for (a, b, x), p in t.split.items() if x == product}
    together = {a: p for (a, x, q), p in t.parts.items() if (x, q) == (product, 2)}
    sure = max(together.values(), default=0.0) >= about.charge_min
    if sure or sum(pairs.values()) < SPLIT_MIN:
        return ()
    pairs |= {(a, a): pairs.get((a, a), 0.0) + p for a, p in together.items()}
    one = defaultdict[int, float](float)
    for (a, b), p in pairs.items():
        one[a] += p / 2.0
        one[b] += p / 2.0
    likely = max(pairs, key=lambda pair: (pairs[pair], pair))
    first = max(likely, key=lambda a: (one[a], -a))
    other = {
        (set(pair) - {first} or {first}).pop(): p for pair, p in pairs.items() if first in pair
    }
    whole = sum(other.values()) / sum(one.values())
    reason = about.warning or "Two units left at once, and two shoppers may have taken one each."
    units = (one, {a: p / whole for a, p in other.items()})
    parts = ({(a, product, 1): p for a, p in unit.items()} for unit in units)
    return tuple(_doubt(t, part, 1, reason, about) for part in parts)


def _only(parts: dict[Part, float], product: int) -> dict[Part, float]:
    return {part: p for part, p in parts.items() if part[1] == product}


def _doubt(
    t: Tally, parts: dict[Part, float], sign: int, reason: str, about: Circumstances
) -> Doubt:
    """Ranked candidates, and the visits that any noticeable part of the probability falls on."""
    visits = (*about.actors.visits, None)
    rows: list[tuple[float, int, Sku | None, int]] = [
        (p, a, about.skus[x], sign * q) for (a, x, q), p in parts.items()
    ]
    if sign > 0:  # something of ours that we cannot name
        rows += [(p, a, None, 1) for a, p in t.unknown.items()]
    by_actor: dict[int, float] = defaultdict(float)
    for p, a, _, _ in rows:
        by_actor[a] += p
    noticed = [a for a in sorted(by_actor) if by_actor[a] >= NOTICED and visits[a] is not None]
    ranked = sorted(rows, key=lambda row: (-row[0], row[1], row[2] or "", row[3]))
    candidates = tuple(
        Candidate(visit=visits[a], sku=sku, quantity=q, probability=min(p, 1.0))
        for p, a, sku, q in ranked[:CANDIDATES_MAX]
        if p >= CANDIDATE_MIN
    )
    waiting = tuple(about.actors.visits[a] for a in noticed if not about.staff[a])
    return Doubt(reason=reason, candidates=candidates, visits=waiting)


def _reason(
    who: dict[int, float],
    part: float,
    sign: int,
    what: What,
    t: Tally,
    about: Circumstances,
) -> str:
    """Why it is a doubt, in words for the person who will look at it."""
    took = sign > 0
    if part >= about.charge_min:  # sure what, not sure who
        return _reason_of_who(who, took, about.actors.nobody)
    did = "taken" if took else "put back"
    things = [thing for w, p in t.whats.items() if p >= NOTICED for thing in w]
    products = {x for x, _ in things}
    quantities = {q for x, q in things if x == what[0][0]}
    if len(products) > 1:
        return f"Weight and place fit more than one product that was {did}."
    if len(quantities) > 1:
        return f"The weight does not say how many units were {did}."
    return f"The weight fits this product badly: it is not certain what was {did}."


def _reason_of_who(who: dict[int, float], took: bool, nobody: int) -> str:
    noticed = [a for a, p in who.items() if p >= NOTICED and a != nobody]
    if who.get(nobody, 0.0) >= max(who.values()):
        return "Nobody known to us was seen at the shelf."
    if len(noticed) > 1 and took:
        return "More than one shopper was near enough to take this."
    if len(noticed) > 1:
        return "More than one shopper who has this item may have put it back."
    return "It is not certain who was at the shelf."
