"""Pictures of the report as SVG text: bars, intervals, calibration, floor plans, mass curves.

Colours are CSS classes of ``report_html/report.css``, so that one drawing serves light and dark.
Every text goes through ``markupsafe``: names come from files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from markupsafe import Markup, escape

Interval = tuple[float, float] | None


def el(tag: str, *children: object, **attributes: object) -> Markup:
    """One element; ``stroke_width`` becomes ``stroke-width``, ``class_`` becomes ``class``."""
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    body = Markup("").join(escape(child) for child in children)
    return Markup(f"<{tag}{said}>{body}</{tag}>")


def svg(width: float, height: float, *children: object, label: str, class_: str = "") -> Markup:
    """A picture that scales; ``label`` is what a screen reader says."""
    return el(
        "svg",
        *children,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        role="img",
        aria_label=label,
        class_=class_ or None,
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to pixels, straight."""

    low: float
    high: float
    start_px: float
    end_px: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start_px + (value - self.low) / span * (self.end_px - self.start_px)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside, about so many."""
        span = (self.high - self.low) or 1.0
        unit = 10 ** floor(log10(span / about))
        step = min((unit * k for k in (1, 2, 5, 10)), key=lambda s: abs(span / s - about))
        first = ceil(self.low / step - 1e-9)
        return [round(i * step, 10) for i in range(first, floor(self.high / step + 1e-9) + 1)]


def rate_bar(value: float | None, interval: Interval, *, asked: bool = False) -> Markup:
    """A small bar from 0 to 1 with its confidence interval, for a table's cell."""
    if value is None:
        return Markup('<span class="none">–</span>')
    scale = Scale(0.0, 1.0, 0.5, 99.5)
    parts = [
        el("rect", x=0, y=3, width=100, height=8, rx=4, class_="bar-rest"),
        el(
            "rect",
            x=0,
            y=3,
            width=max(0.0, min(1.0, value)) * 100,
            height=8,
            rx=4,
            class_="bar-asked" if asked else "bar",
        ),
    ]
    if interval is not None:
        low, high = (scale(max(0.0, min(1.0, end))) for end in interval)
        parts.append(el("line", x1=low, x2=high, y1=7, y2=7, class_="whisker"))
        parts += [el("line", x1=x, x2=x, y1=4, y2=10, class_="whisker") for x in (low, high)]
    return svg(100, 14, *parts, label=f"{value:.3f}", class_="spark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One row of ``ladder``: a value on a scale from 0 to 1."""

    label: str
    value: float
    interval: Interval = None
    ours: bool = False


def ladder(rows: Sequence[Mark], *, label: str) -> Markup:
    """Dots on a common scale, ours beside theirs."""
    width, left, row_px = 720.0, 250.0, 30.0
    height = row_px * len(rows) + 30
    scale = Scale(0.0, 1.0, left, width - 60)
    parts = [_grid_line(scale(t), height, f"{t:.1f}") for t in scale.ticks()]
    for index, row in enumerate(rows):
        parts.append(_ladder_row(row, 14 + index * row_px, scale, left))
    return svg(width, height, *parts, label=label, class_="chart ladder")


def _grid_line(x: float, height: float, text: str) -> Markup:
    return el(
        "g",
        el("line", x1=x, x2=x, y1=0, y2=height - 22, class_="grid"),
        el("text", text, x=x, y=height - 6, text_anchor="middle", class_="tick"),
    )


def _ladder_row(row: Mark, y: float, scale: Scale, left: float) -> Markup:
    name = el("text", row.label, x=left - 14, y=y + 4, text_anchor="end", class_="label")
    parts = [name]
    if row.interval is not None:
        low, high = (scale(max(0.0, min(1.0, end))) for end in row.interval)
        parts.append(el("line", x1=low, x2=high, y1=y, y2=y, class_="span"))
    class_ = "dot-ours" if row.ours else "dot-theirs"
    parts.append(el("circle", cx=scale(row.value), cy=y, r=6, class_=class_))
    reach = max(row.value, row.interval[1] if row.interval else 0.0)
    parts.append(
        el("text", f"{row.value:.3f}", x=scale(min(1.0, reach)) + 12, y=y + 4, class_="value")
    )
    return el("g", *parts)


def calibration(bins: Sequence[tuple[float, float, int]], *, label: str) -> Markup:
    """Said probability against how often it was right; a dot's area grows with its lines.

    Args:
        bins: mean probability, share right, lines.
    """
    size, left, bottom = 360.0, 44.0, 36.0
    x = Scale(0.0, 1.0, left, size - 14)
    y = Scale(0.0, 1.0, size - bottom, 12)
    parts = [*_axes(x, y, "probability on the line", "share of lines that were right")]
    parts.append(el("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="ideal"))
    most = max((n for _, _, n in bins), default=1)
    points = " ".join(f"{_number(x(p))},{_number(y(r))}" for p, r, _ in bins)
    parts.append(el("polyline", points=points, class_="curve"))
    for said, right, lines in bins:
        title = el("title", f"said {said:.3f}, right {right:.3f}, {lines} lines")
        radius = 3 + 6 * (lines / most) ** 0.5
        parts.append(el("circle", title, cx=x(said), cy=y(right), r=radius, class_="dot-ours"))
    return svg(size, size, *parts, label=label, class_="chart square")


def histogram(counts: Sequence[int], edges: Sequence[float], *, x_label: str, label: str) -> Markup:
    """Bars over a straight axis."""
    width, height, left, bottom = 480.0, 240.0, 44.0, 36.0
    x = Scale(edges[0], edges[-1], left, width - 14)
    y = Scale(0.0, max([*counts, 1]), height - bottom, 12)
    parts = _axes(x, y, x_label, "receipts")
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        title = el("title", f"{low:g} to {high:g}: {count}")
        parts.append(
            el(
                "rect",
                title,
                x=x(low) + 1,
                y=y(count),
                width=max(0.5, x(high) - x(low) - 2),
                height=y(0) - y(count),
                class_="bar",
            )
        )
    return svg(width, height, *parts, label=label, class_="chart")


def share_bars(rows: Sequence[tuple[str, int]], *, label: str) -> Markup:
    """Named counts as bars with their numbers."""
    width, left, row_px = 480.0, 150.0, 28.0
    most = max((n for _, n in rows), default=0) or 1
    parts: list[Markup] = []
    for index, (name, count) in enumerate(rows):
        y = index * row_px
        bar = (width - left - 70) * count / most
        parts += [
            el("text", name, x=left - 10, y=y + 18, text_anchor="end", class_="label"),
            el("rect", x=left, y=y + 6, width=max(bar, 1), height=16, rx=3, class_="bar-bad"),
            el("text", f"{count}", x=left + bar + 8, y=y + 18, class_="value"),
        ]
    return svg(width, row_px * max(len(rows), 1) + 4, *parts, label=label, class_="chart")


def _axes(x: Scale, y: Scale, x_label: str, y_label: str) -> list[Markup]:
    base, top = y.start_px, y.end_px
    parts = [el("line", x1=x.start_px, x2=x.end_px, y1=base, y2=base, class_="axis")]
    for tick in x.ticks():
        parts.append(
            el("text", f"{tick:g}", x=x(tick), y=base + 15, text_anchor="middle", class_="tick")
        )
    for tick in y.ticks(4):
        parts += [
            el("line", x1=x.start_px, x2=x.end_px, y1=y(tick), y2=y(tick), class_="grid"),
            el(
                "text",
                f"{tick:g}",
                x=x.start_px - 6,
                y=y(tick) + 4,
                text_anchor="end",
                class_="tick",
            ),
        ]
    middle = (x.start_px + x.end_px) / 2
    parts += [
        el("text", x_label, x=middle, y=base + 31, text_anchor="middle", class_="tick"),
        el(
            "text",
            y_label,
            transform=f"translate(12 {_number((base + top) / 2)}) rotate(-90)",
            text_anchor="middle",
            class_="tick",
        ),
    ]
    return parts


# --- a store seen from above ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """The floor on paper: x to the right, y upwards, 100 px the long side's tenth."""

    area: tuple[float, float, float, float]

    @property
    def px_per_m(self) -> float:
        x0, y0, x1, y1 = self.area
        return 880.0 / max(x1 - x0, (y1 - y0) * 1.2, 1.0)

    @property
    def size(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.area
        return (x1 - x0) * self.px_per_m + 20, (y1 - y0) * self.px_per_m + 34

    def point(self, x_m: float, y_m: float) -> tuple[float, float]:
        return (
            10 + (x_m - self.area[0]) * self.px_per_m,
            10 + (self.area[3] - y_m) * self.px_per_m,
        )


def floor_plan(store: dict[str, Any], inside: Iterable[Markup], *, label: str) -> Markup:
    """Fixtures, gates and cameras, and what lies over them."""
    plan = Plan(tuple(store["area"]))
    width, height = plan.size
    x0, y0 = plan.point(store["area"][0], store["area"][3])
    parts = [
        el("rect", x=x0, y=y0, width=width - 20, height=height - 34, class_="floor"),
        *[_fixture(plan, row) for row in store["fixtures"]],
        *[_gate(plan, row) for row in store["gates"]],
        *[_camera(plan, x, y) for x, y in store["cameras"]],
        *inside,
    ]
    return svg(width, height, *parts, label=label, class_="plan")


def trail(plan: Plan, path: dict[str, Any], class_: str, pieces: int = 16) -> Markup:
    """A walked path; it grows darker with time."""
    points = [plan.point(x, y) for x, y in zip(path["x"], path["y"], strict=True)]
    step = max(1, ceil(len(points) / pieces))
    lines = []
    for index in range(0, max(len(points) - 1, 0), step):
        part = points[index : index + step + 1]
        text = " ".join(f"{_number(round(x, 1))},{_number(round(y, 1))}" for x, y in part)
        shade = 0.2 + 0.8 * index / max(len(points), 1)
        lines.append(el("polyline", points=text, stroke_opacity=round(shade, 2)))
    return el("g", *lines, class_=f"trail {class_}")


def _fixture(plan: Plan, row: dict[str, Any]) -> Markup:
    x, y = plan.point(row["x"] - row["width"] / 2, row["y"] + row["depth"] / 2)
    width, depth = row["width"] * plan.px_per_m, row["depth"] * plan.px_per_m
    box = el("rect", x=x, y=y, width=width, height=depth, rx=3, class_="fixture")
    if width < 40 or depth < 14:
        return box
    at = {"x": x + width / 2, "y": y + depth / 2 + 4}
    return el("g", box, el("text", row["id"], text_anchor="middle", class_="tick", **at))


def _gate(plan: Plan, row: dict[str, Any]) -> Markup:
    x, y = plan.point(row["x"], row["y"])
    name = el("text", row["id"], x=x, y=y + 20, text_anchor="middle", class_="tick")
    return el("g", el("rect", x=x - 16, y=y - 4, width=32, height=8, rx=4, class_="gate"), name)


def _camera(plan: Plan, x_m: float, y_m: float) -> Markup:
    x, y = plan.point(x_m, y_m)
    return el("circle", el("title", "camera"), cx=x, cy=y, r=4, class_="camera")


def polyline(xs: Sequence[float], ys: Sequence[float], to: Callable[[float, float], Any]) -> str:
    """The ``points`` of a line through values that are there."""
    pairs = (to(x, y) for x, y in zip(xs, ys, strict=True))
    return " ".join(f"{_number(round(x, 1))},{_number(round(y, 1))}" for x, y in pairs)


def _number(value: object) -> object:
    """Short text for floats: two digits are a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
