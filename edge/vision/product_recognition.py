"""What a hand holds: from features of crops to a probability per SKU, or of nothing at all.

Linear discriminant analysis: each product is a normal distribution about the mean of its enrolled
crops, all with one covariance, shrunk towards a sphere since there are fewer crops than features.
*Nothing* (an empty hand, the goods behind it) is one more class. With W = S^-1 mu the score of a
class is w_k' x - mu_k' w_k / 2. Scores become probabilities by a temperature and an offset of
nothing, fitted by likelihood on crops of photos that the discriminant did not see. The planogram
is the prior: what hangs near the hand is likelier to be in it.

Few photos favour this over nearest neighbours and over a logistic head (docs/PRODUCTS.md).
Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 4.3; Guo et al., On
Calibration of Modern Neural Networks (2017), for the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from messages.arrays import Bools, Floats, Floats32, Ints, read_only
from messages.ids import Sku

SHRINKAGE = 0.6  # of the covariance towards a sphere: 0.3 to 0.6 were about equal on drawn goods
FOLDS = 4  # photos are held out a quarter at a time
TEMPERATURE_MIN, TEMPERATURE_MAX = 0.05, 1000.0
EMPTY_HAND = 0.5  # prior: a hand near a shelf holds something as often as not
NEAR_M = 0.35  # one sigma from the hand to the middle of the plate it took from
ELSEWHERE = 0.1  # of the prior: it may hold what hangs anywhere in the store
NEVER = -1e6  # score of a class without any example
LOOK_ALIKE = 0.95  # cosine of two products' means from which a person should look at them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crops:
    """Enrolled crops. ``label`` (m,): index into ``skus``, their count = nothing. ``photo`` (m,):
    which photo a crop was made of; ``features`` (m, d)."""

    skus: tuple[Sku, ...]
    features: Floats32
    label: Ints
    photo: Ints

    def __post_init__(self) -> None:
        read_only(self.features, self.label, self.photo)

    def only(self, rows: Bools) -> Crops:
        return Crops(
            skus=self.skus,
            features=self.features[rows],
            label=self.label[rows],
            photo=self.photo[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductModel:
    """k products and nothing. ``weight`` (d, k + 1), ``offset`` (k + 1,): scores are
    ``x @ weight + offset``, calibrated already."""

    skus: tuple[Sku, ...]
    weight: Floats
    offset: Floats

    def __post_init__(self) -> None:
        read_only(self.weight, self.offset)


def fitted(crops: Crops) -> ProductModel:
    """The discriminant of all crops, calibrated on photos that were held out.

    Crops of nothing must be among them: what has no example is never said, and then every empty
    hand would hold something.
    """
    weight, offset = _discriminant(crops)
    scores, label = held_out(crops)
    temperature, bias = _calibration(scores, label)
    offset = offset / temperature
    offset[-1] += bias
    return ProductModel(skus=crops.skus, weight=weight / temperature, offset=offset)


def probabilities(model: ProductModel, features: Floats32, prior: Floats | None = None) -> Floats:
    """(n, k) probability of each SKU; what a row lacks of 1 is that of nothing.

    Args:
        features: (n, d). prior: (n, k) of each SKU, rows below 1; None: all alike.
    """
    scores = features.astype(np.float64) @ model.weight + model.offset
    k = len(model.skus)
    if prior is None:
        prior = np.full((len(scores), k), (1.0 - EMPTY_HAND) / max(k, 1))
    rest = np.clip(1.0 - prior.sum(axis=1, keepdims=True), 1e-9, None)
    log_prior = np.log(np.clip(np.hstack([prior, rest]), 1e-12, None))
    result: Floats = softmax(scores + log_prior, axis=1)[:, :k]
    return result


def planogram_prior(hands_m: Floats, facings_m: Floats, product: Ints, products: int) -> Floats:
    """(n, k) how likely a hand holds each product before anybody looked at it.

    Args:
        hands_m: (n, 3). facings_m: (f, 3) where goods stand; product: (f,) which, -1 unknown.
        products: k.
    """
    known = product >= 0
    gap = np.linalg.norm(hands_m[:, None] - facings_m[None, known], axis=2)  # (n, f)
    near = np.zeros((len(hands_m), products))
    np.add.at(near.T, product[known], np.exp(-0.5 * (gap / NEAR_M) ** 2).T)
    total = near.sum(axis=1, keepdims=True)
    share = np.where(total > 1e-9, near / np.maximum(total, 1e-9), 1.0 / max(products, 1))
    mixed = (1.0 - ELSEWHERE) * share + ELSEWHERE / max(products, 1)
    return np.asarray((1.0 - EMPTY_HAND) * mixed)


def unknown_share(hands_m: Floats, facings_m: Floats, product: Ints) -> Floats:
    """(n,) share of the goods near each hand that the model does not know, 0 to 1.

    The model tells apart what it knows and nothing else: what it does not know looks to it like
    something that it does.
    """
    gap = np.linalg.norm(hands_m[:, None] - facings_m[None], axis=2)  # (n, f)
    near = np.exp(-0.5 * (gap / NEAR_M) ** 2)
    return np.asarray(near[:, product < 0].sum(axis=1) / np.maximum(near.sum(axis=1), 1e-12))


def held_out(crops: Crops) -> tuple[Floats, Ints]:
    """Scores (m, k + 1) of crops by discriminants that did not see their photos, and labels (m,).

    Crops of classes with a single photo are left out: nothing else tells how they look.
    """
    fold = _folds(crops)
    rows, labels = [], []
    for held in range(FOLDS):
        here = fold == held
        kept = crops.only(~here)
        if not here.any() or not len(kept.label):
            continue
        here &= np.isin(crops.label, kept.label)
        weight, offset = _discriminant(kept)
        rows.append(crops.features[here].astype(np.float64) @ weight + offset)
        labels.append(crops.label[here])
    if not rows:
        return np.zeros((0, len(crops.skus) + 1)), np.zeros(0, dtype=np.int64)
    return np.concatenate(rows), np.concatenate(labels)


def look_alikes(crops: Crops) -> list[tuple[Sku, Sku, float]]:
    """Pairs of products whose crops have nearly the same mean, and its cosine, worst first."""
    k = len(crops.skus)
    means = np.stack([_mean(crops, i) for i in range(k)]) if k else np.zeros((0, 1))
    means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    cosine = means @ means.T
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k) if cosine[i, j] >= LOOK_ALIKE]
    pairs.sort(key=lambda pair: -cosine[pair])
    return [(crops.skus[i], crops.skus[j], float(cosine[i, j])) for i, j in pairs]


def confusion(crops: Crops) -> Floats:
    """(k + 1, k + 1) share of each class's held-out crops that are taken for each class."""
    scores, label = held_out(crops)
    n = len(crops.skus) + 1
    table = np.zeros((n, n))
    np.add.at(table, (label, scores.argmax(axis=1)), 1.0)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), 1.0))


