"""The golden recordings: what each is, and how it was recorded.

Small on purpose: one gondola with two shelves (24 plates), two cameras, some twenty seconds. To add
one, append a ``Case``, run ``python -m tests.golden.make --record NAME`` and read its events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from messages.store_config import StoreConfig
from sim.layouts import layout
from sim.script import Act, Do, Fault, FaultKind, Kind, Member, PartyScript, Scenario

SHELVES = ("a2", "a3")
CAMERAS = 2
Acts = tuple[Do, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One golden. ``down_s``: the daemon is dead between two instants and starts again."""

    name: str
    why: str  # its line in README.md
    scenario: Scenario
    seed: int
    down_s: tuple[float, float] | None = None


def store() -> StoreConfig:
    """The corner store with one gondola's upper shelves and two of its cameras."""
    whole = layout("corner")
    plates = tuple(p for p in whole.plates if p.shelf in SHELVES)
    kept = {p.id for p in plates}
    facings = tuple(f for f in whole.facings if set(f.plates) <= kept)
    goods = {f.sku for f in facings}
    return replace(
        whole,
        plates=plates,
        facings=facings,
        products=tuple(p for p in whole.products if p.id in goods),
        shelf_nodes=tuple(n for n in whole.shelf_nodes if set(n.plates) <= kept),
        cameras=whole.cameras[:CAMERAS],
    )


def party(name: str, arrives_s: float, *do: Do) -> PartyScript:
    return PartyScript(name=name, arrives_s=(arrives_s, arrives_s), members=(Member(do=do),))


def case(
    name: str,
    why: str,
    *parties: PartyScript,
    seed: int = 1,
    faults: tuple[Fault, ...] = (),
    down_s: tuple[float, float] | None = None,
) -> Case:
    scenario = Scenario(
        name=name,
        title=why,
        kind=Kind.FAULTY if faults else Kind.HARD,
        duration_s=10.0,
        review_deadline_s=3.0,
        parties=parties,
        faults=faults,
    )
    return Case(name=name, why=why, scenario=scenario, seed=seed, down_s=down_s)


CHOCOLATE, COLA = "a3-chocolate-100g", "a2-cola-330ml"
TOMATOES, BEANS = "a2-tomatoes-tin-400g", "a2-beans-tin-400g"
RICE, FLOUR = "a2-rice-1kg", "a2-flour-1kg"

CASES: tuple[Case, ...] = (
    case(
        "put-back-elsewhere",
        "A tin goes back to the neighbour's place, four grams apart; a bag is kept",
        party(
            "anna",
            0.5,
            Do(act=Act.TAKE, facing=TOMATOES),
            Do(act=Act.RETURN, sku="tomatoes-tin-400g", facing=BEANS),
            Do(act=Act.TAKE, facing=RICE),
        ),
    ),
    case(
        "two-lifted-one-back",
        "Two chocolates leave in one lift, one of them comes back",
        party(
            "anna",
            0.5,
            Do(act=Act.TAKE, facing=CHOCOLATE, quantity=2),
            Do(act=Act.RETURN, sku="chocolate-100g"),
        ),
    ),
    case(
        "same-item-same-second",
        "Two people lift the same item from one facing in the same second",
        party("anna", 0.5, Do(act=Act.TAKE, facing=COLA, mark="now")),
        party("ben", 1.5, Do(act=Act.TAKE, facing=COLA, mark="now")),
    ),
    case(
        "knocked-gondola",
        "A gondola is knocked twice and nothing is taken from it",
        party(
            "ben",
            0.5,
            Do(act=Act.BUMP, facing=FLOUR),
            Do(act=Act.BUMP, facing=FLOUR, after_s=(1.0, 1.0)),
        ),
    ),
    case(
        "restart-in-mid-pick",
        "The daemon is dead for three seconds while something is taken, and starts again",
        party(
            "anna",
            0.5,
            Do(act=Act.TAKE, facing=FLOUR),
            Do(act=Act.TAKE, facing=CHOCOLATE),
        ),
        down_s=(6.5, 9.5),
    ),
    case(
        "node-falls-silent",
        "A shelf node is silent for four seconds; what happened meanwhile shows as a new level",
        party(
            "anna",
            0.5,
            Do(act=Act.TAKE, facing=BEANS),
            Do(act=Act.TAKE, facing=RICE),
        ),
        faults=(
            Fault(kind=FaultKind.LOST_NODE, device="shelf-a2", at_s=(8.0, 8.0), lasts_s=(4.0, 4.0)),
        ),
    ),
)
