"""The retailer's calls over HTTP: entry, payment mode, refunds, disputes, uploads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from second_systems import (
    KEYS,
    STORE,
    JournalFile,
    SecondSystems,
    serving,
    store_config,
    whole_visit,
)

from cloud_sync import service, views
from cloud_sync.connector import listen_address
from cloud_sync.database import SCHEMA_VERSION, Database
from cloud_sync.http_sender import EndpointError
from messages.store_config import StoreConfig

WAIT_S = 30.0


class Store:
    """A running sync process, its journal, and the retailer who calls it."""

    def __init__(self, config: StoreConfig, http: aiohttp.ClientSession, port: int) -> None:
        self.config, self.http, self.port = config, http, port
        self.journal = JournalFile(Path(config.paths.journal))

    async def call(self, path: str, key: str = KEYS["connector"], **body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        url, sent = f"http://127.0.0.1:{self.port}{path}", {"storeId": STORE} | body
        if path.startswith(("/v1/trips", "/v1/catalog/uploads")):
            async with self.http.get(url, headers=headers) as reply:
                return reply.status, await reply.json(content_type=None)
        async with self.http.post(url, json=sent, headers=headers) as reply:
            return reply.status, await reply.json(content_type=None)

    async def listens(self, running: asyncio.Task[int]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not running.done():
                try:
                    await self.call("/v1/trips/none")
                    return
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.02)
        await running

    async def trip(self, visit: str, **wanted: Any) -> dict[str, Any]:
        """The trip once it is as wanted."""
        async with asyncio.timeout(WAIT_S):
            while True:
                _, found = await self.call(f"/v1/trips/{visit}")
                if found and all(found.get(name) == value for name, value in wanted.items()):
                    return dict(found)
                await asyncio.sleep(0.02)

    def receipt(self, visit: str) -> dict[str, Any]:
        rows = views.receipts(Path(self.config.paths.sync))
        return next(row for row in rows if row["visit"] == visit)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def open_store(tmp_path: Path, systems: SecondSystems, **cloud: Any) -> AsyncIterator[Store]:
    async with serving(systems), aiohttp.ClientSession() as http:
        port = free_port()
        for name in ("refunds", "connector"):
            (tmp_path / f"{name}.key").write_text(KEYS[name] + "\n")
        config = store_config(
            tmp_path,
            systems.url,
            connector_listen=f"127.0.0.1:{port}",
            connector_key_file=str(tmp_path / "connector.key"),
            broker_refund_key_file=str(tmp_path / "refunds.key"),
            **cloud,
        )
        store = Store(config, http, port)
        running = asyncio.create_task(service.run(config))
        try:
            await store.listens(running)
            yield store
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            store.journal.close()
    assert systems.faults == []


def told(story: Callable[[Store], Awaitable[None]], tmp_path: Path, **cloud: Any) -> SecondSystems:
    systems = SecondSystems()
    for name in ("declines", "hold_most", "strangers"):
        if name in cloud:
            setattr(systems, name, cloud.pop(name))

    async def run() -> None:
        async with open_store(tmp_path, systems, **cloud) as store:
            await asyncio.wait_for(story(store), WAIT_S)

    asyncio.run(run())
    return systems


def eur(minor: Any) -> dict[str, Any]:
    return {"amount": minor, "currencyCode": "EUR"}


def test_in_payment_mode_nothing_is_taken_until_the_retailer_says_what(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "wine", "bread"))  # 18.99 and 2 x 3.49
        await store.trip("v1", state="priced", heldMinor=2000, totalMinor=2597)
        assert store.receipt("v1")["state"] == "priced"
        ask = {"shoppingTripId": "v1"}
        status, refused = await store.call("/v1/capture/charge", amount=eur(2597), **ask)
        assert (status, refused["type"].rsplit("/")[-1]) == (409, "not-in-this-state")
        assert (await store.call("/v1/adjust/charge", amount=eur(2600), **ask))[0] == 200
        await store.trip("v1", state="priced", heldMinor=2600)
        assert (await store.call("/v1/capture/charge", amount=eur(2500), **ask))[0] == 200
        await store.trip("v1", state="paid", totalMinor=2500)
        again = await store.call("/v1/capture/charge", amount=eur(2500), **ask)
        assert again[0] == 200  # the same call: the same answer, nothing more
        assert (await store.call("/v1/cancel/charge", **ask))[0] == 409

    systems = told(story, tmp_path, payment_mode="payment", hold_minor=2000)
    assert systems.captured == {"capture-v1": 2500}
    assert systems.effects["adjust-hold-v1"] == 1


def test_a_cancelled_charge_frees_the_hold(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="priced")
        assert (await store.call("/v1/cancel/charge", shoppingTripId="v1"))[0] == 200
        await store.trip("v1", state="cancelled", heldMinor=0)
        assert store.receipt("v1")["state"] == "void"

    systems = told(story, tmp_path, payment_mode="payment")
    assert (systems.captured, systems.effects["void-hold-v1"]) == ({}, 1)


def test_a_contested_purchase_is_refunded_in_parts_and_never_beyond(tmp_path: Path) -> None:
    systems = SecondSystems()

    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "bread"))
        await store.trip("v1", state="paid", totalMinor=349)
        contest = {"shoppingTripId": "v1", "reasonCode": "NOT_TAKEN", "lineItemIds": ["v1-l0"]}
        assert (await store.call("/v1/contest", **contest))[0] == 200
        await store.trip("v1", state="contested")
        back = {"shoppingTripId": "v1", "refundReasonCode": "NOT_TAKEN"}
        first = back | {"refundRequestId": "r1", "amount": eur(100)}
        for _ in range(2):  # a lost answer: the same demand again
            assert (await store.call("/v1/refund", **first))[0] == 200
            await store.trip("v1", state="paid", refundedMinor=100)
        much = back | {"refundRequestId": "r2", "amount": eur(250)}
        status, refused = await store.call("/v1/refund", **much)
        assert (status, "249" in refused["detail"]) == (409, True)
        rest = back | {"refundRequestId": "r2", "amount": eur(249)}
        assert (await store.call("/v1/refund", **rest))[0] == 200
        await store.trip("v1", state="refunded", refundedMinor=349)
        async with asyncio.timeout(WAIT_S):
            while len(systems.webhooks) < 4:
                systems.told.clear()
                await systems.told.wait()

    async def run() -> None:
        async with open_store(tmp_path, systems) as store:
            await asyncio.wait_for(story(store), WAIT_S)

    asyncio.run(run())
    assert (systems.effects["refund-v1-r1"], systems.effects["refund-v1-r2"]) == (1, 1)
    kinds = [body["type"] for _, body in systems.webhooks]
    assert kinds == ["receipt.issued", "purchase.contested", "payment.refunded", "payment.refunded"]
    assert [body["refunded"] for _, body in systems.webhooks] == [0, 0, 100, 349]
    assert len({message for message, _ in systems.webhooks}) == 4


def test_an_unpaid_purchase_that_was_paid_elsewhere_is_settled(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="unpaid")
        paid = {"shoppingTripId": "v1", "totalAmount": eur(120), "paymentStatusTime": "2026-09-22"}
        part = await store.call("/v1/feedback/payment-status", settledAmount=eur(100), **paid)
        assert (part[0], "still unpaid" in part[1]["detail"]) == (409, True)
        done = await store.call("/v1/feedback/payment-status", settledAmount=eur(120), **paid)
        assert done[0] == 200
        await store.trip("v1", state="paid", capture="")
        assert store.receipt("v1")["state"] == "settled"
        refund = {"refundRequestId": "r", "amount": eur(1), "refundReasonCode": "OTHER"}
        assert (await store.call("/v1/refund", shoppingTripId="v1", **refund))[0] == 409

    assert told(story, tmp_path, declines={"hold"}).captured == {}


def test_the_retailer_decides_at_the_entry_and_a_stranger_gets_no_hold(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"), *whole_visit("v2", "zoe", "apple"))
        await store.trip("v1", state="paid")
        await store.trip("v2", state="unpaid")

    systems = told(story, tmp_path, entry_check="retailer", strangers={"zoe"}, hold_most=700)
    assert systems.sent("ann") == ["v1:verify", "v1:admit", "v1:hold", "v1:price", "v1:capture"]
    assert systems.sent("zoe") == ["v2:verify", "v2:price"]
    by_idem = {arrival.idem: arrival.body for arrival in systems.arrivals}
    assert by_idem["v1:hold"]["amount_minor"] == 700
    assert by_idem["v1:price"]["shopperIdentity"] == {"id": "shopper-ann"}


def test_a_catalogue_is_taken_and_reported_and_remembers_the_price_at_the_pick(
    tmp_path: Path,
) -> None:
    def item(sku: str, minor: int, **more: Any) -> dict[str, Any]:
        named = {"item_sku": sku, "item_name": sku.title(), "standard_price": eur(minor)}
        return named | {"valid_from": "2020-01-01T00:00:00Z"} | more

    async def story(store: Store) -> None:
        items = [
            item("apple", 99),
            item("bread", 349),
            item("bread", 400, valid_from="2030-01-01T00:00:00Z"),
            item("wine", -1),
            item("oil", 5, standard_price={"amount": 5, "currencyCode": "USD"}),
            item("tea", 5, unit="bag"),
            item("jam", 5, valid_from="yesterday"),
        ]
        status, accepted = await store.call("/v1/catalog/upload", items=items)
        assert status == 202
        path = f"/v1/catalog/uploads/{accepted['ingestionId']}"
        async with asyncio.timeout(WAIT_S):
            while (report := (await store.call(path))[1])["status"] != "DONE":
                assert report["status"] == "PENDING"
                await asyncio.sleep(0.02)
        assert report["accepted"] == 3
        assert [one["index"] for one in report["refused"]] == [3, 4, 5, 6]
        assert (await store.call("/v1/catalog/uploads/none"))[0] == 404
        store.journal.append(*whole_visit("v1", "ann", "apple", "bread"))
        await store.trip("v1", state="paid")

    told(story, tmp_path)
    alarms = views.summary(tmp_path / "sync.db")["alarms"]
    assert [alarm["detail"] for alarm in alarms] == [
        "visit v1: apple cost 99 when taken, is charged 120"
    ]


def test_calls_that_are_not_the_contracts_are_problems(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="paid")
        good = {"shoppingTripId": "v1", "amount": eur(120)}
        cases: list[tuple[dict[str, Any], int, str]] = [
            ({"key": "guess"}, 401, "unauthorized"),
            ({"key": ""}, 401, "unauthorized"),
            ({"storeId": "s2"}, 404, "unknown-store"),
            ({"shoppingTripId": "v9"}, 404, "unknown-trip"),
            ({"shoppingTripId": "x" * 201}, 422, "invalid-body"),
            ({"amount": eur("1.20")}, 422, "invalid-body"),
            ({"amount": {"amount": 120, "currencyCode": "USD"}}, 422, "currency-mismatch"),
            ({"amount": eur(-5)}, 409, "not-in-this-state"),
        ]
        for wrong, status, slug in cases:
            found = await store.call("/v1/capture/charge", **good | wrong)
            assert (found[0], found[1]["type"].rsplit("/")[-1]) == (status, slug), wrong

    told(story, tmp_path)
    for text in ("0.0.0.0:80", "localhost", "127.0.0.1:99999", "10.0.0.1:80", "127.0.0.1:x", ""):
        with pytest.raises(EndpointError, match="reverse proxy"):
            listen_address(text)


def test_a_file_of_version_1_is_taken_over_with_its_receipts_and_waiting_requests(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sync.db"

    async def opened() -> None:
        from cloud_sync import book, outbox

        database = await Database.open(path, outbox.SCHEMA, book.SCHEMA)
        await database.close()

    asyncio.run(opened())
    with sqlite3.connect(path) as db:  # as version 1 had it
        db.executescript(
            "DROP TABLE receipt; CREATE TABLE receipt(visit TEXT PRIMARY KEY, account TEXT NOT"
            " NULL, state TEXT NOT NULL CHECK(state IN ('pending','parked','bad_cart','paid',"
            "'free','unpaid','void')), currency TEXT, total_minor INTEGER, purchase TEXT,"
            " capture TEXT,"
            " lines TEXT, in_review TEXT, started_wall_ns INTEGER, exit_wall_ns INTEGER,"
            " issued_wall_ns INTEGER, detail TEXT) WITHOUT ROWID; PRAGMA user_version=1;"
            "INSERT INTO receipt VALUES('v1','a','paid','EUR',5,'p','c','[]','[]',1,2,3,'');"
            "INSERT INTO request(grp,cause,message,idem,operation,destination,visit,subject,path,"
            "body,created_ns)"
            " VALUES('a',1,'v2:hold','v2:hold','hold','broker','v2','h','/',x'7b',1)"
        )
    asyncio.run(opened())
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT visit, state, refunded_minor FROM receipt").fetchall() == [
            ("v1", "paid", 0)
        ]
        assert db.execute("SELECT count(*) FROM request").fetchone() == (1,)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
