"""What a hand holds: drawn goods enrolled from drawn photos, then looked at in drawn hands.

**Everything is drawn** (``sim/product_images.py``): no photo of a real package was at hand, so the
figures compare variants and show that probabilities mean what they say; they do not say how often a
real shop's goods are recognised. 24 products, three flavours of each brand; eight photos of each
held in a hand and 40 of empty hands; then other turns, lights, blur and fingers, of other seeds.

``top1``: right among all 24; ``brand_top1``: at least the brand; ``top1_of_8``: right among the 8
candidates that a planogram leaves, four of them its neighbours by looks. ``ece``: expected
calibration error of the likeliest answer, nothing included, ten bins of equal count, with the
planogram of 8 as prior; ``false_in_hand``: empty hands said to hold something with more than 0.5,
``missed_in_hand``: goods said to be nothing. ``alike_one_camera``, ``alike_two_cameras``: how much
the errors of two looks at one hold correlate. ``ms_per_crop``: process-CPU time, one thread.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from bench.measured import machine, print_table
from edge.cameras.models.packages import ModelsError
from edge.cameras.models.product_net import ProductNet
from edge.vision.product_crops import EMBEDDING, middle, varied
from edge.vision.product_recognition import (
    EMPTY_HAND,
    Crops,
    ProductModel,
    fitted,
    probabilities,
)
from messages.arrays import Bytes8, Floats, Floats32, Ints
from messages.ids import Sku
from sim.product_images import FLAVOURS, IN_STORE, Package, packages, picture

PRODUCTS, PHOTOS, NOTHINGS, CROPS = 24, 8, 40, 3
PICTURES, EMPTY = 10, 120  # of each product; of empty hands
HOLDS, APART_DEG = 5, 90.0  # of each product; between two cameras' views of it
SEEDS = (11, 12, 13)  # 1 and 2 were used to choose the features and the shrinkage
CANDIDATES = 8
# As a store enrols: held before the camera, in good light, not moving.
ENROL = replace(IN_STORE, seen_px=160, blur_px=0.5, noise=0.01, light_sd=0.15)


def main(json_output: bool) -> int:
    """Run and print: one JSON object, or a table. 1 when the net is missing."""
    try:
        found = run()
    except ModelsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run(seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """All figures, the mean over the seeds; about 20 s of CPU for each."""
    net = ProductNet()
    rows = [_of_seed(net, seed) for seed in seeds]
    parts = {
        name: {k: _mean(row[name][k] for row in rows) for k in rows[0][name]} for name in PEERS
    }
    spent = {k: _mean(row["spent"][k] for row in rows) for k in rows[0]["spent"]}
    return {
        "bench": "products",
        "figures": {**parts.pop("both"), **spent},
        "peers": parts,
        "where_time_goes": {},
        "machine": {**machine(), "goods": "drawn, not real", "seeds": list(seeds)},
    }


PEERS = {
    "both": slice(None),
    "embedding alone": slice(0, EMBEDDING),
    "colours alone": slice(EMBEDDING, None),
}


def _of_seed(net: ProductNet, seed: int) -> dict[str, dict[str, float]]:
    goods = packages(PRODUCTS, seed)
    started_s = time.process_time()
    crops = enrolled(net, goods, np.random.default_rng([seed, 1]))
    enrolled_s = time.process_time() - started_s
    looks, label, spent_ms = _looked_at(net, goods, np.random.default_rng([seed, 2]))
    agreement = _agreement(net, fitted(crops), goods, np.random.default_rng([seed, 3]))
    started_s = time.process_time()
    found = {name: _figures(crops, looks, label, columns) for name, columns in PEERS.items()}
    fit_s = (time.process_time() - started_s) / len(PEERS)
    found["spent"] = {
        "ms_per_crop": spent_ms,
        "enrol_s_per_product": enrolled_s / PRODUCTS,
        "fit_s": fit_s,
        **agreement,
    }
    return found


def enrolled(
    net: ProductNet,
    goods: tuple[Package, ...],
    rng: np.random.Generator,
    photos: int = PHOTOS,
    nothings: int = NOTHINGS,
) -> Crops:
    """Crops of drawn photos, each photo as it is and varied."""
    pictures: list[tuple[int, Bytes8]] = [
        (k, picture(package, ENROL, rng, goods))
        for k, package in enumerate(goods)
        for _ in range(photos)
    ]
    pictures += [(len(goods), picture(None, ENROL, rng, goods)) for _ in range(nothings)]
    rows = [
        (label, n, middle(photo) if i == 0 else varied(photo, rng))
        for n, (label, photo) in enumerate(pictures)
        for i in range(CROPS)
    ]
    return Crops(
        skus=tuple(Sku(f"product-{k}") for k in range(len(goods))),
        features=np.stack([net.features(crop) for _, _, crop in rows]),
        label=np.array([label for label, _, _ in rows]),
        photo=np.array([n for _, n, _ in rows]),
    )


def _looked_at(
    net: ProductNet, goods: tuple[Package, ...], rng: np.random.Generator
) -> tuple[Floats32, Ints, float]:
    """Features and labels of crops in the store, and CPU ms of one."""
    label = [k for k in range(len(goods)) for _ in range(PICTURES)] + [len(goods)] * EMPTY
    shown = [picture(goods[k] if k < len(goods) else None, IN_STORE, rng, goods) for k in label]
    started_s = time.process_time()
    rows = [net.features(middle(image)) for image in shown]
    spent_ms = 1000 * (time.process_time() - started_s) / len(rows)
    return np.stack(rows), np.array(label), spent_ms


def _figures(crops: Crops, looks: Floats32, label: Ints, columns: slice) -> dict[str, float]:
    model = fitted(replace(crops, features=np.ascontiguousarray(crops.features[:, columns])))
    looks, k = looks[:, columns], len(crops.skus)
    item = label < k
    free = probabilities(model, looks)
    best = free[item].argmax(axis=1)
    near = probabilities(model, looks, _prior(label, k))
    whole = np.hstack([near, 1.0 - near.sum(axis=1, keepdims=True)])
    held = near.sum(axis=1)
    return {
        "top1": float((best == label[item]).mean()),
        "brand_top1": float((best // FLAVOURS == label[item] // FLAVOURS).mean()),
        "top1_of_8": float((near[item].argmax(axis=1) == label[item]).mean()),
        "ece": calibration_error(whole.max(axis=1), whole.argmax(axis=1) == label),
        "false_in_hand": float((held[~item] > 0.5).mean()),
        "missed_in_hand": float((held[item] <= 0.5).mean()),
        "wrong_above_90": _wrong_above(model, near, label, 0.9),
    }


def _wrong_above(model: ProductModel, near: Floats, label: Ints, least: float) -> float:
    """Of what is said of a product with more than this probability: how much is wrong."""
    del model
    sure = near.max(axis=1) > least
    return float((near[sure].argmax(axis=1) != label[sure]).mean()) if sure.any() else 0.0


def _agreement(
    net: ProductNet, model: ProductModel, goods: tuple[Package, ...], rng: np.random.Generator
) -> dict[str, float]:
    """How alike the errors of two looks at one hold are: in one camera, and in two.

    Correlation of the log of the true product's probability against the best other one's.
    """
    margins = []
    for k, package in enumerate(goods):
        for _ in range(HOLDS):
            turn, roll = rng.normal(0.0, (IN_STORE.turn_deg, IN_STORE.roll_deg)).tolist()
            views = ((turn, roll), (turn, roll), (turn + APART_DEG, -roll))
            shots = [replace(IN_STORE, turn_deg=5.0, roll_deg=5.0, from_deg=v) for v in views]
            shown = [middle(picture(package, shot, rng, goods)) for shot in shots]
            p = probabilities(model, np.stack([net.features(crop) for crop in shown]))
            true, others = p[:, k], np.delete(p, k, axis=1).max(axis=1)
            margins.append(np.log(np.maximum(true, 1e-6) / np.maximum(others, 1e-6)))
    table = np.corrcoef(np.array(margins).T)
    return {"alike_one_camera": float(table[0, 1]), "alike_two_cameras": float(table[0, 2])}


def _prior(label: Ints, k: int) -> Floats:
    """Eight products hang near: the true one, its brand's others, and some; 0.1 is elsewhere."""
    rng = np.random.default_rng(0)
    prior = np.full((len(label), k), 0.1 / k)
    for row, true in zip(prior, label.tolist(), strict=True):
        middle_of = true if true < k else int(rng.integers(k))
        brand = middle_of // FLAVOURS * FLAVOURS
        near = {middle_of, *range(brand, min(brand + FLAVOURS, k))}
        others = rng.permutation(k).tolist()
        near |= set([o for o in others if o not in near][: CANDIDATES - len(near)])
        row[sorted(near)] += 0.9 / len(near)
    return np.asarray((1.0 - EMPTY_HAND) * prior)


def calibration_error(said: Floats, right: Floats | np.ndarray[Any, Any], bins: int = 10) -> float:
    """Expected calibration error over bins of equal count."""
    order = np.argsort(said, kind="stable")
    parts = np.array_split(order, bins)
    gaps = [len(p) * abs(float(said[p].mean() - right[p].mean())) for p in parts if len(p)]
    return sum(gaps) / max(len(said), 1)


def _mean(values: Any) -> float:
    return round(float(np.mean(list(values))), 4)
