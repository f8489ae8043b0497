"""``walkout enroll``: product photos in, what is known of them out."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.cameras.enrolment import (
    CropsFile,
    EnrolmentError,
    added,
    listed,
    photos_of,
    read_crops,
    removed,
    unready,
    write,
)
from edge.cameras.models.product_net import ProductNet
from messages.store_config import StoreConfig


def enrol(config: StoreConfig, sku: str | None, photos: Sequence[Path]) -> dict[str, Any]:
    """Add photos of a product, or (None) of empty hands, and say what is known now.

    Raises:
        EnrolmentError: an unknown SKU, or a photo that is none. ModelsError: no net.
    """
    if sku is not None and sku not in config.product_index:
        near = difflib.get_close_matches(sku, [str(s) for s in config.product_index], 1)
        hint = f"did you mean {near[0]}?" if near else "add it as [[sku]] first"
        raise EnrolmentError(f"store.toml has no SKU {sku!r}; {hint}")
    net, path = ProductNet(config.vision.models), Path(config.paths.products)
    file, warnings = added(read_crops(path, net.sha256), sku, photos, net)
    write(path, file)
    return _said(config, file, warnings)


def remove(config: StoreConfig, sku: str) -> dict[str, Any]:
    """Forget a product. Raises EnrolmentError, ModelsError."""
    path = Path(config.paths.products)
    file = removed(read_crops(path, ProductNet(config.vision.models).sha256), sku)
    write(path, file)
    return _said(config, file, [])


def what_is_enrolled(config: StoreConfig) -> dict[str, Any]:
    """Every product, and what is missing. Raises EnrolmentError, ModelsError."""
    path = Path(config.paths.products)
    return _said(config, read_crops(path, ProductNet(config.vision.models).sha256), [])


def _said(config: StoreConfig, file: CropsFile, warnings: list[str]) -> dict[str, Any]:
    known = set(file.skus)
    return {
        "products": [asdict(product) for product in listed(file)],
        "nothing_photos": photos_of(file, -1),
        "not_enrolled": [str(s) for s in config.product_index if s not in known],
        "ready": not unready(file),
        "warnings": [*warnings, *([unready(file)] if unready(file) else [])],
    }
