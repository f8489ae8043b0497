"""The film of real people, and a store that watches it."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.config import load
from messages.observations import DeviceHealth, Observation, PersonDetections
from messages.store_config import StoreConfig

PETS = Path(__file__).parents[3] / "examples" / "pets"
VIDEO = PETS / "vtest.avi"


def film() -> Path:
    """``vtest.avi``; fetched where it is missing, as a user would."""
    subprocess.run([PETS / "get-video.sh"], check=True, timeout=300)
    return VIDEO


def slow_film(folder: Path) -> Path:
    """The same at five images a second, so that it lasts 159 s: slow machines need them."""
    data = bytearray(film().read_bytes())
    rate = data.index(b"strh") + 8 + 24  # AVISTREAMHEADER: dwScale stands before it
    assert struct.unpack_from("<II", data, rate - 4) == (1, 10)
    struct.pack_into("<I", data, rate, 5)
    path = folder / "film.avi"
    path.write_bytes(data)
    return path


def watching(folder: Path, url: str | Path, **more: Any) -> StoreConfig:
    """The example's store on another address; ``more``: keys of its camera."""
    config = load(PETS / "store.toml")
    camera = replace(config.cameras[0], url=str(url), **more)
    paths = replace(
        config.paths,
        journal=str(folder / "journal.db"),
        runtime=str(folder / "run"),
        camera_socket=str(folder / "cameras.sock"),
        control_socket=str(folder / "control.sock"),
    )
    return replace(config, cameras=(camera,), paths=paths)


class Inbox:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.got: list[Observation] = []

    def put(self, observation: Observation, journalled: Callable[[], None] | None = None) -> None:
        self.got.append(observation)

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_to_store_ns(self, wall_ns: int) -> int:
        return wall_ns - time.time_ns() + time.monotonic_ns()

    def packets(self) -> list[PersonDetections]:
        return [seen for seen in self.got if isinstance(seen, PersonDetections)]

    def health(self, device: str) -> list[DeviceHealth]:
        return [h for h in self.got if isinstance(h, DeviceHealth) and h.device == device]


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.05)
