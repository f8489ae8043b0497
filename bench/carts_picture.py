"""The sweep of ``bench carts`` as one SVG picture, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from sim.report_svg import Scale, el

WIDTH, HEIGHT, LEFT, TOP, GAP = 250.0, 150.0, 60.0, 46.0, 46.0
ROWS = (  # figure, what it says, top of the scale
    ("visit_f1_mean", "F1 of a visit", 1.0),
    ("overcharged_per_1000_lines", "over-charged per 1,000 charged lines", 1000.0),
    ("review_rate", "share of visits in review", 1.0),
)
METHODS = {  # method: colour, name
    "ours": ("#1a7f37", "ours"),
    "winner_our_steps": ("#bc4c00", "winner's rules, our steps"),
    "competition_winner": ("#bf8700", "winner's rules, its own events"),
    "nearest_person_nearest_mass": ("#8250df", "nearest person and mass"),
}
STYLE = (
    "text{font:11px sans-serif;fill:#24292f}.head{font-weight:bold}"
    ".grid{stroke:#d0d7de;stroke-width:1}.line{fill:none;stroke-width:2}"
)


def draw(found: Mapping[str, Any]) -> str:
    """A column an axis, a row a figure, a line a method; levels stand at equal distances."""
    axes = list(found["sweep"].values())
    width = LEFT + len(axes) * (WIDTH + GAP)
    height = TOP + len(ROWS) * (HEIGHT + GAP) + 20
    parts = [
        el("style", Markup(STYLE)),
        el("rect", width=width, height=height, fill="#ffffff"),
        *_legend(found),
    ]
    for i, axis in enumerate(axes):
        for j, (figure, says, top) in enumerate(ROWS):
            x, y = LEFT + i * (WIDTH + GAP), TOP + 20 + j * (HEIGHT + GAP)
            said = says if i == 0 else ""
            parts.append(_panel(axis, figure, said, top, x, y, named=j == len(ROWS) - 1))
    picture = el(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label="Accuracy while one thing gets worse",
    )
    return str(picture) + "\n"


def _legend(found: Mapping[str, Any]) -> list[Markup]:
    visits = [r["ours"]["visits"] for axis in found["sweep"].values() for r in axis["rows"]]
    what = f"{', '.join(found['scenarios'])}, seeds {found['seeds']}"
    title = f"Where it breaks: {what}, {min(visits)} to {max(visits)} visits a point"
    parts = [el("text", title, x=LEFT, y=16, class_="head")]
    for k, (colour, name) in enumerate(METHODS.values()):
        x = LEFT + k * 230
        parts.append(el("line", x1=x, x2=x + 22, y1=34, y2=34, stroke=colour, class_="line"))
        parts.append(el("text", name, x=x + 28, y=38))
    return parts


def _panel(
    axis: Mapping[str, Any],
    figure: str,
    says: str,
    top: float,
    left: float,
    upper: float,
    *,
    named: bool,
) -> Markup:
    rows: Sequence[Mapping[str, Any]] = axis["rows"]
    x = Scale(0, max(len(rows) - 1, 1), left + 16, left + WIDTH - 16)
    y = Scale(0.0, top, upper + HEIGHT, upper)
    parts = [el("text", says, x=left, y=upper - 8)] if says else []
    for tick in y.ticks(4):
        parts.append(el("line", x1=left, x2=left + WIDTH, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(el("text", f"{tick:g}", x=left - 6, y=y(tick) + 4, text_anchor="end"))
    for k, row in enumerate(rows):
        level = f"{row['level']:g}"
        parts.append(el("text", level, x=x(k), y=upper + HEIGHT + 15, text_anchor="middle"))
    if named:
        label = {"x": left + WIDTH / 2, "y": upper + HEIGHT + 32, "text_anchor": "middle"}
        parts.append(el("text", axis["label"], **label))
    for method, (colour, _) in METHODS.items():
        points = [(x(k), y(v)) for k, r in enumerate(rows) if (v := r[method][figure]) is not None]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(el("polyline", points=line, stroke=colour, class_="line"))
        parts += [el("circle", cx=f"{a:.1f}", cy=f"{b:.1f}", r=3, fill=colour) for a, b in points]
    return el("g", *parts)


def show(found: Mapping[str, Any]) -> None:
    """For people at a terminal: F1 of each method, and ours over-charged and in review."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="bench carts --sweep", title_justify="left")
    heads = ("what", "level", "people", "error m", *METHODS, "ours over/1,000", "ours review")
    for head in heads:
        table.add_column(head.replace("_", " "), justify="right")
    for name, axis in found["sweep"].items():
        for row in axis["rows"]:
            f1 = [f"{row[method]['visit_f1_mean']:.3f}" for method in METHODS]
            ours = row["ours"]
            table.add_row(
                name,
                f"{row['level']:g}",
                f"{row['people_inside_mean']:g}",
                f"{row['floor_error_m_median']:g}",
                *f1,
                f"{ours['overcharged_per_1000_lines']:.1f}",
                f"{ours['review_rate']:.2f}",
            )
        table.add_section()
    Console().print(table)
