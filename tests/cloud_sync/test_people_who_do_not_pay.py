"""Refused while inside, unpaid at the exit, never captured, never looked at: who is told what."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from second_systems import (
    JournalFile,
    SecondSystems,
    cart_closed,
    serving,
    store_config,
    visit_started,
    whole_visit,
)
from test_retailer_calls import Store, eur, open_store, told
from test_settling_over_http import receipts, settle
from typer.testing import CliRunner

import walkout
from cloud_sync import metrics, owing_report, service, standing, views
from cloud_sync.database import Database
from cloud_sync.service import HEARTBEAT_NS
from edge.control import ControlServer
from messages.observations import OperatorAction, OperatorActionKind
from messages.store_config import Paths, StoreConfig
from sim.store_toml import store_toml

DAY_NS = standing.DAY_NS


def alarms(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in views.summary(tmp_path / "sync.db")["alarms"]}


@pytest.mark.parametrize(
    ("cloud", "reason"),
    [({"declines": {"hold"}}, "limit-exceeded"), ({"strangers": {"ann"}}, "UNKNOWN_SHOPPER")],
)
def test_who_is_refused_inside_is_an_alarm_until_the_exit_and_then_unpaid(
    tmp_path: Path, cloud: dict[str, Any], reason: str
) -> None:
    async def story(store: Store) -> None:
        store.journal.append(visit_started("v1", "ann"))
        trip = await store.trip("v1", state="no_hold", refused=reason)
        assert trip["heldMinor"] == 0
        alarm = alarms(tmp_path)["inside:v1"]
        assert alarm["severity"] == "warning"
        assert f"visit v1 of account ann is inside and was refused: {reason}" in alarm["detail"]
        store.journal.append(cart_closed("v1", "ann", "apple"))
        await store.trip("v1", state="unpaid", totalMinor=120)
        assert store.receipt("v1")["detail"] == reason
        assert "inside:v1" not in alarms(tmp_path)

    entry = {"entry_check": "retailer"} if "strangers" in cloud else {}
    systems = told(story, tmp_path, **cloud, **entry)
    assert systems.captured == {}
    assert [one["message"] for one in views.deliveries(tmp_path / "sync.db")] == [
        "v1:payment.declined"
    ]


def test_a_refusal_that_comes_after_the_cart_is_no_alarm_but_unpaid(tmp_path: Path) -> None:
    systems = SecondSystems(declines={"hold"})
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    assert receipts(config)["v1"]["state"] == "unpaid"
    assert alarms(tmp_path) == {}


# --- who owes does not come in ----------------------------------------------------------------


class Daemon:
    """The real control socket, with a list in the engine's place."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.sock"
        self.heard: list[OperatorAction] = []

    async def apply(self, action: OperatorAction, wanted: object) -> tuple[int, None]:
        self.heard.append(action)
        return 1, None

    @property
    def owing(self) -> list[tuple[str, ...]]:
        found = [a for a in self.heard if a.kind is OperatorActionKind.OWING]
        return [tuple(map(str, a.denied_accounts)) for a in found]


async def drained(folder: Path, systems: SecondSystems, daemon: Daemon, **cloud: Any) -> None:
    config = store_config(folder, systems.url, **cloud)
    paths = replace(config.paths, control_socket=str(daemon.path))
    object.__setattr__(config, "paths", paths)
    assert await asyncio.wait_for(service.run(config, drain=True), 30) == 0


def test_the_daemon_is_told_who_owes_and_when_it_is_paid(tmp_path: Path) -> None:
    systems, daemon = SecondSystems(declines={"hold"}), Daemon(tmp_path)

    async def story() -> None:
        server = ControlServer(daemon.path, daemon.apply, lambda: 1)
        await server.listen()
        listening = asyncio.create_task(server.run())
        async with serving(systems):
            journal = JournalFile(tmp_path / "journal.db")
            journal.append(*whole_visit("v1", "zoe", "apple"), *whole_visit("v2", "ann", "apple"))
            journal.append(*whole_visit("v3", "ann", "apple"))
            await drained(tmp_path, systems, daemon)  # unpaid only after this one's only beat
            await drained(tmp_path, systems, daemon)
            await drained(tmp_path, systems, daemon, unpaid_entry="allow")
            journal.close()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    asyncio.run(story())
    assert daemon.owing == [(), ("ann", "zoe"), ()]


def test_an_operator_settles_a_debt_by_its_visit(tmp_path: Path) -> None:
    systems = SecondSystems(declines={"hold"})
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    (tmp_path / "store.toml").write_text(store_toml(config))
    words = ["sync", "settled", "v1", "--minor", "120", "--at", "till-2"]
    done = CliRunner().invoke(walkout.app, [*words, "--config", str(tmp_path / "store.toml")])
    assert done.exit_code == 0, done.output
    settle(tmp_path, systems)
    receipt = receipts(config)["v1"]
    assert (receipt["state"], receipt["detail"]) == ("settled", "settled elsewhere till-2")
    assert [row["action"] for row in views.audit(tmp_path / "sync.db")] == ["settled"]


