"""What the report needs of one run, taken out of its folder before the recording may go.

``report.json`` holds the store's floor and a story for every visit whose receipt is wrong: the
lines with the truth beside them, the paths of those concerned, what happened, what was concluded,
and the mass of the shelves around each moment in question. Times are store seconds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.config import parse
from edge.recording import Recording
from messages.store_config import StoreConfig
from sim.report_curves import Moment, curves, merged
from sim.score import RunScore, score_run
from sim.score_visits import VisitScore
from sim.suite_job import read_json

REPORT_FILE = "report.json"
PATHS_FILE = "paths.json"
STORIES_PER_RUN_MAX = 12
OTHERS_PER_STORY_MAX = 4  # more paths on one plan nobody can tell apart
NEAR_S = 8.0  # who touched the same shelf so close in time may be the one it was taken for
POINTS_PER_PATH_MAX = 240
UNKNOWN_STAY_S = 60.0  # before the receipt of a visit that never was
Row = dict[str, Any]


def keep_for_report(folder: Path) -> None:
    """Write ``report.json`` for a finished run folder."""
    run = _Run.read(folder)
    wrong = run.score.wrong
    shown = wrong[:STORIES_PER_RUN_MAX]
    document: Row = {"wrong_receipts": len(wrong), "store": None, "stories": []}
    if shown:
        recording = Recording.open(folder / "recording.mcap")
        config = parse(recording.toml, file="recording.mcap")
        told = [_story(run, visit, config) for visit in shown]
        moments = [moment for _, found in told for moment in found]
        drawn = curves(recording, config, moments)
        for story, found in told:
            story["curves"] = [drawn[moment] for moment in found if moment in drawn]
            document["stories"].append(story)
        document["store"] = floor(config)
    text = json.dumps(document, sort_keys=True, allow_nan=False)
    (folder / REPORT_FILE).write_text(text + "\n", encoding="utf-8")


def has_wrong_receipt(folder: Path) -> bool:
    """After ``keep_for_report``: is there anything to look at?"""
    kept = read_json(folder / REPORT_FILE)
    return kept is None or kept["wrong_receipts"] > 0


def floor(config: StoreConfig) -> Row:
    """What a floor plan shows, metres."""
    area = config.area
    return {
        "area": [area.x_min_m, area.y_min_m, area.x_max_m, area.y_max_m],
        "fixtures": [
            {"id": f.id, "x": f.x_m, "y": f.y_m, "width": f.width_m, "depth": f.depth_m}
            for f in config.fixtures
        ],
        "gates": [{"id": str(g.id), "x": g.x_m, "y": g.y_m} for g in config.gates],
        "cameras": [[c.store_from_camera[0][3], c.store_from_camera[1][3]] for c in config.cameras],
    }


@dataclass(slots=True)
class _Run:
    score: RunScore
    actions: list[Row]
    events: list[Row]
    paths: list[Row]

    @staticmethod
    def read(folder: Path) -> _Run:
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        events = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
        paths = folder / PATHS_FILE
        return _Run(
            score_run(folder),
            truth["actions"],
            [json.loads(line) for line in events],
            json.loads(paths.read_text(encoding="utf-8")) if paths.exists() else [],
        )

    def engine_names(self) -> dict[str, str]:
        """Engine's visit -> the truth's."""
        return {v.receipt: v.visit for v in self.score.visits if v.receipt and v.visit}


def _wrong_skus(visit: VisitScore) -> list[str]:
    guess = visit.guess
    both = {*visit.truth, *guess}
    return sorted(sku for sku in both if visit.truth.get(sku, 0) != guess.get(sku, 0))


# --- one story ------------------------------------------------------------------------------------


def _story(run: _Run, visit: VisitScore, config: StoreConfig) -> tuple[Row, list[Moment]]:
    moments = merged(_moments(run, visit, config))
    others = _others(run, visit, moments, config)
    concerned = {visit.visit, *others} - {""}
    start_s, end_s = _span(visit)
    story: Row = {
        "visit": visit.visit or f"nobody ({visit.receipt})",
        "receipt": visit.receipt,
        "state": _state(visit),
        "start_s": start_s,
        "end_s": end_s,
        "closed_s": visit.closed_at_s,
        "entered_s": visit.entered_at_s,
        "exited_s": visit.exited_at_s,
        "lines": _lines(run, visit),
        "others": others,
        "paths": [
            path
            for path in (_thinned(p, start_s, end_s) for p in run.paths if p["visit"] in concerned)
            if path["t"]
        ],
        "actions": _true_rows(run, concerned, start_s, end_s, config),
        "events": _event_rows(run, visit, concerned, start_s, end_s),
    }
    return story, moments


def _state(visit: VisitScore) -> str:
    if visit.receipt is None:
        return "missing"
    return "review" if visit.reviewed else "closed"


def _lines(run: _Run, visit: VisitScore) -> list[Row]:
    """Every SKU of truth or receipt; the probability is the receipt's, the last where several."""
    closed = [e for e in run.events if e["type"] == "CartClosed" and e["visit"] == visit.receipt]
    said = {line["sku"]: line["probability"] for cart in closed for line in cart["lines"]}
    guess = visit.guess
    return [
        {
            "sku": sku,
            "true": visit.truth.get(sku, 0),
            "charged": visit.charged.get(sku, 0),
            "review": visit.review.get(sku, 0),
            "probability": said.get(sku),
        }
        for sku in sorted({*visit.truth, *guess})
    ]


