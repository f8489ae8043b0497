"""The sync process against the real broker and the reference retailer, all as processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from second_systems import JournalFile, cart_closed, store_config, visit_started

import broker.service
import sim.retailer.service
from cloud_sync import views
from messages.contract import AccountRequest, CredentialRequest
from messages.ids import CredentialId
from messages.store_config import Cloud
from sim.retailer.catalogue import CATALOGUE
from sim.store_toml import store_toml

SERVE = (
    "import sys, pathlib, {0} as s;"
    "sys.exit(s.serve(data=pathlib.Path(sys.argv[1]), host='127.0.0.1', port=0,"
    " ready=pathlib.Path(sys.argv[2])))"
)
SYNC = (
    "import sys, pathlib, cloud_sync.service as s;"
    "sys.exit(s.main(pathlib.Path(sys.argv[1]), drain=True))"
)
VISITS = 12
FAULTS = "[purchases]\nfail_times = 2\ndrop_times = 2\n[webhooks]\nfail_times = 1\ndrop_times = 1\n"


@contextmanager
def served(module: str, data: Path) -> Iterator[str]:
    """A service as a child process; its URL."""
    data.mkdir(exist_ok=True)
    ready = data.parent / f"{module}.port"
    process = subprocess.Popen([sys.executable, "-c", SERVE.format(module), data, ready])
    try:
        deadline = time.monotonic() + 30
        while not ready.exists() or not ready.read_text().strip():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{ready.read_text().strip()}"
    finally:
        process.terminate()
        process.wait(20)


def test_carts_become_receipts_and_all_books_agree(tmp_path: Path) -> None:
    skus = [item.id for item in CATALOGUE[:6]]
    (tmp_path / "retailer").mkdir()
    (tmp_path / "retailer" / "faults.toml").write_text(FAULTS)
    with ExitStack() as stack:
        money = stack.enter_context(served("broker.service", tmp_path / "broker"))
        shop = stack.enter_context(served("sim.retailer.service", tmp_path / "retailer"))
        cloud = Cloud(
            retailer_url=shop,
            broker_url=money,
            merchant="m1",
            retailer_key_file=str(tmp_path / "retailer" / "retailer.key"),
            broker_key_file=str(tmp_path / "broker" / "store.key"),
            webhook_url=f"{shop}/v1/webhooks",
            webhook_network="private",
            webhook_secret_file=str(tmp_path / "retailer" / "webhook.secret"),
            backoff_start_s=0.001,
            backoff_max_s=0.1,
        )
        config = replace(store_config(tmp_path, shop), cloud=cloud)
        (tmp_path / "store.toml").write_text(store_toml(config))
        journal = JournalFile(Path(config.paths.journal))
        for i in range(VISITS):
            append_visit(journal, money, tmp_path, i, skus)
        status = subprocess.run(
            [sys.executable, "-c", SYNC, tmp_path / "store.toml"], timeout=60
        ).returncode
        summary = views.summary(Path(config.paths.sync))
        assert (status, summary["parked"], summary["alarms"]) == (0, [], [])
        paid = VISITS - 1  # the last one took nothing
        assert summary["receipts"] == {"paid": paid, "free": 1}
        books = broker.service.books(money, tmp_path / "broker" / "store.key", "EUR")
        sold = sim.retailer.service.books(shop, tmp_path / "retailer" / "retailer.key")
    captured = summary["captured_minor"]["EUR"]
    assert captured > 0
    assert (books.captured_minor, sold.purchased_minor, sold.paid_minor) == (captured,) * 3
    assert (books.captures, sold.purchases, sold.receipts) == (paid, paid, VISITS)
    assert (books.holds_open, books.unbalanced_journals) == (0, 0)


def append_visit(journal: JournalFile, money: str, folder: Path, i: int, skus: list[str]) -> None:
    """A visit of an account that the broker knows, with a credential that it issued."""
    visit, account = f"s1-v{i}", f"acct-{i % 4}"
    key = folder / "broker" / "app.key"
    if i < 4:
        request = AccountRequest(account=account, currency="EUR", limit_minor=1_000_000)
        broker.service.open_account(money, key, request)
    ticket = CredentialRequest(account=account, store="s1")
    issued = broker.service.issue_credential(money, key, ticket)
    started, closed = visit_started(visit, account), cart_closed(visit, account, *skus[: i % 6])
    if i == VISITS - 1:
        closed = cart_closed(visit, account)
    if i and not i % 6:
        closed = cart_closed(visit, account, skus[0])
    if i == 0:
        closed = cart_closed(visit, account, *skus)
    credential = CredentialId(issued.credential)
    journal.append(replace(started, credential=credential), replace(closed, credential=credential))
