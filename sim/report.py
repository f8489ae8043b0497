"""``report.html``: a suite's results as one file that needs nothing from anywhere.

Reads ``summary.json``, ``timing.json`` and each run's ``report.json``. Names come from files and
may say anything: Jinja2 escapes them, ``report_svg`` escapes what stands in pictures, and a content
policy lets only the page's own script run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.report_facts import PUBLISHED, WINNER_ON_HARD_CASES, in_simulation
from sim.report_figures import (
    calibration_chart,
    cards,
    economics,
    error_chart,
    interval,
    latency_chart,
)
from sim.report_story import drawn
from sim.report_svg import Mark, ladder, rate_bar
from sim.suite_job import folder_name, read_json

Row = dict[str, Any]

REPORT_NAME = "report.html"
STORIES_MAX = 60
STORY_BYTES_MAX = 4_000_000  # of all stories: with the rest the file stays below 6 MB
STORY_BYTES_ONE_MAX = 400_000
UNLISTED_MAX = 500
TEMPLATES = Path(__file__).parent / "report_html"


class ReportError(ValueError):
    """There is nothing to draw: what is missing, and the remedy."""


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the score tables."""

    key: str
    title: str
    rate: bool = False
    ci: bool = False
    asked: bool = False  # a share of doubts, not of successes
    loud: bool = False  # any is bad


SHORT = (
    Column("runs", "runs"),
    Column("visits", "visits"),
    Column("visit_f1_mean", "F1 per visit", rate=True),
    Column("receipts_exact_rate", "exact receipts", rate=True),
    Column("review_rate", "in review", rate=True, asked=True),
    Column("overcharged_per_1000_lines", "over-charged ‰"),
    Column("missed_per_1000_lines", "missed ‰"),
    Column("crashed_runs", "crashed", loud=True),
)
WIDE = (
    *SHORT[:2],
    Column("visit_f1_mean", "F1 per visit", rate=True, ci=True),
    Column("item_precision", "precision", rate=True),
    Column("item_recall", "recall", rate=True),
    Column("receipts_exact_rate", "exact receipts", rate=True, ci=True),
    Column("auto_exact_rate", "exact, not in review", rate=True),
    *SHORT[4:],
)


def write(out: Path) -> Path:
    """Draw the report of a suite's folder; its path.

    Raises:
        ReportError: the folder has no summary.
    """
    summary = read_json(out / "summary.json")
    if summary is None or "scenarios" not in summary:
        raise ReportError(f"{out}: no summary.json of a suite; make one with `walkout suite`")
    path = out / REPORT_NAME
    path.write_text(page(summary, _reports(summary, out)), encoding="utf-8")
    return path


def page(summary: Mapping[str, Any], runs: Sequence[Row]) -> str:
    """The whole page. ``runs``: ``report.json`` of each run, with its ``scenario`` and ``seed``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters.update(rate=_rate, number=_number, spark=_spark, interval=_interval_text)
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        **_view(summary, runs),
        css=Markup(_asset("report.css")),
        script=Markup(script),
        script_hash=digest,
    )


def _view(summary: Mapping[str, Any], runs: Sequence[Row]) -> Row:
    total = summary["total"]
    stories, unlisted = _stories(runs, summary["scenarios"])
    first: dict[str, str] = {}
    for story in reversed(stories):
        first[story["scenario"]] = story["id"]
    calibration, calibration_note = calibration_chart(summary)
    latency, latency_note = latency_chart(summary)
    sums = _row("all", total, sum=True)
    return {
        "version": summary["version"],
        "runs": summary["runs"],
        "seeds": summary["seeds"],
        "seeds_text": _seeds(summary["seeds"]),
        "total": sums,
        "crashed": summary["crashed"],
        "breaches": summary["breaches"],
        "cards": cards(total),
        "ladder": _ladder(total),
        "published": [*in_simulation(total), *PUBLISHED],
        "kinds": [*[_row(k, m) for k, m in summary["kinds"].items()], sums],
        "hard_cases": [
            _row(k, m, published=WINNER_ON_HARD_CASES.get(k, ""))
            for k, m in summary["hard_cases"].items()
        ],
        "scenarios": [
            _row(k, m, title=m["title"], tags=_tags(m), story=first.get(k, ""))
            for k, m in summary["scenarios"].items()
        ],
        "columns": WIDE,
        "short_columns": SHORT,
        "errors": error_chart(total),
        "calibration": calibration,
        "calibration_note": calibration_note,
        "latency": latency,
        "latency_note": latency_note,
        "economics": economics(summary),
        "stories": stories,
        "wrong_count": sum(run["wrong_receipts"] for run in runs),
        "unlisted": unlisted[:UNLISTED_MAX],
        "unlisted_more": max(0, len(unlisted) - UNLISTED_MAX),
    }


def _reports(summary: Mapping[str, Any], out: Path) -> list[Row]:
    found = []
    for name in summary["scenarios"]:
        for seed in summary["seeds"]:
            kept = read_json(out / "runs" / folder_name(name) / str(seed) / "report.json")
            if kept is not None:
                found.append({"scenario": name, "seed": seed} | kept)
    return found


def _row(name: str, metrics: Mapping[str, Any], **more: Any) -> Row:
    plain: Row = {"name": name, "metrics": metrics, "title": "", "tags": "", "story": ""}
    return plain | {"sum": False, "published": None} | more


def _tags(metrics: Mapping[str, Any]) -> str:
    return " ".join([metrics["kind"], *metrics["hard_cases"]])


# --- stories --------------------------------------------------------------------------------------


def _stories(runs: Sequence[Row], scenarios: Mapping[str, Any]) -> tuple[list[Row], list[Row]]:
    """Drawn ones, spread over scenarios, within the page's size; and the others as rows."""
    shown: list[Row] = []
    unlisted: list[Row] = []
    used = 0
    for run, story in _in_turn(runs):
        told = _told(run, story, scenarios[run["scenario"]])
        if len(shown) < STORIES_MAX and used < STORY_BYTES_MAX:
            told["drawn"] = drawn(story, run["store"])
            size = _size(told["drawn"])
            if size <= STORY_BYTES_ONE_MAX:
                used += size
                shown.append(told)
                continue
        unlisted.append(told)
    unlisted += [_more(run) for run in runs if run["wrong_receipts"] > len(run["stories"])]
    order = {name: index for index, name in enumerate(scenarios)}
    shown.sort(key=lambda told: (order[told["scenario"]], told["seed"]))
    for index, told in enumerate(shown):
        told["id"] = f"story-{index + 1}"
    unlisted.sort(key=lambda told: (order[told["scenario"]], told["seed"]))
    return shown, unlisted


