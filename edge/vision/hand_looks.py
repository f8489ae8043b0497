"""Hands of one image to ``ItemSightings``: which are worth a look, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.vision.camera_model import CameraModel
from edge.vision.product_crops import CROP_M, crop_about
from edge.vision.product_recognition import (
    ProductModel,
    planogram_prior,
    probabilities,
    unknown_share,
)
from messages.arrays import Bytes8, Floats, Floats32, Ints
from messages.ids import CameraId, Sku
from messages.observations import ItemSightings
from messages.store_config import StoreConfig

NEAR_SHELF_M = 0.8  # a hand farther from every facing has not just taken something
LOOKS_MAX = 4  # hands looked into in one image: about 10 ms each
UNKNOWN_MAX = 0.2  # of the goods near a hand: with more of them not enrolled, looks mislead
SKUS_TOLD = 16  # the likeliest; the rest is not told apart

Describe = Callable[[Bytes8], Floats32]  # a crop to features


@dataclass(frozen=True, slots=True, eq=False)
class Goods:
    """Where goods stand: ``facing_m`` (f, 3); ``product`` (f,) index into the model, -1 unknown."""

    facing_m: Floats
    product: Ints


def goods_of(config: StoreConfig, skus: tuple[Sku, ...]) -> Goods:
    """The middles of the plates of each facing, by the books."""
    at, product = [], []
    index = {sku: i for i, sku in enumerate(skus)}
    for facing in config.facings:
        for plate in facing.plates:
            i = config.plate_index.get(plate)
            if i is not None:
                p = config.plates[i]
                at.append((p.x_m, p.y_m, p.z_m))
                product.append(index.get(facing.sku, -1))
    return Goods(np.array(at).reshape(-1, 3), np.array(product, dtype=np.int64))


def worth_a_look(hands_m: Floats, goods: Goods) -> Ints:
    """Rows of hands near goods that are enrolled, the nearest first, at most ``LOOKS_MAX``."""
    known = np.isfinite(hands_m).all(axis=1)
    if not len(goods.facing_m) or not known.any():
        return np.zeros(0, dtype=np.int64)
    gap = np.linalg.norm(hands_m[:, None] - goods.facing_m[None], axis=2).min(axis=1)
    told = unknown_share(hands_m, goods.facing_m, goods.product) <= UNKNOWN_MAX
    near = np.flatnonzero(known & (gap <= NEAR_SHELF_M) & told)
    return near[np.argsort(gap[near], kind="stable")][:LOOKS_MAX]


def looked_into(
    image: Bytes8,
    middles_px: Floats,
    hands_m: Floats,
    camera: CameraModel,
    model: ProductModel,
    goods: Goods,
    describe: Describe,
) -> tuple[Floats, Floats, Floats]:
    """Positions (n, 3), probabilities (n, k) and priors (n, k) of the hands that were looked into.

    Args:
        middles_px: (h, 2) of the hands; hands_m: (h, 3).
    """
    eye, focal = camera.store_from_camera[:3, 3], camera.camera_matrix[0, 0]
    rows, features = [], []
    for row in worth_a_look(hands_m, goods).tolist():
        away_m = max(float(np.linalg.norm(hands_m[row] - eye)), 0.1)
        crop = crop_about(image, middles_px[row], focal * CROP_M / away_m)
        if crop is not None:
            rows.append(row)
            features.append(describe(crop))
    k = len(model.skus)
    if not rows:
        return np.zeros((0, 3)), np.zeros((0, k)), np.zeros((0, k))
    at = hands_m[rows]
    prior = planogram_prior(at, goods.facing_m, goods.product, k)
    return at, probabilities(model, np.stack(features), prior), prior


def told(
    camera: CameraId,
    captured_at_ns: int,
    model: ProductModel | None,
    looks: tuple[Floats, Floats, Floats],
) -> ItemSightings:
    """The packet: the SKUs that any of the hands may hold."""
    at, probability, prior = looks
    likely = np.maximum(probability, prior).max(axis=0, initial=0.0)
    kept = np.sort(np.argsort(-likely, kind="stable")[:SKUS_TOLD])
    return ItemSightings(
        camera=camera,
        received_at_ns=0,
        captured_at_ns=captured_at_ns,
        positions_store_m=np.ascontiguousarray(at),
        skus=() if model is None else tuple(model.skus[i] for i in kept.tolist()),
        probability=np.ascontiguousarray(probability[:, kept]),
        prior=np.ascontiguousarray(prior[:, kept]),
    )