def _span(visit: VisitScore) -> tuple[float, float]:
    closed_s = visit.closed_at_s or 0.0
    start_s = visit.entered_at_s
    if start_s is None:
        start_s = max(0.0, closed_s - UNKNOWN_STAY_S)
    end_s = visit.exited_at_s if visit.exited_at_s is not None else max(closed_s, start_s + 1.0)
    return round(max(0.0, start_s - 2.0), 1), round(end_s + 3.0, 1)


def _moments(run: _Run, visit: VisitScore, config: StoreConfig) -> list[Moment]:
    """Where and when a wrong line came from, or should have come from."""
    wrong = set(_wrong_skus(visit))
    plates_of = {str(f.id): tuple(map(str, f.plates)) for f in config.facings}
    shelf_of = {str(p.id): str(p.shelf) for p in config.plates}
    found = []
    for action in run.actions:
        plates = plates_of.get(action["facing"], ())
        mine = visit.visit and visit.visit in (action["visit"], action["to_visit"])
        if mine and action["sku"] in wrong and plates:
            found.append(_moment(shelf_of[plates[0]], plates, action["t_s"], action["t_s"]))
    for event in run.events:
        evidence = event.get("evidence") or {}
        about = _skus_for(event, visit.receipt) & wrong
        if about and evidence.get("shelf"):
            start_s, end_s = evidence["started_at_ns"] / 1e9, evidence["ended_at_ns"] / 1e9
            found.append(_moment(evidence["shelf"], tuple(evidence["plates"]), start_s, end_s))
    return found


def _moment(shelf: str, plates: tuple[str, ...], start_s: float, end_s: float) -> Moment:
    return Moment(shelf=shelf, plates=plates, start_s=round(start_s, 2), end_s=round(end_s, 2))


def _skus_for(event: Row, engine_visit: str | None) -> set[str]:
    """SKUs that an event moved into, out of, or doubted for a visit of the engine."""
    match event["type"]:
        case "ItemTaken" | "ItemReturned":
            return {event["sku"]} if event["visit"] == engine_visit else set()
        case "ItemHandedOver":
            both = (event["from_visit"], event["to_visit"])
            return {event["sku"]} if engine_visit in both else set()
        case "ReviewRequested":
            mine = (c for c in event["candidates"] if c["visit"] == engine_visit)
            return {str(c["sku"]) for c in mine}
    return set()


def _others(
    run: _Run, visit: VisitScore, moments: Sequence[Moment], config: StoreConfig
) -> list[str]:
    """Who else touched those shelves then, passed goods on, or has the units that are lacking."""
    shelf_of = {str(p.id): str(p.shelf) for p in config.plates}
    facing_shelf = {str(f.id): shelf_of[str(f.plates[0])] for f in config.facings}
    votes: Counter[str] = Counter()
    for action in run.actions:
        pair = {action["visit"], action["to_visit"]} - {None, ""}
        if visit.visit in pair:
            votes.update(dict.fromkeys(sorted(pair - {visit.visit}), 3))
        shelf = facing_shelf.get(action["facing"])
        near = any(m.shelf == shelf and m.is_near(action["t_s"], NEAR_S) for m in moments)
        if near and action["visit"] != visit.visit:
            votes[action["visit"]] += 1
    for other in run.score.visits:
        if other.visit and other.visit != visit.visit and _opposite(visit, other):
            votes[other.visit] += 2
    ranked = sorted(votes.items(), key=lambda item: (-item[1], item[0]))
    return [name for name, _ in ranked[:OTHERS_PER_STORY_MAX]]


