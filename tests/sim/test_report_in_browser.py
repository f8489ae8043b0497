"""The report in a real browser: numbers, stories, nothing loaded, and hostile names stay text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sim import report
from sim.report_run import keep_for_report
from sim.scenario_run import run_scenario
from sim.script import Act, Do, Kind, Member, PartyScript, Scenario
from sim.suite import Request, plan
from sim.suite_job import leave_crash, write_json
from sim.suite_summary import summary

HOSTILE = "</script><img src=x onerror=\"window.hit='img'\"><script>window.hit='script'</script>"
TAKE = Do(act=Act.TAKE, facing="a2-cola-330ml")
WALK = Scenario(
    name="short-take",
    title="Anna takes a can",
    kind=Kind.HARD,
    hard_cases=("short", "long-hold"),
    store="corner",
    duration_s=3.0,
    review_deadline_s=1.0,
    parties=(PartyScript(name="anna", arrives_s=(0.2, 0.6), members=(Member(do=(TAKE,)),)),),
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run whose receipt was made wrong by hand, and one that crashed."""
    out = tmp_path_factory.mktemp("suite")
    jobs = plan(Request(out=out, seeds=(1, 2)), [WALK])
    wrong = jobs[0].folder(out)
    run_scenario(WALK, 1, wrong)
    receipts = json.loads((wrong / "receipts.json").read_text())
    receipts[0]["lines"] = [
        {"sku": sku, "quantity": quantity, "probability": 0.98, "state": "charged"}
        for sku, quantity in (("cola-330ml", 3), ("salad-bowl", 1))
    ]
    (wrong / "receipts.json").write_text(json.dumps(receipts))
    keep_for_report(wrong)
    leave_crash(jobs[1], jobs[1].folder(out), "planted: killed")
    write_json(out / "summary.json", summary(jobs, out))
    report.write(out)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def opened(browser: Browser, path: Path, **context: Any) -> tuple[Page, list[str]]:
    """The page, and what went wrong or out: console messages, errors, requests but its own."""
    page = browser.new_context(**context).new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    own = path.as_uri()
    page.on(
        "request",
        lambda r: None if r.url.startswith((own, "data:,")) else heard.append(f"asks {r.url}"),
    )
    page.goto(own)
    return page, heard


def test_tables_say_what_the_summary_says(suite: Path, browser: Browser) -> None:
    page, heard = opened(browser, suite / "report.html")
    said = json.loads((suite / "summary.json").read_text())
    tables = {
        "table-kinds": said["kinds"] | {"all": said["total"]},
        "table-hard": said["hard_cases"],
        "table-scenarios": said["scenarios"],
    }
    compared = 0
    for table, rows in tables.items():
        names = page.locator(f"#{table} tbody tr").evaluate_all("a => a.map(r => r.dataset.row)")
        assert names == list(rows)
        for name, metrics in rows.items():
            cells = page.locator(f'#{table} tr[data-row="{name}"] td[data-metric]').all()
            for cell in cells:
                shown = float(cell.get_attribute("data-value") or "nan")
                true = metrics[cell.get_attribute("data-metric")]
                assert shown == pytest.approx(-1 if true is None else true)
                assert (
                    f"{true:.3f}" in cell.inner_text()
                    or f"{true:.1f}" in cell.inner_text()
                    or (isinstance(true, int) and str(true) in cell.inner_text())
                )
                compared += 1
    assert compared > 30
    assert heard == []


def test_crashed_runs_are_told_at_the_top(suite: Path, browser: Browser) -> None:
    page, _ = opened(browser, suite / "report.html")
    told = page.get_by_role("alert").inner_text()
    assert "1 of 2 runs crashed" in told
    assert "short-take, seed 2: planted: killed" in told
    assert page.locator('[data-card="crashed_runs"]').inner_text() == "1"


def test_published_systems_are_labelled_apart_from_the_simulation(
    suite: Path, browser: Browser
) -> None:
    page, _ = opened(browser, suite / "report.html")
    rows = page.locator("#published tbody tr")
    labels = {row.locator("th").inner_text(): row.inner_text() for row in rows.all()}
    assert "simulation" in labels["Walkout"]
    assert "real sensors" in labels["competition winner (CMU, MPS)"]
    assert "0.844 / 0.755" in labels["competition winner (CMU, MPS)"]