def test_it_is_told_once_and_again_when_it_did_not_answer(tmp_path: Path) -> None:
    paths = Paths(control_socket=str(tmp_path / "control.sock"), sync=str(tmp_path / "sync.db"))
    report = owing_report.OwingReport(StoreConfig(store="s1", paths=paths))
    systems = SecondSystems(declines={"hold"})
    settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))

    async def story() -> list[list[str] | None]:
        database = await Database.open(tmp_path / "sync.db")
        found = [await report.news(database.connection)]  # no daemon: nobody to tell
        Path(paths.control_socket).touch()  # a dead one's
        for _ in range(2):
            news = await report.news(database.connection)
            assert news is not None
            await report.tell(news)
            found.append(news)
        await database.close()
        return found

    assert asyncio.run(story()) == [None, ["ann"], ["ann"]]


def test_ten_thousand_debtors_fit_into_one_message(tmp_path: Path) -> None:
    settle(tmp_path, SecondSystems(declines={"hold"}), *whole_visit("v1", "ann", "apple"))
    with sqlite3.connect(tmp_path / "sync.db") as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10000)"
            " INSERT INTO receipt SELECT 'w'||i, 'debtor-'||i||'-'||printf('%.200c','x'), state,"
            " currency, total_minor, purchase, capture, lines, in_review, started_wall_ns,"
            " exit_wall_ns, issued_wall_ns+i, detail, 0, '[]', 1, '[]', 0, 0"
            " FROM receipt, n WHERE visit='v1'"
        )

    async def story() -> list[str]:
        database = await Database.open(tmp_path / "sync.db")
        found = await owing_report.accounts(database.connection)
        await database.close()
        return found

    found = asyncio.run(story())
    assert len(str(found).encode()) < owing_report.LINE_BYTES_MAX
    assert any(name.startswith("debtor-10000-") for name in found)  # the newest debts


# --- what stands still ------------------------------------------------------------------------


def looked(path: Path, days: float) -> int:
    """A look at the file so many days after its newest purchase."""

    async def story() -> int:
        database = await Database.open(path)
        (row,) = await database.connection.execute_fetchall("SELECT max(updated_ns) FROM purchase")
        at_ns = int(row[0]) + round(days * DAY_NS)
        async with database.transaction():
            found = await standing.look(database, at_ns, at_ns)
        await database.close()
        return found

    return asyncio.run(story())


def test_a_price_that_nobody_captures_is_an_alarm_that_grows_and_goes(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="priced")

    told(story, tmp_path, payment_mode="payment")
    sync = tmp_path / "sync.db"
    assert looked(sync, 0.9) == 0
    assert alarms(tmp_path) == {}
    assert looked(sync, 1.1) == 1
    alarm = alarms(tmp_path)["standing:v1"]
    assert alarm["severity"] == "warning"
    assert "visit v1 of account ann has been priced for 1 days" in alarm["detail"]
    looked(sync, 6.5)
    assert alarms(tmp_path)["standing:v1"]["severity"] == "critical"
    shown = views.summary(sync)
    assert shown["metrics"]["standing"]["priced"]["count"] == 1
    assert 'walkout_sync_standing{stage="priced"} 1' in metrics.prometheus(shown)

    async def later(store: Store) -> None:
        await store.call("/v1/capture/charge", shoppingTripId="v1", amount=eur(120))
        await store.trip("v1", state="paid")

    systems = SecondSystems()

    async def run() -> None:
        async with open_store(tmp_path, systems, payment_mode="payment") as store:
            await later(store)

    asyncio.run(run())
    assert alarms(tmp_path) == {}
    assert views.summary(sync)["metrics"]["standing"]["priced"]["count"] == 0


def test_a_contested_receipt_that_nobody_looks_at_is_an_alarm(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="paid")
        await store.call("/v1/contest", shoppingTripId="v1", reasonCode="NOT_TAKEN")
        await store.trip("v1", state="contested")

    told(story, tmp_path)
    assert looked(tmp_path / "sync.db", 2) == 0
    assert looked(tmp_path / "sync.db", 4) == 1
    assert "walkout sync reviewed" in alarms(tmp_path)["standing:v1"]["detail"]


def test_a_look_costs_what_stands_and_not_what_is_done(tmp_path: Path) -> None:
    settle(tmp_path, SecondSystems(), *whole_visit("v1", "ann", "apple"))
    with sqlite3.connect(tmp_path / "sync.db") as db:
        queries = {
            "standing": "SELECT visit FROM purchase WHERE stage='priced' AND updated_ns<5"
            " AND stage IN ('priced','contested')",
            "unpaid": "SELECT account FROM receipt WHERE state='unpaid' GROUP BY account",
        }
        for index, query in queries.items():
            plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert f"_{index}" in plan, plan


def test_alarms_that_are_over_are_forgotten_after_a_month(tmp_path: Path) -> None:
    async def story() -> list[Any]:
        database = await Database.open(tmp_path / "sync.db")
        async with database.transaction():
            for key in ("old", "new", "up"):
                await database.raise_alarm(key, "warning", "x", 1)
            await database.clear_alarm("old", 1)
            await database.clear_alarm("new", 20 * DAY_NS)
        async with database.transaction():
            await database.prune_alarms(40 * DAY_NS)
        rows = await database.connection.execute_fetchall("SELECT key FROM alarm ORDER BY key")
        await database.close()
        return [key for (key,) in rows]

    assert asyncio.run(story()) == ["new", "up"]
    assert standing.LOOK_EVERY_NS > HEARTBEAT_NS