def _opposite(one: VisitScore, other: VisitScore) -> bool:
    """What one has too much, the other has too little of."""
    return any(_excess(one, sku) * _excess(other, sku) < 0 for sku in _wrong_skus(one))


def _excess(visit: VisitScore, sku: str) -> int:
    return visit.guess.get(sku, 0) - visit.truth.get(sku, 0)


def _thinned(path: Row, start_s: float, end_s: float) -> Row:
    """The part of a path in a time, with few enough points."""
    inside = [i for i, t in enumerate(path["t_s"]) if start_s <= t <= end_s]
    keep = inside[:: max(1, -(-len(inside) // POINTS_PER_PATH_MAX))]
    return {
        "visit": path["visit"],
        "member": path["member"],
        "t": [round(path["t_s"][i], 1) for i in keep],
        "x": [round(path["x_m"][i], 2) for i in keep],
        "y": [round(path["y_m"][i], 2) for i in keep],
    }


def _true_rows(
    run: _Run, concerned: set[str], start_s: float, end_s: float, config: StoreConfig
) -> list[Row]:
    """What those concerned did, with the place of the shelf."""
    at = {str(p.id): (p.x_m, p.y_m) for p in config.plates}
    plates = {str(f.id): [str(p) for p in f.plates] for f in config.facings}
    places = {name: _middle([at[plate] for plate in mine]) for name, mine in plates.items()}
    return [
        {
            "t": action["t_s"],
            "kind": action["kind"],
            "visit": action["visit"],
            "to": action["to_visit"],
            "sku": action["sku"],
            "quantity": action["quantity"],
            "facing": action["facing"],
            "place": places.get(action["facing"]) or _stood(run, action["visit"], action["t_s"]),
            "plates": plates.get(action["facing"], []),
        }
        for action in run.actions
        if start_s <= action["t_s"] <= end_s and {action["visit"], action["to_visit"]} & concerned
    ]


def _stood(run: _Run, visit: str, t_s: float) -> list[float] | None:
    """Where the visit's first person was: goods passed on or left on the floor have no shelf."""
    for path in run.paths:
        if path["visit"] == visit and path["t_s"]:
            nearest = min(range(len(path["t_s"])), key=lambda i: abs(path["t_s"][i] - t_s))
            return [round(path["x_m"][nearest], 2), round(path["y_m"][nearest], 2)]
    return None


def _middle(points: Sequence[tuple[float, float]]) -> list[float]:
    return [round(sum(p[axis] for p in points) / len(points), 3) for axis in (0, 1)]


def _event_rows(
    run: _Run, visit: VisitScore, concerned: set[str], start_s: float, end_s: float
) -> list[Row]:
    """What the store concluded of those concerned."""
    rows, names = [], run.engine_names()
    for event in run.events:
        row = _event_row(event, names)
        if row is None or not start_s <= row["t"] <= end_s:
            continue
        if set(row["visits"]) & (concerned | {visit.receipt}):
            rows.append(row)
    return rows


def _event_row(event: Row, names: dict[str, str]) -> Row | None:
    """An event as the timeline shows it; ``t``: when it happened, ``said``: when it was known."""
    evidence = event.get("evidence") or {}
    said_s = event["at_ns"] / 1e9
    row: Row = {
        "t": round((evidence.get("ended_at_ns") or 0) / 1e9, 2) or round(said_s, 2),
        "said": round(said_s, 2),
        "shelf": evidence.get("shelf"),
        "mass_g": round(evidence.get("mass_g") or 0.0, 1),
    }
    match event["type"]:
        case "ItemTaken" | "ItemReturned":
            kind, who = ("take" if event["type"] == "ItemTaken" else "return"), [event["visit"]]
        case "ItemHandedOver":
            kind, who = "hand_over", [event["from_visit"], event["to_visit"]]
        case "ReviewRequested":
            return row | _review_row(event, names)
        case _:
            return None
    visits = [names.get(name, name) for name in who]
    said = {key: event[key] for key in ("sku", "quantity", "probability")}
    return row | {"kind": kind, "visits": visits} | said


def _review_row(event: Row, names: dict[str, str]) -> Row:
    candidates = [
        {**candidate, "visit": names.get(candidate["visit"], candidate["visit"])}
        for candidate in event["candidates"][:5]
    ]
    visits = [names.get(name, name) for name in event["visits"]]
    return {
        "kind": "review",
        "visits": visits or [c["visit"] for c in candidates if c["visit"]],
        "reason": event["reason"],
        "candidates": candidates,
    }
