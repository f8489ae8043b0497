"""``walkout sim render``: a picture of a scenario, as a camera of its store would take it.

The scenario runs up to the instant with gates that open for everybody who shows a code; no engine
takes part.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from messages.store_config import Camera, StoreConfig
from sim.bodies import Bodies, bodies_at
from sim.layouts import layout
from sim.outputs import Scan
from sim.render import render
from sim.scenario import find, load
from sim.world import TICK_NS, Options, World

NS = 1_000_000_000
STEP_NS = 100_000_000
FORMATS = (".png", ".jpg")


class RenderError(ValueError):
    """A picture that cannot be made: what is wrong, and the remedy."""


def render_main(
    scenario: str,
    *,
    at_s: float,
    camera: str,
    out: Path,
    seed: int,
    light: float,
    quality: int,
    as_json: bool,
) -> int:
    """Write the picture; print where it is and who stands where.

    Raises:
        RenderError: no such camera, or a file that cannot be written.
        ScenarioError, LayoutError: see ``sim.scenario`` and ``sim.layouts``.
    """
    if out.suffix.lower() not in FORMATS or not out.parent.is_dir():
        raise RenderError(f"{out}: name a file that ends in {' or '.join(FORMATS)} in a folder")
    script = load(find(scenario))
    config = layout(script.store)
    taken_by = _camera(config, camera)
    world = World.of(config, Options(seed=seed), script)
    _advance(world, script.duration_s, round(at_s * NS))
    bodies = bodies_at(world.crowd.people, np.array([world.now_ns]), world.now_ns, TICK_NS)
    image = render(taken_by, bodies, world.stock, light=light, quality=quality)
    if not cv2.imwrite(str(out), image):
        raise RenderError(f"{out}: cannot be written; choose another folder")
    _print(out, image.shape, bodies, as_json)
    return 0


def _camera(config: StoreConfig, camera: str) -> Camera:
    found = next((c for c in config.cameras if c.id == camera), None)
    if found is None:
        known = ", ".join(str(c.id) for c in config.cameras)
        raise RenderError(f"no camera {camera!r} in {config.store}; there are {known}")
    return found


def _advance(world: World, doors_s: float, until_ns: int) -> None:
    for now_ns in range(STEP_NS, until_ns + 1, STEP_NS):
        if now_ns >= doors_s * NS:
            world.close_doors()
        for output in world.advance(now_ns):
            if isinstance(output, Scan):
                world.set_credential(output.shopper, f"code-{output.shopper}")
                world.unlocked(output.gate, output.party_size, now_ns)
    world.advance(until_ns)


def _print(out: Path, shape: tuple[int, ...], bodies: Bodies, as_json: bool) -> None:
    people = [
        {"key": key, "x_m": round(float(x), 2), "y_m": round(float(y), 2)}
        for key, (x, y) in zip(bodies.key, bodies.position_store_m[0], strict=True)
    ]
    if as_json:
        size = {"width_px": shape[1], "height_px": shape[0]}
        print(json.dumps({"file": str(out), **size, "people": people}))
        return
    print(f"{out}: {shape[1]} x {shape[0]} pixels")
    for person in people:
        print(f"  {person['key']:16} at {person['x_m']:5.2f}, {person['y_m']:5.2f} m")
