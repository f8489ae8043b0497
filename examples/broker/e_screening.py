"""System E: a screening token that opens what its facts allow, once.

python examples/broker/e_screening.py
"""

from __future__ import annotations

from live import Client, tell


def story(broker: Client) -> None:
    """A store sells wine behind a door; staff look at a passport, the door looks at a token."""
    store = broker.name("store")
    policy = {
        "rules": [
            {"needs": ["over18"], "features": ["wine_door"]},
            {"needs": ["terms"], "features": ["entry"], "limit_minor": 5_000},
        ],
        "sources": [{"fact": "over18", "sources": ["staff"]}],
        "ttl_s": 90,
    }
    broker.put(f"/v1/screening-policies/{store}", policy, If_Match='"0"')
    print("The store's policy: over18, said by staff, opens the wine door; terms open the gate")

    wish = {
        "screening": broker.name("visit"),
        "store": store,
        "evidence": [
            {"fact": "over18", "answer": True, "source": "staff"},
            {"fact": "terms", "answer": True, "source": "kiosk"},
        ],
    }
    token = broker.post("/v1/screenings", wish)
    print(f"Found out: {' and '.join(token['facts'])}; no birth date is kept, only yes and no")

    redeem = {"code": token["code"], "store": store, "gate": "wine-door"}
    elsewhere = broker.refused("/v1/screenings/redeem", {**redeem, "store": "another-store"})
    print(f"Another store's gate says: {elsewhere}")
    opened = broker.post("/v1/screenings/redeem", redeem)
    print(f"The door opens: {', '.join(opened['features'])}")
    again = broker.refused("/v1/screenings/redeem", {**redeem, "gate": "entry-2"})
    print(f"A screenshot of the same token at another gate: {again}")

    minor = {**wish, "screening": broker.name("minor")}
    minor["evidence"] = [{"fact": "over18", "answer": True, "source": "kiosk"}]
    token = broker.post("/v1/screenings", minor)
    opened = broker.post("/v1/screenings/redeem", {**redeem, "code": token["code"]})
    print(f"Who only told the kiosk to be 18 gets through: {opened['features'] or 'no door'}")


if __name__ == "__main__":
    tell(story)