def _folds(crops: Crops) -> Ints:
    """(m,) a fold for each crop: photos of one class in turn, all crops of a photo together."""
    fold = np.zeros(len(crops.label), dtype=np.int64)
    for label in np.unique(crops.label):
        mine = crops.label == label
        _, turn = np.unique(crops.photo[mine], return_inverse=True)
        fold[mine] = turn % FOLDS
    return fold


def _mean(crops: Crops, label: int) -> Floats:
    rows = crops.features[crops.label == label]
    if not len(rows):
        return np.zeros(crops.features.shape[1])
    return np.asarray(rows.mean(axis=0, dtype=np.float64))


def _discriminant(crops: Crops) -> tuple[Floats, Floats]:
    """W (d, k + 1) and the offsets (k + 1,); a class without crops never wins."""
    n = len(crops.skus) + 1
    mu = np.stack([_mean(crops, label) for label in range(n)])
    apart = crops.features - mu[crops.label]
    d = max(crops.features.shape[1], 1)
    spread = float((apart**2).sum() / max(len(apart), 1)) / d or 1.0
    W = _solved(apart / np.sqrt(max(len(apart), 1)), spread, mu.T)
    offset = -0.5 * (mu.T * W).sum(axis=0)
    offset[~np.isin(np.arange(n), crops.label)] = NEVER
    return W, offset


def _solved(A: Floats, spread: float, mu: Floats) -> Floats:
    """S^-1 mu with S = (1 - c) A'A + c s I, by Woodbury: as many equations as there are crops.

    S^-1 = (I - (1 - c) A' (c s I + (1 - c) A A')^-1 A) / (c s).
    """
    c, s = SHRINKAGE, spread
    if len(A) >= A.shape[1]:
        S = (1 - c) * A.T @ A + c * s * np.eye(A.shape[1])
        return np.asarray(np.linalg.solve(S, mu))
    inner = c * s * np.eye(len(A)) + (1 - c) * A @ A.T
    return np.asarray((mu - (1 - c) * A.T @ np.linalg.solve(inner, A @ mu)) / (c * s))


def _calibration(scores: Floats, label: Ints) -> tuple[float, float]:
    """Temperature and bias of nothing of the greatest likelihood, each class counting the same.

    Items count as much as nothing does, which is the prior ``EMPTY_HAND``.
    """
    if not len(label):
        return 1.0, 0.0
    last = scores.shape[1] - 1
    weight = np.where(label == last, 1.0 / max((label == last).sum(), 1), 0.0)
    for k in range(last):
        mine = label == k
        weight[mine] = 1.0 / max(mine.sum(), 1) / max(last, 1)
    flat = np.zeros(last + 1)
    flat[:last] = -np.log(max(last, 1))

    def loss(v: Floats) -> float:
        z = scores / np.exp(v[0]) + flat
        z[:, last] += v[1]
        return float(-(weight * log_softmax(z, axis=1)[np.arange(len(label)), label]).sum())

    start = float(np.log(max(scores.std(axis=1).mean(), 1e-3)))
    bounds = [(np.log(TEMPERATURE_MIN), np.log(TEMPERATURE_MAX)), (-30.0, 30.0)]
    start_at: Sequence[float] = (min(max(start, bounds[0][0]), bounds[0][1]), 0.0)
    found = minimize(loss, start_at, method="Nelder-Mead", bounds=bounds)
    return float(np.exp(found.x[0])), float(found.x[1])
