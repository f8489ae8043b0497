"""The operator's page, in a real browser against a running broker."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import requests
from playwright.sync_api import sync_playwright
from running_broker import Broker, capture_body

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
        for view in ("Books", "Accounts", "Visits", "Captures", "Audit"):
            page.click(f"nav button:text-is('{view}')")
            page.wait_for_selector(f"h2:text-is('{view}')")
            seen[view] = page.inner_text("table")
        assert "merchant_payable:corner-shop" in seen["Books"]
        assert "-7.00 EUR" in seen["Books"]
        assert "held" in seen["Visits"]
        assert "captured" in seen["Visits"]
        assert "purchase-v2" in seen["Captures"]
        assert "POST /v1/accounts" in seen["Audit"]
        assert "main/admin" in seen["Audit"]
        kept = page.evaluate(
            "[localStorage.length, sessionStorage.length, document.cookie, location.href]"
        )
        assert kept == [0, 0, "", f"{broker.url}/operator"]
        assert broker.key() not in page.content()
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert errors == []


def test_page_asks_for_routes_that_exist_and_lets_nothing_foreign_in(
    broker: Broker,
) -> None:
    script = (FOLDER / "operator.js").read_text()
    asked = set(re.findall(r"[\"`](/v1/[a-z-]+)", script))
    assert len(asked) >= 5
    assert asked <= {route.path for route in ROUTES if route.method == "GET"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    for path in ("/operator", "/operator.css", "/operator.js"):
        reply = requests.get(broker.url + path, timeout=20)
        assert reply.ok
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
