"""System H: signed webhooks, in order, once, durable, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from both_databases import Ledger
from desk import RACERS, Desk, a_key
from receiver import Receiver, subscribed, with_receiver

from broker.routes import Nothing
from broker.systems import deliveries, events, webhook_desk, webhook_endpoints
from broker.systems.webhook_endpoints import EndpointChange, WebhookEndpointRequest

Deliver = Callable[[], Awaitable[None]]
SHOP = "merchant:shop"


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    return Desk(ledger)


def tell(desk: Desk, kind: str, about: str, party: str = SHOP, **data: Any) -> Awaitable[None]:
    return desk.ledger.database.submit(
        lambda db: events.tell(db, party, kind, about, desk.now_s, data)
    )


def did(desk: Desk, effect: Any, name: str, asked: Any = None) -> Awaitable[Any]:
    call = desk.call(id=name)
    return desk.ledger.database.submit(lambda db: effect(db, call, asked or Nothing()))


def queue_of(desk: Desk) -> webhook_desk.Queue:
    found: webhook_desk.Queue = desk.ledger.ask(webhook_desk.queue)
    return found


def test_what_is_told_arrives_signed_in_order_and_once(desk: Desk) -> None:
    async def story(receiver: Receiver, url: str, deliver: Deliver) -> None:
        await subscribed(desk, receiver, url, party=SHOP)
        for number in range(5):
            await tell(desk, "order.placed", f"order-{number}", total=number)
        await tell(desk, "order.placed", "order-3", total=3)  # told twice is told once
        await tell(desk, "bid.won", "bid-1", party="merchant:other")
        await deliver()

    receiver = with_receiver(desk, story)
    assert [event.subject for _, event in receiver.got] == [f"order-{n}" for n in range(5)]
    assert receiver.got[2][1].data == {"about": "order-2", "total": 2}
    assert receiver.at_once_max == 1  # one group: one under way
    assert len({message for message, _ in receiver.got}) == 5
    assert queue_of(desk).depth == 0
    assert desk.breaches() == {}


def test_nothing_is_told_of_an_effect_that_did_not_commit(desk: Desk) -> None:
    async def fails(db: Any) -> None:
        await events.tell(db, SHOP, "order.placed", "never", desk.now_s)
        raise RuntimeError("the effect fails")

    with pytest.raises(RuntimeError, match="the effect fails"):
        desk.ledger.do(fails)
    assert desk.ledger.rows("SELECT event FROM event") == []
    assert desk.ledger.rows("SELECT event FROM event_due") == []
    with pytest.raises(KeyError):
        desk.ledger.do(lambda db: events.tell(db, SHOP, "order.invented", "x", desk.now_s))


def test_refused_head_stops_its_group_alone_until_somebody_decides(desk: Desk) -> None:
    async def story(receiver: Receiver, url: str, deliver: Deliver) -> None:
        await subscribed(desk, receiver, url, party=SHOP, ordering="parallel")
        receiver.statuses = [400] * 10
        await tell(desk, "order.placed", "a")
        await deliver()
        for _ in range(9):  # the standard's ten tries
            desk.now_s += 120_000
            await deliver()
        await tell(desk, "order.canceled", "a")
        await tell(desk, "order.placed", "b")
        await deliver()
        assert [event.subject for _, event in receiver.got] == ["b"]
        found = await desk.ledger.database.read(webhook_desk.queue)
        (held,) = found.held
        assert (held.about, held.status, held.attempts, held.waiting) == ("a", 400, 10, 2)
        await did(desk, webhook_desk.retry, held.group)
        await deliver()
        assert receiver.kinds()[1:] == ["order.placed", "order.canceled"]

    receiver = with_receiver(desk, story)
    assert [event.subject for _, event in receiver.got] == ["b", "a", "a"]
    assert queue_of(desk).held == []
    assert desk.breaches() == {}


def test_operator_skips_a_head_or_cancels_all_of_a_group(desk: Desk) -> None:
    async def story(receiver: Receiver, url: str, deliver: Deliver) -> None:
        await subscribed(desk, receiver, url)
        for name in ("a", "b", "c", "d"):
            await tell(desk, "order.placed", name)
        for parked in ("a", "c"):
            receiver.statuses = [500] * 10
            for _ in range(10):
                await deliver()
                desk.now_s += 120_000
            assert (await desk.ledger.database.read(webhook_desk.queue)).held[0].about == parked
            verb = webhook_desk.skip if parked == "a" else webhook_desk.cancel
            receiver.statuses = [200, *[500] * 10]
            await did(desk, verb, "hook")
            await deliver()
        await tell(desk, "order.placed", "e")
        receiver.statuses = []
        await deliver()

    receiver = with_receiver(desk, story)
    assert [event.subject for _, event in receiver.got] == ["b", "e"]
    assert queue_of(desk).depth == 0
    states = dict(desk.ledger.rows("SELECT state, COUNT(*) FROM webhook_message GROUP BY state"))
    assert states == {"done": 2, "void": 3}
    assert desk.refused(webhook_desk.retry, Nothing(), id="hook") == "wrong-state"
    assert desk.refused(webhook_desk.skip, Nothing(), id="nobody") == "unknown-group"
    assert desk.breaches() == {}


def test_lost_answer_is_sent_again_with_the_same_bytes_and_id(desk: Desk) -> None:
    async def story(receiver: Receiver, url: str, deliver: Deliver) -> None:
        await subscribed(desk, receiver, url)
        await tell(desk, "order.placed", "a", total=5)
        now_s = desk.now_s
        submit = desk.ledger.database.submit
        await submit(lambda db: deliveries.hand_on(db, now_s))
        (head,) = await submit(lambda db: deliveries.claim(db, {"hook": 8}, now_s))
        assert await submit(lambda db: deliveries.claim(db, {"hook": 8}, now_s)) == []
        desk.now_s += deliveries.LEASE_S  # its broker died
        await deliver()
        await submit(lambda db: deliveries.park(db, head, 500, "the dead one comes back"))
        await did(desk, webhook_desk.replay, head.message)
        await deliver()

    receiver = with_receiver(desk, story)
    assert len(receiver.got) == 2
    assert receiver.got[0] == receiver.got[1]
    assert receiver.bodies[0] == receiver.bodies[1]
    assert queue_of(desk).held == []
    assert desk.breaches() == {}


def test_racing_brokers_send_each_message_of_a_group_one_at_a_time(desk: Desk) -> None:
    async def story(receiver: Receiver, url: str, deliver: Deliver) -> None:
        await subscribed(desk, receiver, url, ordering="parallel")
        await asyncio.gather(*(tell(desk, "order.placed", f"o{n % 8}-{n}") for n in range(RACERS)))
        submit, now_s = desk.ledger.database.submit, desk.now_s
        await asyncio.gather(*(submit(lambda db: deliveries.hand_on(db, now_s)) for _ in range(8)))
        claims = [submit(lambda db: deliveries.claim(db, {"hook": 99}, now_s)) for _ in range(8)]
        taken = [head.message for found in await asyncio.gather(*claims) for head in found]
        assert len(taken) == len(set(taken)) == RACERS
        desk.now_s += deliveries.LEASE_S
        await deliver()

    receiver = with_receiver(desk, story)
    assert len({message for message, _ in receiver.got}) == len(receiver.got) == RACERS
    assert desk.breaches() == {}


def test_rotated_secret_signs_beside_the_old_one_for_a_day(desk: Desk) -> None:
    async def story(receiver: Receiver, url: str, deliver: Deliver) -> None:
        made = await subscribed(desk, receiver, url)
        assert receiver.secret.startswith("whsec_")
        rotated = json.loads((await did(desk, webhook_endpoints.rotate, "hook")).body)
        assert rotated["secret_id"] != made["secret_id"]
        await tell(desk, "order.placed", "a")
        await deliver()  # the receiver still knows the old one
        receiver.secret = webhook_endpoints.secret_of(a_key(), rotated["secret_id"])
        desk.now_s += webhook_endpoints.OLD_SECRET_S + 1
        await tell(desk, "order.placed", "b")
        await deliver()

    receiver = with_receiver(desk, story)
    assert receiver.signatures == [2, 1]
    stored = json.dumps(desk.ledger.rows("SELECT * FROM webhook_endpoint"))
    assert receiver.secret not in stored


def test_receiver_that_is_gone_gets_nothing_until_it_is_enabled(desk: Desk) -> None:
    async def story(receiver: Receiver, url: str, deliver: Deliver) -> None:
        await subscribed(desk, receiver, url)
        receiver.statuses = [410]
        await tell(desk, "order.placed", "a")
        await deliver()
        desk.now_s += 999_999
        await deliver()
        assert receiver.got == []
        row = await desk.ledger.database.read(lambda db: webhook_endpoints.row_of(db, "hook"))
        assert (row.shown.status, row.shown.detail) == ("disabled", "it answered 410: gone")
        assert (await desk.ledger.database.read(webhook_desk.queue)).disabled == ["hook"]
        desk.if_match = row.shown.version
        await did(desk, webhook_endpoints.change, "hook", EndpointChange(url=url))
        await deliver()

    receiver = with_receiver(desk, story)
    assert receiver.kinds() == ["order.placed"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "https://2130706433/x",
        "https://metadata.internal/x",
        "https://user:pass@example.com/x",
        "unix:/run/x.sock",
        "ftp://example.com/x",
    ],
)
def test_address_inside_the_operators_network_is_refused(desk: Desk, url: str) -> None:
    asked = WebhookEndpointRequest(endpoint="e", url=url, party=SHOP)
    assert desk.refused(webhook_endpoints.create, asked) == "invalid-body"


def test_merchants_key_makes_and_sees_its_own_endpoints_alone(desk: Desk) -> None:
    good = "https://hooks.example.com/x"
    desk.do(webhook_endpoints.create, WebhookEndpointRequest(endpoint="ours", url=good))
    desk.party = "shop"
    mine = WebhookEndpointRequest(endpoint="mine", url=good, party=SHOP)
    desk.do(webhook_endpoints.create, mine)
    for party in ("", "merchant:other", "sponsor:shop", "store:shop"):
        asked = WebhookEndpointRequest(endpoint="x", url=good, party=party)
        assert desk.refused(webhook_endpoints.create, asked) == "unknown-endpoint"
    inside = WebhookEndpointRequest(endpoint="y", url=good, party=SHOP, network="private")
    assert desk.refused(webhook_endpoints.create, inside) == "merchants-key"
    taken = WebhookEndpointRequest(endpoint="ours", url=good, party=SHOP)
    assert desk.refused(webhook_endpoints.create, taken) == "unknown-endpoint"
    for number in range(webhook_endpoints.OF_PARTY_MAX - 1):
        more = WebhookEndpointRequest(endpoint=f"m{number}", url=good, party=SHOP)
        desk.do(webhook_endpoints.create, more)
    one_more = WebhookEndpointRequest(endpoint="z", url=good, party=SHOP)
    assert desk.refused(webhook_endpoints.create, one_more) == "too-many-endpoints"
    desk.ledger.change("DELETE FROM webhook_endpoint WHERE endpoint LIKE 'm_'")
    page = desk.ask(webhook_endpoints.page, "", 10)
    assert [one.endpoint for one in page.endpoints] == ["mine"]
    assert page.endpoints[0].secret == ""
    assert desk.refused(webhook_endpoints.rotate, Nothing(), id="ours") == "unknown-endpoint"


PLANTED = {
    "what was done was told": (
        "INSERT INTO merchant_notice (merchant, kind, about, at_s)"
        " VALUES ('shop', 'order.placed', 'silent', 5)"
    ),
    "a message stands at one place": "UPDATE webhook_group SET next_place = 1",
    "the head is the first that waits": "UPDATE webhook_group SET head = ''",
    "in a group nothing was answered before": (
        "UPDATE webhook_message SET state = 'done' WHERE place = 2"
    ),
    "a group that holds nothing": "UPDATE webhook_group SET head = '', state = 'parked'",
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_in_the_queue_is_found(desk: Desk, name: str) -> None:
    good = "https://hooks.example.com/x"
    desk.do(webhook_endpoints.create, WebhookEndpointRequest(endpoint="hook", url=good))
    for about in ("a", "b"):
        desk.ledger.do(lambda db, a=about: events.tell(db, SHOP, "order.placed", a, desk.now_s))
    desk.ledger.do(lambda db: deliveries.hand_on(db, desk.now_s))
    assert desk.breaches() == {}
    desk.ledger.change(PLANTED[name])
    assert [found for found in desk.breaches() if name in found]


def test_old_messages_and_events_are_forgotten_and_those_that_wait_are_not(desk: Desk) -> None:
    good = "https://hooks.example.com/x"
    desk.do(webhook_endpoints.create, WebhookEndpointRequest(endpoint="hook", url=good))
    for about in ("a", "b"):
        desk.ledger.do(lambda db, a=about: events.tell(db, SHOP, "order.placed", a, desk.now_s))
    desk.ledger.do(lambda db: deliveries.hand_on(db, desk.now_s))
    (head,) = desk.ledger.do(lambda db: deliveries.claim(db, {"hook": 1}, desk.now_s))
    desk.ledger.do(lambda db: deliveries.delivered(db, head, 200, desk.now_s))
    desk.now_s += events.KEPT_S + 1
    assert desk.ledger.do(lambda db: deliveries.purge(db, desk.now_s)) == 1
    assert desk.ledger.do(lambda db: events.purge(db, desk.now_s)) == 1
    assert [row[0] for row in desk.ledger.rows("SELECT about FROM event")] == ["b"]
    assert queue_of(desk).depth == 1
    assert desk.breaches() == {}
