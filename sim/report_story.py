"""The story of one wrong receipt as pictures: who walked where, what happened, what was concluded.

Lanes put the truth beside the result for everybody concerned; below them the mass of the shelves
around each moment in question. The page's script moves the walkers and the time line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from sim.report_svg import Plan, Scale, el, floor_plan, polyline, svg, trail

Row = dict[str, Any]

WIDTH = 960.0
LEFT = 170.0  # of the lanes' names
ROW = 19.0  # one line of labels
LETTER = 6.3  # mean advance of the lanes' type, px
NAME_MAX = 22  # letters of a lane's name
VERBS = {"take": "takes", "return": "puts back", "hand_over": "hands over"}
PEOPLE_CLASSES = 5


@dataclass(frozen=True, slots=True)
class Label:
    """A mark on a lane. ``class_`` gives its colour, ``shape`` its form."""

    t_s: float
    text: str
    shape: str
    class_: str


def drawn(story: Row, store: Row) -> Row:
    """Everything of a story that the template shows."""
    people = [story["visit"], *story["others"]]
    plan = Plan(tuple(store["area"]))
    return {
        "plan": _plan(story, store, people, plan),
        "lanes": _lanes(story, people),
        "curves": [_curve(curve, story) for curve in story["curves"]],
        "people": [
            {"name": name, "class": person_class(people, name)}
            for name in people
            if any(p["visit"] == name for p in story["paths"])
        ],
        "walk": _walk(story, plan),
        "rows": _rows(story),
    }


def person_class(people: Sequence[str], name: str) -> str:
    return f"p{people.index(name) % PEOPLE_CLASSES}" if name in people else "p-none"


def sentence(row: Row) -> str:
    """``takes 2 x milk-1l``: of a true action or of a conclusion."""
    if row["kind"] == "review":
        return f"asks: {row['reason']}"
    text = f"{VERBS.get(row['kind'], row['kind'])} {row['quantity']} × {row['sku']}"
    if row.get("to"):
        text += f" to {row['to']}"
    elif row["kind"] == "hand_over" and len(row.get("visits", ())) == 2:
        text += f" to {row['visits'][1]}"
    if row["kind"] in ("take", "return") and row.get("facing") == "":
        text += " (floor)"
    return text


def _rows(story: Row) -> list[Row]:
    """Truth and conclusions as text, in order of time."""
    rows = [
        {"t": a["t"], "who": a["visit"], "side": "truth", "text": sentence(a)}
        for a in story["actions"]
    ]
    rows += [
        {"t": e["t"], "who": ", ".join(e["visits"]), "side": "Walkout", "text": _said(e)}
        for e in story["events"]
    ]
    return sorted(rows, key=lambda row: (row["t"], row["side"]))


def _said(event: Row) -> str:
    """A conclusion with all its candidates."""
    if event["kind"] != "review":
        return f"{sentence(event)}, probability {event['probability']:.2f}"
    candidates = "; ".join(
        f"{c['probability']:.2f} {c['visit'] or 'nobody'} {c['quantity']:+d} "
        f"{c['sku'] or 'unknown'}"
        for c in event["candidates"]
    )
    return f"{sentence(event)} {candidates}"


def _walk(story: Row, plan: Plan) -> Row:
    """Paths in pixels, for the slider."""
    walkers = []
    for path in story["paths"]:
        points = [plan.point(x, y) for x, y in zip(path["x"], path["y"], strict=True)]
        walkers.append(
            {
                "t": path["t"],
                "x": [round(x, 1) for x, _ in points],
                "y": [round(y, 1) for _, y in points],
            }
        )
    scale = _time_scale(story)
    return {
        "start": story["start_s"],
        "end": story["end_s"],
        "shown": _first_shown(story),
        "left": scale.start_px,
        "right": scale.end_px,
        "walkers": walkers,
    }


def _first_shown(story: Row) -> float:
    """Where the slider starts: at the first moment in question, or in the middle of the stay."""
    middle = (story["start_s"] + story["end_s"]) / 2
    first = min((curve["start"] for curve in story["curves"]), default=middle)
    return round(float(min(max(first, story["start_s"]), story["end_s"])), 1)


def _plan(story: Row, store: Row, people: Sequence[str], plan: Plan) -> Markup:
    paths = story["paths"]
    inside = [trail(plan, p, person_class(people, p["visit"])) for p in reversed(paths)]
    seen: dict[tuple[float, ...], int] = {}
    for action in story["actions"]:
        if action["place"]:
            place = tuple(action["place"])
            seen[place] = seen.get(place, 0) + 1
            x, y = plan.point(*place)
            offset = 15.0 * (seen[place] - 1)
            class_ = person_class(people, action["visit"])
            title = f"{action['t']:.1f} s: {action['visit']} {sentence(action)}"
            inside.append(_shape(action["kind"], x + offset, y, f"act {class_}", title))
    for index, path in enumerate(paths):
        class_ = person_class(people, path["visit"])
        start = plan.point(path["x"][0], path["y"][0]) if path["x"] else (-99.0, -99.0)
        title = el("title", f"{path['visit']}, person {path['member']}")
        inside.append(
            el(
                "circle",
                title,
                cx=start[0],
                cy=start[1],
                r=9,
                class_=f"walker {class_}",
                data_walker=index,
            )
        )
    return floor_plan(store, inside, label=f"Floor plan with the path of {story['visit']}")


def _shape(kind: str, x: float, y: float, class_: str, title: str = "") -> Markup:
    """Up: taken; down: put back; a square: handed over; a diamond: asked."""
    forms = {
        "take": ((0, -7), (7, 6), (-7, 6)),
        "return": ((0, 7), (7, -6), (-7, -6)),
        "review": ((0, -7), (7, 0), (0, 7), (-7, 0)),
    }
    form = forms.get(kind, ((-6, -6), (6, -6), (6, 6), (-6, 6)))
    points = polyline([x + dx for dx, _ in form], [y + dy for _, dy in form], lambda a, b: (a, b))
    return el("polygon", el("title", title) if title else "", points=points, class_=class_)


# --- lanes ----------------------------------------------------------------------------------------


def _time_scale(story: Row) -> Scale:
    return Scale(story["start_s"], story["end_s"], LEFT, WIDTH - 20)


def _lanes(story: Row, people: Sequence[str]) -> Markup:
    """For each person a lane of truth and a lane of conclusions, over one time axis."""
    scale = _time_scale(story)
    parts: list[Markup] = []
    y = 6.0
    for name in people:
        class_ = person_class(people, name)
        truth = [_true_label(a, name) for a in story["actions"] if name in (a["visit"], a["to"])]
        said = [_said_label(e) for e in story["events"] if name in e["visits"]]
        for title, labels in (("truth", truth), ("Walkout", said)):
            lane, height = _lane(name, title, class_, labels, y, scale)
            parts.append(lane)
            y += height
        y += 6
    bands = [_band(curve, scale, y) for curve in story["curves"]]
    head = el("line", x1=LEFT, x2=LEFT, y1=0, y2=y, class_="head")
    axis = [
        el("text", f"{t:g} s", x=scale(t), y=y + 15, text_anchor="middle", class_="tick")
        for t in scale.ticks(8)
    ]
    label = f"What {story['visit']} did beside what was concluded"
    return svg(WIDTH, y + 22, *bands, *parts, *axis, head, label=label, class_="lanes")


def _band(curve: Row, scale: Scale, height: float) -> Markup:
    x0, x1 = scale(curve["start"]), scale(curve["end"])
    return el("rect", x=x0 - 3, y=0, width=max(6.0, x1 - x0 + 6), height=height, class_="band")


def _lane(
    name: str, title: str, class_: str, labels: Sequence[Label], y: float, scale: Scale
) -> tuple[Markup, float]:
    placed, rows = _placed(labels, scale)
    height = ROW * rows + 4
    short = name if len(name) <= NAME_MAX else name[: NAME_MAX - 1] + "…"
    heading = short if title == "truth" else ""
    parts = [
        el("rect", x=LEFT, y=y, width=WIDTH - 20 - LEFT, height=height - 2, class_=f"lane {title}"),
        el("text", heading, x=0, y=y + 14, class_=f"label name {class_}"),
        el("text", title, x=LEFT - 8, y=y + 14, text_anchor="end", class_="tick"),
    ]
    for label, row, flipped in placed:
        x, middle = scale(label.t_s), y + 10 + ROW * row
        anchor, dx = ("end", -11) if flipped else ("start", 11)
        parts += [
            _shape(label.shape, x, middle, f"act {label.class_} {class_}", f"{label.t_s:.1f} s"),
            el("text", label.text, x=x + dx, y=middle + 4, text_anchor=anchor, class_="label"),
        ]
    return el("g", *parts), height


def _placed(labels: Sequence[Label], scale: Scale) -> tuple[list[tuple[Label, int, bool]], int]:
    """A row for each label so that texts do not overlap; turned leftwards near the right edge."""
    free: list[float] = []  # per row: where its last text ends
    placed = []
    for label in sorted(labels, key=lambda one: one.t_s):
        width = 22 + LETTER * len(label.text)
        x = scale(label.t_s)
        flipped = x + width > scale.end_px + 10
        start, end = (x - width, x + 9) if flipped else (x - 9, x + width)
        row = next((i for i, used in enumerate(free) if used < start), len(free))
        if row == len(free):
            free.append(end)
        free[row] = end
        placed.append((label, row, flipped))
    return placed, max(len(free), 1)


def _true_label(action: Row, name: str) -> Label:
    text = sentence(action)
    if action["to"] == name and action["visit"] != name:
        text = f"gets {action['quantity']} × {action['sku']} from {action['visit']}"
    return Label(action["t"], text, action["kind"], "true")


def _said_label(event: Row) -> Label:
    if event["kind"] == "review":
        best = event["candidates"][0] if event["candidates"] else None
        of = f" {best['quantity']:+d} × {best['sku'] or 'unknown'}" if best else ""
        share = f" {best['probability']:.2f}" if best else ""
        return Label(event["t"], f"asks{of}{share}", "review", "asked")
    text = f"{sentence(event)}  {event['probability']:.2f}"
    return Label(event["t"], text, event["kind"], "said")


# --- mass -----------------------------------------------------------------------------------------


def _curve(curve: Row, story: Row) -> Row:
    """Mass on the plates in question, and on the whole shelf, from the start of the curve."""
    width, height, left = 460.0, 190.0, 52.0
    x = Scale(curve["t"][0], curve["t"][-1], left, width - 10)
    levels = [*curve["g"], *curve["shelf_g"], -20.0, 20.0]
    margin = 0.08 * (max(levels) - min(levels))
    y = Scale(min(levels) - margin, max(levels) + margin, height - 24, 26)
    parts = [_mass_grid(x, y, tick, f"{tick:g}") for tick in y.ticks(4)]
    parts += [
        el("text", f"{t:g} s", x=x(t), y=height - 8, text_anchor="middle", class_="tick")
        for t in x.ticks(5)
    ]
    place = {"x": left - 6, "y": 14, "text_anchor": "end"}
    parts.append(el("text", "grams", class_="tick", **place))
    parts += _instants(curve, story, x, height)
    for key, class_ in (("shelf_g", "shelf"), ("g", "plates")):
        points = polyline(curve["t"], curve[key], lambda t, g: (x(t), y(g)))
        parts.append(el("polyline", points=points, class_=f"mass {class_}"))
    plates = ", ".join(curve["plates"])
    label = f"Mass on shelf {curve['shelf']}, plates {plates}"
    return {"svg": svg(width, height, *parts, label=label, class_="curve-chart"), "title": label}


def _mass_grid(x: Scale, y: Scale, value: float, text: str) -> Markup:
    class_ = "zero" if value == 0 else "grid"
    return el(
        "g",
        el("line", x1=x.start_px, x2=x.end_px, y1=y(value), y2=y(value), class_=class_),
        el("text", text, x=x.start_px - 6, y=y(value) + 4, text_anchor="end", class_="tick"),
    )


def _instants(curve: Row, story: Row, x: Scale, height: float) -> list[Markup]:
    """True acts as full lines with their mark on top, conclusions dashed."""
    parts = []
    plates = set(curve["plates"])
    for action in story["actions"]:
        mine = action["facing"] and plates & set(action.get("plates", ()))
        if mine and x.low <= action["t"] <= x.high:
            at = x(action["t"])
            title = f"truth: {action['visit']} {sentence(action)}"
            parts.append(el("line", x1=at, x2=at, y1=20, y2=height - 24, class_="true-line"))
            parts.append(_shape(action["kind"], at, 12, "act true", title))
    for event in story["events"]:
        if event["shelf"] == curve["shelf"] and x.low <= event["t"] <= x.high:
            at = x(event["t"])
            parts.append(el("line", x1=at, x2=at, y1=20, y2=height - 24, class_="said-line"))
            class_ = "act asked" if event["kind"] == "review" else "act said"
            title = f"Walkout: {' '.join(event['visits'])} {sentence(event)}"
            parts.append(_shape(event["kind"], at, height - 30, class_, title))
    return parts