def _in_turn(runs: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    """The first story of every scenario, then the second of each, and so on."""
    by_scenario: dict[str, list[tuple[Row, Row]]] = {}
    for run in runs:
        mine = by_scenario.setdefault(run["scenario"], [])
        mine += [(run, story) for story in run["stories"]]
    for turn in range(max(map(len, by_scenario.values()), default=0)):
        for rows in by_scenario.values():
            if turn < len(rows):
                yield rows[turn]


def _told(run: Row, story: Row, scenario: Mapping[str, Any]) -> Row:
    return story | {
        "scenario": run["scenario"],
        "seed": run["seed"],
        "title": scenario["title"],
        "kind": _tags(scenario),
        "what": _what(story),
        "times": _times(story),
    }


def _what(story: Row) -> str:
    """``1 x milk-1l too many, 2 x cola too few``."""
    parts = []
    for line in story["lines"]:
        more = line["charged"] + line["review"] - line["true"]
        if more:
            parts.append(f"{abs(more)} × {line['sku']} {'too many' if more > 0 else 'too few'}")
    return ", ".join(parts) or "no receipt"


def _times(story: Row) -> str:
    said = (
        ("in", story["entered_s"]),
        ("out", story["exited_s"]),
        ("cart closed", story["closed_s"]),
    )
    return ", ".join(f"{word} at {at:.1f} s" for word, at in said if at is not None)


def _more(run: Row) -> Row:
    count = run["wrong_receipts"] - len(run["stories"])
    return {
        "scenario": run["scenario"],
        "seed": run["seed"],
        "visit": f"{count} more of this run",
        "what": "",
    }


def _size(value: Row) -> int:
    pictures = [value["plan"], value["lanes"], *(curve["svg"] for curve in value["curves"])]
    return sum(map(len, pictures)) + len(json.dumps([value["walk"], value["rows"]]))


# --- texts ----------------------------------------------------------------------------------------


def _ladder(total: Mapping[str, Any]) -> Any:
    ours = [
        Mark(label=label, value=total[key], interval=interval(total, key), ours=True)
        for label, key in (
            ("Walkout, F1 per visit", "visit_f1_mean"),
            ("Walkout, precision", "item_precision"),
            ("Walkout, recall", "item_recall"),
        )
        if total.get(key) is not None
    ]
    theirs = [Mark(label=row["short"], value=v) for row in PUBLISHED for v in row["values"][:1]]
    return ladder([*ours, *theirs], label="Our figures in simulation beside published ones")


def _seeds(seeds: Sequence[int]) -> str:
    whole = seeds and seeds[-1] - seeds[0] + 1 == len(seeds) > 1
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.1f}"


def _spark(metrics: Mapping[str, Any], key: str, asked: bool) -> Any:
    return rate_bar(metrics.get(key), interval(metrics, key), asked=asked)


def _interval_text(metrics: Mapping[str, Any], key: str) -> str:
    ends = interval(metrics, key)
    return "" if ends is None else f"{ends[0]:.3f}–{ends[1]:.3f}"


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
