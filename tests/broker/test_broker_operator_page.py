"""The operator's page, in a real browser against a running broker."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import requests
from both_databases import Ledger
from playwright.sync_api import sync_playwright
from running_broker import Broker, capture_body
from tenant_keys import Caller, admin

from broker.api import ROUTES
from broker.operator_site import FOLDER

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_page_shows_books_visits_and_who_did_what_and_keeps_no_key(
    tmp_path: Path, start: Callable[[Path], Broker]
) -> None:
    broker = start(tmp_path)
    broker.account("anna")
    broker.hold("v1", "anna")
    broker.hold("v2", "anna", 1_000)
    broker.post("/v1/holds/hold-v2/capture", capture_body("v2", 700))
    a_visit(admin(broker), "t1", "anna")
    a_statement(broker)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        errors = list[str]()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{broker.url}/operator")
        page.fill("#key", "walkout_wrong")
        page.click("#sign-in button")
        page.wait_for_selector(".verdict.bad")
        page.fill("#key", broker.key())
        page.click("#sign-in button")
        page.wait_for_selector(".verdict.good")
        assert "invariants hold" in page.inner_text(".verdict")
        seen = {}
        for view in ("Books", "Accounts", "Trips", "Holds", "Statements", "Captures", "Audit"):
            page.click(f"nav button:text-is('{view}')")
            page.wait_for_selector(f"h2:text-is('{view}')")
            seen[view] = page.inner_text("table")
        assert "merchant_payable:corner-shop" in seen["Books"]
        assert "-12.00 EUR" in seen["Books"]
        assert "held" in seen["Holds"]
        assert "captured" in seen["Holds"]
        assert "t1" in seen["Trips"]
        assert "5.00 EUR" in seen["Trips"]
        assert "open" in seen["Statements"]
        assert "purchase-v2" in seen["Captures"]
        assert "POST /v1/accounts" in seen["Audit"]
        assert "main/admin" in seen["Audit"]
        kept = page.evaluate(
            "[localStorage.length, sessionStorage.length, document.cookie, location.href]"
        )
        assert kept == [0, 0, "", f"{broker.url}/operator"]
        assert broker.key() not in page.content()
        page.click("nav button:text-is('Statements')")
        page.wait_for_selector("h2:text-is('Statements')")
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert errors == []


def test_dispute_is_decided_and_a_parked_group_moved_on_from_a_phone(
    tmp_path: Path, start: Callable[[Path], Broker]
) -> None:
    broker = start(tmp_path)
    broker.account("anna")
    ours = admin(broker)
    hook = {"endpoint": "shop", "url": "https://hooks.example.com/x"}
    assert ours.post("/v1/webhook-endpoints", hook).ok
    a_visit(ours, "t1", "anna")
    lines = {"contested": [{"line_id": "milk"}, {"line_id": "wine"}]}
    wish = {"dispute": "d-17", "capture": "trip:t1", "reason": "I put both back"}
    assert ours.post("/v1/disputes", wish | lines).ok
    seen = {"evidence_id": "e", "said": "the scale of bay 3 got the bottle back at 10:42"}
    assert ours.post("/v1/disputes/d-17/evidence", seen).ok
    park(broker)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844}, device_scale_factor=2)
        errors = list[str]()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(f"{broker.url}/operator")
        page.fill("#key", broker.key())
        page.click("#sign-in button")
        page.wait_for_selector(".verdict.good")
        page.click("nav button:text-is('Disputes')")
        page.wait_for_selector(".card")
        said = page.inner_text("#cards")
        for part in ("I put both back", "wine 3.80 EUR", "98.7 % sure", "shelf-3/clip-9", "bay 3"):
            assert part in said
        page.screenshot(path=str(tmp_path / "disputes.png"), full_page=True)
        page.check("input[value='wine']")
        page.fill(".card input[type='text']", "the bottle stands on its shelf")
        page.click("[aria-label='Decide dispute d-17']")
        page.wait_for_selector(".badge.refunded")
        assert "3.80 EUR upheld. the bottle stands on its shelf" in page.inner_text("#cards")
        page.click("nav button:text-is('Queue')")
        page.wait_for_selector(".badge.parked")
        held = page.inner_text("#cards")
        assert "trip.settled of t1" in held
        assert "answered 500" in held
        page.screenshot(path=str(tmp_path / "queue.png"), full_page=True)
        page.click("[aria-label='Try shop again']")
        page.wait_for_selector("#cards:has-text('nobody has to decide')")
        page.click("nav button:text-is('Trips')")
        page.wait_for_selector("h2:text-is('Trips')")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.inner_text("td[data-label='Captured']") == "5.00 EUR"
        page.screenshot(path=str(tmp_path / "trips.png"), full_page=True)
        browser.close()
    assert errors == []
    receipt = broker.get("/v1/trips/t1/receipt").json()
    assert receipt["refunded_minor"] == 380
    assert broker.get("/v1/queue").json()["held"] == []


def a_visit(ours: Caller, trip: str, account: str) -> None:
    """Milk for 1.20 and wine for 3.80, settled."""
    gate = {"entry": f"e-{trip}", "merchant": "corner-shop", "store": "lab", "gate": "north"}
    came = {"credential_kind": "app", "presented": account, "currency": "EUR"}
    assert ours.post("/v1/entries", gate | came | {"wanted_minor": 900}).ok
    assert ours.post("/v1/trips", {"trip": trip, "entries": [f"e-{trip}"]}).ok
    line = {"gtin": "", "units": 1, "confidence_permille": 987, "seen": "shelf-3/clip-9"}
    cart = {
        "cart_state": "final",
        "cart_lines": [{"line_id": name} | line for name in ("milk", "wine")],
    }
    assert ours.ask("PUT", f"/v1/trips/{trip}/cart", cart, If_Match='"1"').ok
    priced = [{"line_id": "milk", "total_minor": 120}, {"line_id": "wine", "total_minor": 380}]
    price = {"purchase": f"p-{trip}", "priced": priced, "total_minor": 500, "currency": "EUR"}
    assert ours.post(f"/v1/trips/{trip}/settle", price).ok


def a_statement(broker: Broker) -> None:
    """One small purchase of the captured visit v2."""
    to = {"name": "Buyer", "street": "Lane 1", "city": "Hof", "post_code": "95028", "country": "DE"}
    buyer = {"account": "anna", "currency": "EUR", "close_minor": 2_000, "close_after_days": 7}
    assert broker.post("/v1/buyers", buyer | {"invoice_to": to}).ok
    seller = {"merchant": "corner-shop", "currency": "EUR", "payout_ref": "iban-token"}
    vat = {"invoice_prefix": "CS", "invoice_from": to | {"vat_id": "DE123456788"}}
    assert broker.post("/v1/sellers", seller | vat).ok
    line = {"line_id": "a", "name": "tea", "quantity": 1, "gross_minor": 700, "vat_bp": 700}
    bought = {"capture": "capture-v2", "purchase_lines": [line]}
    assert broker.post("/v1/micro-purchases", bought).ok


def park(broker: Broker) -> None:
    """As after the last of ten tries that were answered with 500."""
    ledger = Ledger(broker.where())
    deadline = time.monotonic() + 60
    while not ledger.rows("SELECT 1 FROM webhook_group WHERE head <> ''"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ledger.change("UPDATE webhook_group SET state = 'parked'")
    ledger.change(
        "UPDATE webhook_message SET status = 500, last_error = 'answered 500', attempts = 10"
        " WHERE place = 1"
    )
    ledger.close()


def test_page_asks_for_routes_that_exist_and_lets_nothing_foreign_in(
    broker: Broker,
) -> None:
    script = (FOLDER / "operator.js").read_text()
    asked = set(re.findall(r"[\"`](/v1/[a-z/-]+[a-z])", script))
    assert len(asked) >= 9
    known = {route.path.partition("/{")[0] for route in ROUTES}
    assert asked <= known
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    for path in ("/operator", "/operator.css", "/operator.js"):
        reply = requests.get(broker.url + path, timeout=20)
        assert reply.ok
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
