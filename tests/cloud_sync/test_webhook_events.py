"""Types, schemas and examples of webhooks; several receivers; batches."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from second_systems import SECRET, JournalFile, SecondSystems, serving, store_config, whole_visit

from cloud_sync import hooks, outbox, service, views, webhook_events, webhooks
from cloud_sync.database import Database
from cloud_sync.hooks import Hook, HookError
from cloud_sync.outbox import BATCH_MAX, Outbox
from cloud_sync.purchase import Receipt
from messages.contract import WebhookBody
from messages.ids import AccountRef, StoreId, VisitId
from messages.money import Money
from messages.store_config import StoreConfig, WebhookTarget

DOCS = Path(__file__).parents[2] / "docs"


def receipt(visit: str, state: str = "paid", **more: Any) -> Receipt:
    return Receipt(
        visit=VisitId(visit),
        account=AccountRef("ann"),
        state=state,
        total=Money(minor=5, currency="EUR"),
        **more,
    )


@pytest.mark.parametrize("kind", webhook_events.EVENTS, ids=lambda kind: kind.name)
def test_every_type_has_an_example_that_its_types_accept(kind: webhook_events.EventType) -> None:
    body = msgspec.json.decode(msgspec.json.encode(webhook_events.example(kind)), type=WebhookBody)
    data = msgspec.convert(body.data, webhook_events.ReceiptData)
    assert data.state in kind.states
    assert (body.specversion, body.type, body.subject) == ("1.0", kind.name, data.visit)
    assert body.source == f"/stores/{data.store}"
    assert f'"{kind.name}"' in (DOCS / "webhook-schemas.json").read_text()


def test_every_final_state_of_a_receipt_has_a_type_that_lists_it() -> None:
    by_name = {kind.name: kind for kind in webhook_events.EVENTS}
    for state, name in webhook_events.BY_STATE.items():
        assert state in by_name[name].states
    assert webhook_events.kind_of(receipt("v1", "pending")) is None


def test_a_receiver_gets_its_types_alone_under_ids_of_its_own() -> None:
    every = (Hook(), Hook(name="loyalty", order="batch", types=("payment.refunded",)))
    (one,) = hooks.deliveries(receipt("v1"), StoreId("s1"), every)
    assert (one.destination, one.idem) == ("webhook", "v1:receipt.issued")
    back = receipt("v1", kind="payment.refunded", number=1)
    main, loyalty = hooks.deliveries(back, StoreId("s1"), every)
    assert (main.idem, loyalty.idem) == ("v1:payment.refunded:1", "v1:payment.refunded:1@loyalty")
    assert (loyalty.destination, loyalty.group) == ("webhook:loyalty", "webhook:loyalty")
    assert json.loads(loyalty.body)[0]["id"] == "msg_v1:payment-refunded:1"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([{"name": "retailer"}], "the one in"),
        ([{"name": "a b"}], "letters, digits"),
        ([{"name": "x"}, {"name": "x"}], "twice"),
        ([{"name": "x", "types": ("receipt.isued",)}], "none of receipt.issued"),
        ([{"name": f"n{i}"} for i in range(17)], "at most 16"),
    ],
)
def test_a_receiver_that_is_configured_wrongly_is_named(
    wrong: list[dict[str, Any]], words: str
) -> None:
    rows = tuple(WebhookTarget(url="https://x", secret_file="k", **one) for one in wrong)
    with pytest.raises(HookError, match=words):
        hooks.targets(StoreConfig(store=StoreId("s1"), webhooks=rows))


def test_what_waits_is_joined_and_what_was_sent_keeps_its_bytes(tmp_path: Path) -> None:
    batch = (Hook(name="b", order="batch"),)

    def told(visit: str) -> list[outbox.NewRequest]:
        return hooks.deliveries(receipt(visit), StoreId("s1"), batch)

    async def story() -> list[list[str]]:
        database = await Database.open(tmp_path / "sync.db", outbox.SCHEMA)
        queue, seen = Outbox(database), []
        async with database.transaction():
            await queue.add(told("v0"), 1)
        async with database.transaction():
            (first,) = await queue.claim("webhook:b", 8, 1)
            await queue.add([r for i in range(1, 4) for r in told(f"v{i}")], 2)
        await queue.recover(3)  # a kill while it was sent: the same bytes again
        async with database.transaction():
            await queue.add([r for i in range(4, 6) for r in told(f"v{i}")], 3)
            (again,) = await queue.claim("webhook:b", 8, 3)
            assert again.body == first.body
            seen.append(_visits(again.body))
            await queue.done([(again, 204)], 4)
            await queue.add([r for i in range(6, 6 + BATCH_MAX) for r in told(f"v{i}")], 5)
        for now_ns in (6, 7):
            async with database.transaction():
                (taken,) = await queue.claim("webhook:b", 8, now_ns)
                seen.append(_visits(taken.body))
                await queue.done([(taken, 204)], now_ns)
        await database.close()
        return seen

    seen = asyncio.run(story())
    assert seen[0] == ["v0"]
    assert len(seen[1]) == BATCH_MAX
    assert [visit for batch in seen for visit in batch] == [f"v{i}" for i in range(6 + BATCH_MAX)]


def _visits(body: bytes) -> list[str]:
    return [event["subject"] for event in json.loads(body)]


def test_a_receiver_that_is_down_holds_up_nobody_and_then_gets_a_batch_in_order(
    tmp_path: Path,
) -> None:
    main, other = SecondSystems(), SecondSystems()
    broken = [(503, {}, b"")]
    other.fate = lambda arrival: broken.pop() if broken else None

    async def story() -> StoreConfig:
        async with serving(main), serving(other):
            config = store_config(tmp_path, main.url, request_group="merchant")
            target = WebhookTarget(
                name="loyalty",
                url=f"{other.url}/hook",
                secret_file=config.cloud.webhook_secret_file,
                order="batch",
                network="private",
            )
            object.__setattr__(config, "webhooks", (target,))
            journal = JournalFile(Path(config.paths.journal))
            journal.append(*(e for i in range(5) for e in whole_visit(f"v{i}", "ann", "apple")))
            assert await asyncio.wait_for(service.run(config, drain=True), 60) == 0
            journal.close()
            return config

    config = asyncio.run(story())
    assert (main.faults, other.faults) == ([], [])
    assert [body["type"] for _, body in main.webhooks] == ["receipt.issued"] * 5
    told = [event["visit"] for _, event in other.webhooks]
    assert told == [f"v{i}" for i in range(5)]
    kinds = {row["destination"] for row in views.deliveries(Path(config.paths.sync))}
    assert kinds == {"webhook", "webhook:loyalty"}


@given(st.lists(st.integers(), max_size=5), st.lists(st.integers(), max_size=5))
def test_two_batches_join_to_one_in_order(first: list[int], second: list[int]) -> None:
    whole = outbox.joined(json.dumps(first).encode(), json.dumps(second).encode())
    assert whole is not None
    assert json.loads(whole) == first + second


def test_a_genuine_batch_is_read_and_as_a_single_event_refused() -> None:
    signing = webhooks.signer(SECRET)
    one = msgspec.json.encode(webhook_events.example(webhook_events.EVENTS[0]))
    body = b"[%b,%b]" % (one, one)
    headers = webhooks.sign(signing, "m1", 10**18, body)
    message, events = webhooks.verify_all(signing, headers, body, 10**18)
    assert (message, len(events)) == ("m1", 2)
    with pytest.raises(webhooks.WebhookRefused, match="batch of 2"):
        webhooks.verify(signing, headers, body, 10**18)