def test_a_story_opens_by_keyboard_and_its_slider_moves_the_walkers(
    suite: Path, browser: Browser
) -> None:
    page, heard = opened(browser, suite / "report.html")
    story = page.locator("details.story").first
    assert (
        "2 × cola-330ml too many, 1 × salad-bowl too many"
        in story.locator("summary").first.inner_text()
    )
    story.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert story.locator(".plan .fixture").count() > 0
    assert "takes 1 × cola-330ml" in (story.locator(".lanes").text_content() or "")
    slider, dot = story.locator("input[type=range]"), story.locator(".walker").first
    slider.focus()
    before = dot.get_attribute("cx"), story.locator(".head").get_attribute("x1")
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    after = dot.get_attribute("cx"), story.locator(".head").get_attribute("x1")
    assert before[1] != after[1]
    assert before[0] != after[0]

    story.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "x => document.querySelector('.head').getAttribute('x1') !== x", arg=after[1]
    )
    assert heard == []


def test_mass_curves_show_the_can_leaving_its_plates(suite: Path, browser: Browser) -> None:
    kept = json.loads((suite / "runs/short-take/1/report.json").read_text())
    (story,) = kept["stories"]
    (take,) = [action for action in story["actions"] if action["kind"] == "take"]
    (curve,) = story["curves"]
    assert set(take["plates"]) <= set(curve["plates"])
    assert curve["t"][0] < take["t"] < curve["t"][-1]
    assert -420 < curve["g"][-1] < -300
    page, _ = opened(browser, suite / "report.html")
    page.locator("details.story summary").first.click()
    assert page.get_by_role("img", name=f"Mass on shelf {curve['shelf']}").is_visible()


def test_the_filter_hides_scenarios_and_heads_sort(suite: Path, browser: Browser) -> None:
    page, _ = opened(browser, suite / "report.html")
    row = page.locator('#table-scenarios tr[data-row="short-take"]')
    page.get_by_label("Filter").fill("anna nobody-has-this")
    assert row.is_hidden()
    page.get_by_label("Filter").fill("ANNA can")
    assert row.is_visible()
    head = page.locator("#table-scenarios th").nth(2)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_colour_scheme(
    suite: Path, browser: Browser, scheme: Any
) -> None:
    size = {"width": 390, "height": 844}
    page, _ = opened(browser, suite / "report.html", viewport=size, color_scheme=scheme)
    page.locator("details.story summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(colour.removeprefix("rgb(").split(",")[0])
    assert red < 60 if scheme == "dark" else red > 200


def test_hostile_names_stay_text(suite: Path, browser: Browser, tmp_path: Path) -> None:
    said = json.loads((suite / "summary.json").read_text())
    kept = json.loads((suite / "runs/short-take/1/report.json").read_text())
    text = json.dumps([said, kept])
    for name in ("short-take", "Anna takes a can", "anna", "cola-330ml", "planted: killed"):
        text = text.replace(name, json.dumps(HOSTILE)[1:-1])
    hostile, run = json.loads(text)
    path = tmp_path / "report.html"
    path.write_text(report.page(hostile, [run | {"scenario": HOSTILE, "seed": 1}]))
    page, heard = opened(browser, path)
    page.locator("details.story summary").first.click()
    assert page.evaluate("window.hit === undefined")
    assert page.locator("img").count() == 0
    assert page.locator("#table-scenarios tbody th").first.inner_text().startswith(HOSTILE)
    assert heard == []


def test_the_page_runs_no_script_but_its_own(suite: Path, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page_text = (suite / "report.html").read_text()
    path.write_text(page_text.replace("</main>", "<script>window.hit = 1</script></main>"))
    page, heard = opened(browser, path)
    assert page.evaluate("window.hit === undefined")
    assert any("Content Security Policy" in message for message in heard)


def test_a_folder_without_a_summary_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(report.ReportError, match="walkout suite"):
        report.write(tmp_path)
