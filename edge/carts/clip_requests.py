"""Which images a person will want who is asked: a `KeepClip` for each new question of a shelf.

Only where the store keeps clips at all (``paths.clips_key_file``), and only of cameras whose images
are on this box. The nearest few that look at the shelf, from the reach to the walk away.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edge.vision.camera_model import CameraModel, camera_model, project
from messages.commands import KeepClip
from messages.events import Event, ReviewRequested
from messages.ids import CameraId
from messages.store_config import StoreConfig

CAMERAS_MAX = 3
BEFORE_NS, AFTER_NS = 3_000_000_000, 2_000_000_000
SPAN_MAX_NS = 15_000_000_000  # of a long step, its end
USEFUL_NS = 60_000_000_000  # then the images are gone from memory, whatever ``vision.clip_s`` is


class ClipRequests:
    """Derived from the configuration alone."""

    def __init__(self, config: StoreConfig) -> None:
        """Raises CalibrationError for a camera that cannot be."""
        self._on = bool(config.paths.clips_key_file) and config.vision.clip_s > 0
        own = [c for c in config.cameras if c.url and not c.box and c.role == "room"]
        self._cameras = {c.id: camera_model(c) for c in own} if self._on else {}
        self._shelves = {
            shelf: np.mean(
                [(p.x_m, p.y_m, p.z_m) for p in config.plates if p.shelf == shelf], axis=0
            )
            for shelf in (config.shelves if self._cameras else ())
        }

    def of(self, events: Iterable[Event]) -> list[KeepClip]:
        """A command for each question whose shelf is known and seen; ids are the engine's."""
        found = []
        for event in events:
            if isinstance(event, ReviewRequested) and event.evidence.shelf in self._shelves:
                cameras = self._that_see(self._shelves[event.evidence.shelf])
                if cameras:
                    found.append(_command(event, cameras))
        return found

    def _that_see(self, place_m: np.ndarray) -> tuple[CameraId, ...]:
        near = [
            (float(np.linalg.norm(model.store_from_camera[:3, 3] - place_m)), camera)
            for camera, model in self._cameras.items()
            if _sees(model, place_m)
        ]
        return tuple(camera for _, camera in sorted(near)[:CAMERAS_MAX])


def _sees(model: CameraModel, place_m: np.ndarray) -> bool:
    px, ahead = project(place_m[None], model)
    inside = (px[0] >= 0).all() and px[0, 0] < model.width_px and px[0, 1] < model.height_px
    return bool(ahead[0] and inside)


def _command(event: ReviewRequested, cameras: tuple[CameraId, ...]) -> KeepClip:
    evidence = event.evidence
    end_ns = evidence.ended_at_ns + AFTER_NS
    return KeepClip(
        not_after_ns=event.at_ns + USEFUL_NS,
        cameras=cameras,
        started_at_ns=max(evidence.started_at_ns - BEFORE_NS, end_ns - SPAN_MAX_NS),
        ended_at_ns=end_ns,
        reason=f"{event.review}: {event.reason}",
    )
