"""The demo's screen: who is inside, carts, receipts as they come, devices, a small floor map.

It knows what anybody on the box may know: the daemon's ``status.json`` and the sync file, read
only. The truth stays with the world.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from messages.money import Money
from messages.store_config import StoreConfig

MAP_COLUMNS = 54
MAP_ROWS = 18  # characters are about twice as high as wide
RECEIPTS_SHOWN = 8
ALARMS_SHOWN = 3


def screen(
    config: StoreConfig, status: dict[str, Any], receipts: Sequence[dict[str, Any]], headline: str
) -> RenderableType:
    """Everything, as one picture."""
    names = {str(product.id): product.name or str(product.id) for product in config.products}
    return Group(
        Text(headline, "bold"),
        Columns(
            [
                Panel(floor_map(config, status.get("people", [])), title="floor"),
                Group(
                    Panel(_carts(status, names), title="carts"),
                    Panel(_receipts(receipts), title="receipts"),
                ),
            ]
        ),
        Panel(_health(status), title="devices"),
    )


def floor_map(config: StoreConfig, people: Sequence[dict[str, Any]]) -> Text:
    """Fixtures as blocks, gates as doors, people as the letter of their visit ("?" unknown)."""
    grid = [[" "] * MAP_COLUMNS for _ in range(MAP_ROWS)]
    for fixture in config.fixtures:
        left, bottom = _cell(
            config, fixture.x_m - fixture.width_m / 2, fixture.y_m - fixture.depth_m / 2
        )
        right, top = _cell(
            config, fixture.x_m + fixture.width_m / 2, fixture.y_m + fixture.depth_m / 2
        )
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                grid[row][column] = "\u2592"
    for gate in config.gates:
        column, row = _cell(config, gate.x_m, gate.y_m)
        grid[row][column] = "\u2193" if gate.direction == "exit" else "\u2191"
    text = Text("\n".join("".join(row) for row in grid), "dim")
    for person in people:
        column, row = _cell(config, person["x_m"], person["y_m"])
        at = row * (MAP_COLUMNS + 1) + column
        letter = letter_of(person["visit"])
        text = text[:at] + Text(letter, "bold green") + text[at + 1 :]
    return text


def letter_of(visit: str) -> str:
    """A letter for a visit; "?" where nobody knows."""
    number = visit.rpartition("-v")[2]
    return string.ascii_uppercase[(int(number) - 1) % 26] if number.isdigit() else "?"


def inside(status: dict[str, Any]) -> int:
    """People inside by the daemon's count."""
    return sum(visit["inside"] for visit in status.get("visits", []))


def read_receipts(path: Path) -> list[dict[str, Any]]:
    """The receipts so far, oldest first; none while the file is being made."""
    import sqlite3

    from cloud_sync import views

    try:
        return views.receipts(path)
    except sqlite3.Error:
        return []


def _cell(config: StoreConfig, x_m: float, y_m: float) -> tuple[int, int]:
    """(column, row) of a place; the far wall is the first row."""
    area = config.area
    x = (x_m - area.x_min_m) / (area.x_max_m - area.x_min_m)
    y = (y_m - area.y_min_m) / (area.y_max_m - area.y_min_m)
    column = round(x * (MAP_COLUMNS - 1))
    row = round((1 - y) * (MAP_ROWS - 1))
    return min(max(column, 0), MAP_COLUMNS - 1), min(max(row, 0), MAP_ROWS - 1)


def _carts(status: dict[str, Any], names: dict[str, str]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for visit in status.get("visits", []):
        where = f"{visit['inside']} inside" if visit["inside"] else "left"
        held: Counter[tuple[str, str]] = Counter()
        for line in visit["lines"]:
            held[line["sku"], line["state"]] += line["quantity"]
        goods = [
            f"{units} x {names.get(sku, sku)}" + (" ?" if state == "review" else "")
            for (sku, state), units in held.items()
        ]
        table.add_row(letter_of(visit["visit"]), where, ", ".join(goods) or "-")
    return table if table.row_count else Text("nobody", "dim")


def _receipts(receipts: Sequence[dict[str, Any]]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for receipt in receipts[-RECEIPTS_SHOWN:]:
        pieces = sum(line["quantity"] for line in receipt["lines"])
        total = Money(minor=receipt["total_minor"], currency=receipt["currency"])
        doubt = f", {len(receipt['in_review'])} in doubt" if receipt["in_review"] else ""
        table.add_row(
            letter_of(receipt["visit"]), str(total), receipt["state"], f"{pieces} pieces{doubt}"
        )
    return table if table.row_count else Text("none yet", "dim")


def _health(status: dict[str, Any]) -> RenderableType:
    devices = status.get("devices", {})
    states = Counter(device["state"] for device in devices.values())
    lines = [Text(", ".join(f"{n} {state}" for state, n in sorted(states.items())) or "none")]
    for name, device in devices.items():
        if device["state"] != "online" or device.get("detail"):
            lines.append(Text(f"{name}: {device['state']} {device.get('detail', '')}", "yellow"))
    for key in list(status.get("alarms", {}))[:ALARMS_SHOWN]:
        lines.append(Text(f"alarm {key}", "red"))
    running = status.get("running")
    lines.append(
        Text(
            f"daemon {'running' if running else 'not running'}, step {status.get('step', 0)}, "
            f"lag {status.get('lag_ms', 0):.0f} ms",
            "dim" if running else "red",
        )
    )
    return Group(*lines)
