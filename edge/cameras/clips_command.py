"""``walkout clips``: what was kept, shown to who has the key; each access stands in the audit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from edge.cameras.clip_file import (
    ClipError,
    as_row,
    audit,
    clips_in,
    delete_clip,
    expire,
    read_clip,
    read_key,
)
from messages.store_config import StoreConfig


def listed(config: StoreConfig) -> list[dict[str, Any]]:
    """Every clip, the newest first; what is too old goes first."""
    folder = _folder(config)
    expire(folder, config.vision.clips_days, time.time())
    audit(folder, "listed")
    return [as_row(head) for head in clips_in(folder)]


def shown(config: StoreConfig, name: str, out: Path) -> dict[str, Any]:
    """The images as JPEG files ``CAMERA-NUMBER.jpg`` in a folder. Raises ClipError."""
    if not config.paths.clips_key_file:
        raise ClipError("store.toml has no [paths] clips_key_file; clips need the key of the store")
    folder = _folder(config)
    head, images = read_clip(folder, read_key(Path(config.paths.clips_key_file)), name)
    audit(folder, "shown", name)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, (camera, image) in enumerate(images):
        (out / f"{camera}-{number:04d}.jpg").write_bytes(image.jpeg)
    return {**as_row(head), "out": str(out)}


def deleted(config: StoreConfig, name: str) -> None:
    """Raises ClipError where there is none."""
    delete_clip(_folder(config), name)


def _folder(config: StoreConfig) -> Path:
    return Path(config.paths.clips)
