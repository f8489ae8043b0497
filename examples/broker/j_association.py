"""System J: a shopper becomes a shop's customer by visiting it, as far as she allows.

python examples/broker/j_association.py
"""

from __future__ import annotations

from live import Client, Refused, euro, tell


def story(broker: Client) -> None:
    """Anna visits a bakery three times, is asked, says yes, and later leaves for good."""
    anna, bakery = broker.name("anna"), broker.name("bakery")
    broker.post("/v1/accounts", {"account": anna, "currency": "EUR", "limit_minor": 10_000})
    rule = {"min_trips": 3, "min_minor": 500, "currency": "EUR", "window_days": 30}
    broker.put(f"/v1/merchants/{bakery}/association-rule", rule, If_Match='"0"')
    print(f"The bakery's rule: three visits in 30 days, {euro(500)} together")

    states = [_visit(broker, anna, bakery, number) for number in range(3)]
    print(f"Three visits later: {', then '.join(states)}")
    print(f"  the bakery sees {len(_followers(broker, bakery))} customers, Anna is asked")
    path = f"/v1/accounts/{anna}/associations/{bakery}"
    joined = broker.post(f"{path}/accept")
    (follower,) = _followers(broker, bakery)
    print(
        f"She says yes: {joined['state']}; the bakery knows her as {follower['pairwise'][:6]}...,"
    )
    print(f"  and may {'' if follower['marketing'] else 'not '}advertise to her")

    setting = {"auto_join": "on"}
    at = f"/v1/accounts/{anna}/association-setting"
    try:
        broker.put(at, setting, If_Match='"0"')
    except Refused as refusal:
        print(f"Joining shops unasked without consent to profiling: {refusal.slug}")
    broker.put(at, {**setting, "profiling": True}, If_Match='"0"')
    print("With that consent she allows it")
    print(f"She leaves the bakery: {broker.delete(path)['state']}")
    print(f"  after a fourth visit: {_visit(broker, anna, bakery, 3)}")


def _visit(broker: Client, anna: str, bakery: str, number: int) -> str:
    """A visit, captured and told with its categories; what became of the association."""
    name, capture = broker.name(f"hold{number}"), broker.name(f"capture{number}")
    hold = {"hold": name, "account": anna, "store": "lab", "credential": name}
    hold |= {"visit": broker.name(f"visit{number}"), "currency": "EUR"}
    broker.post("/v1/holds", {**hold, "amount_minor": 250})
    taken = {"capture": capture, "merchant": bakery, "purchase": name, "currency": "EUR"}
    money = {"amount_minor": 250, "line_totals": [250]}
    broker.post(f"/v1/holds/{name}/capture", {**taken, **money})
    told = {"capture": capture, "categories": ["bread"]}
    state: str = broker.post("/v1/interactions", told)["state"]
    return state


def _followers(broker: Client, bakery: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = broker.get(f"/v1/merchants/{bakery}/followers")["followers"]
    return found


if __name__ == "__main__":
    tell(story)
