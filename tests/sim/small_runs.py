"""Small scenarios for tests of runs and replays: some seconds of store time each."""

from __future__ import annotations

from sim.script import Act, Do, Kind, Member, PartyScript, Scenario


def two_takes(**more: object) -> Scenario:
    """One shopper takes a chocolate and puts it back, another one takes a bottle of wine."""
    anna = (
        Do(act=Act.TAKE, facing="a3-chocolate-100g"),
        Do(act=Act.TAKE, facing="a2-tomatoes-tin-400g"),
        Do(act=Act.RETURN, sku="chocolate-100g"),
    )
    ben = (Do(act=Act.TAKE, facing="b1-wine-red-750ml"),)
    settings: dict[str, object] = {
        "name": "two-takes",
        "title": "A chocolate goes back, a bottle goes out",
        "kind": Kind.ORDINARY,
        "store": "corner",
        "duration_s": 8.0,
        "review_deadline_s": 4.0,
        "parties": (
            PartyScript(name="anna", arrives_s=(0.5, 0.6), members=(Member(do=anna),)),
            PartyScript(name="ben", arrives_s=(4.0, 4.2), members=(Member(do=ben),)),
        ),
    }
    return Scenario(**(settings | more))  # type: ignore[arg-type]
