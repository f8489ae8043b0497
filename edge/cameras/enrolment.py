"""Products as a store enrolled them: photos in, two small files beside store.toml out.

``products.enrolled`` is what the recognizer needs (7 kB a product); ``products.enrolled.crops``
holds the features of every photo (5 kB each), so that a product added later is told from all
earlier ones. No photo is kept. Both are written whole or not at all.
"""

from __future__ import annotations

import difflib
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge.vision.product_crops import FEATURES, middle, varied
from edge.vision.product_recognition import (
    LOOK_ALIKE,
    Crops,
    ProductModel,
    confusion,
    fitted,
    look_alikes,
)
from messages.arrays import Bytes8, Floats, Floats32, Ints
from messages.codec import CodecError, decode_state, encode_state
from messages.ids import Sku

CROPS_OF_PHOTO = 3  # the photo, and two variations: six instead changed nothing that we measured
PHOTOS_MAX = 64  # of one product; each direction and light twice is 16
PRODUCTS_MAX = 2000
PHOTO_BYTES_MAX = 64 * 2**20
PHOTOS_FEW = 4  # below it nothing can be held out in every direction
NOTHINGS_MIN = 8  # photos of empty hands without which nothing is recognised
SIDE_LEAST_PX = 64
DARK, SHARP_LEAST = 40.0, 15.0  # mean of 0..255; variance of the Laplacian at 128 px
CONFUSED = 0.3  # of a product's held-out crops taken for one other product: said to the user
VERSION = 1


class EnrolmentError(ValueError):
    """A photo or an enrolment that cannot be used; says what to do."""


class Describes(Protocol):
    """A net for crops; ``edge.cameras.models.product_net.ProductNet`` is one."""

    sha256: str

    def features(self, crop: Bytes8) -> Floats32: ...


@dataclass(slots=True, eq=False)
class CropsFile:
    """``features``: (m, FEATURES) as bytes, by ``scale`` (m,). ``photo``: CRC of its bytes."""

    version: int = VERSION
    net_sha256: str = ""
    skus: list[str] = field(default_factory=list)
    features: Bytes8 = field(default_factory=lambda: np.zeros((0, FEATURES), np.uint8))
    scale: Floats32 = field(default_factory=lambda: np.zeros(0, np.float32))
    label: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # -1: nothing
    photo: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(slots=True, eq=False)
class ModelFile:
    version: int
    net_sha256: str
    skus: list[str]
    weight: Floats32
    offset: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledProduct:
    """A row of the list. ``right``: share of its held-out crops that are taken for it."""

    sku: str
    photos: int
    right: float
    warnings: tuple[str, ...]


def read_crops(path: Path, net_sha256: str) -> CropsFile:
    """What was enrolled so far; empty where there is no file.

    Raises:
        EnrolmentError: the file is damaged, or was made with another net.
    """
    at = crops_path(path)
    if not at.exists():
        return CropsFile(net_sha256=net_sha256)
    try:
        found = decode_state(at.read_bytes(), CropsFile)
    except (CodecError, OSError) as error:
        raise EnrolmentError(f"{at}: cannot be read: {error}; enrol the products anew") from error
    m, same = len(found.label), found.net_sha256 == net_sha256
    if found.features.shape != (m, FEATURES) or len(found.photo) != m or len(found.scale) != m:
        raise EnrolmentError(f"{at}: is damaged; delete it and enrol the products anew")
    if found.version != VERSION or not same:
        raise EnrolmentError(f"{at}: made with another net; delete it and enrol the products anew")
    return found


def read_model(path: Path, net_sha256: str) -> ProductModel | None:
    """What the recognizer uses; None where nothing is enrolled, or no empty hands.

    Raises:
        EnrolmentError: the file is damaged, or was made with another net.
    """
    if not path.exists():
        return None
    try:
        found = decode_state(path.read_bytes(), ModelFile)
    except (CodecError, OSError) as error:
        raise EnrolmentError(
            f"{path}: cannot be read: {error}; run: walkout enroll list"
        ) from error
    if found.net_sha256 != net_sha256 or found.version != VERSION:
        raise EnrolmentError(f"{path}: made with another net; enrol the products anew")
    if found.weight.shape != (FEATURES, len(found.skus) + 1):
        raise EnrolmentError(f"{path}: is damaged; run: walkout enroll list")
    return ProductModel(
        skus=tuple(Sku(s) for s in found.skus),
        weight=found.weight.astype(np.float64),
        offset=found.offset,
    )


def write(path: Path, file: CropsFile) -> None:
    """Both files; the model only where there are products and enough empty hands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(crops_path(path), encode_state(file))
    if not ready(file):
        path.unlink(missing_ok=True)
        return
    model = fitted(crops_of(file))
    weight, skus = model.weight.astype(np.float32), [str(s) for s in model.skus]
    made = ModelFile(VERSION, file.net_sha256, skus, weight, np.array(model.offset))
    _replace(path, encode_state(made))


def ready(file: CropsFile) -> bool:
    """Can anything be recognised with it?"""
    return bool(file.skus) and photos_of(file, -1) >= NOTHINGS_MIN


def photos_of(file: CropsFile, label: int) -> int:
    return len(np.unique(file.photo[file.label == label]))


def crops_of(file: CropsFile) -> Crops:
    k = len(file.skus)
    return Crops(
        skus=tuple(Sku(s) for s in file.skus),
        features=file.features * file.scale[:, None],
        label=np.where(file.label < 0, k, file.label),
        photo=np.array(file.photo),
    )


def added(
    file: CropsFile, sku: str | None, photos: Sequence[Path], net: Describes
) -> tuple[CropsFile, list[str]]:
    """The enrolment with more photos, of a product or (None) of empty hands; and warnings.

    Raises:
        EnrolmentError: a photo that is none, or more of them than the bounds.
    """
    skus, label = list(file.skus), -1
    if sku is not None:
        skus += [] if sku in skus else [sku]
        label = skus.index(sku)
    if len(skus) > PRODUCTS_MAX:
        raise EnrolmentError(
            f"more than {PRODUCTS_MAX} products; remove some: walkout enroll remove"
        )
    rows: list[Floats32] = []
    names, warnings = [], []
    for photo in photos:
        data, image = _photo(photo)
        name = zlib.crc32(data)
        if name in names or (file.photo == name).any():
            warnings.append(f"{photo}: is enrolled already; left out")
            continue
        warnings += [f"{photo}: {what}" for what in photo_warnings(image)]
        rng = np.random.default_rng(name)
        crops = [middle(image), *(varied(image, rng) for _ in range(CROPS_OF_PHOTO - 1))]
        rows += [net.features(crop) for crop in crops]
        names.append(name)
    if photos_of(file, label) + len(names) > PHOTOS_MAX * (1 if label >= 0 else 8):
        raise EnrolmentError(f"more than {PHOTOS_MAX} photos of {sku}; walkout enroll remove {sku}")
    if not names:
        return file, warnings
    return _joined(replace(file, skus=skus), rows, label, names), warnings


def removed(file: CropsFile, sku: str) -> CropsFile:
    """Without a product. Raises EnrolmentError where it is not enrolled."""
    if sku not in file.skus:
        near = difflib.get_close_matches(sku, file.skus, 1)
        hint = f"; did you mean {near[0]}?" if near else "; see: walkout enroll list"
        raise EnrolmentError(f"{sku} is not enrolled{hint}")
    at = file.skus.index(sku)
    kept = file.label != at
    return CropsFile(
        net_sha256=file.net_sha256,
        skus=[s for s in file.skus if s != sku],
        features=file.features[kept],
        scale=file.scale[kept],
        label=np.where(file.label[kept] > at, file.label[kept] - 1, file.label[kept]),
        photo=file.photo[kept],
    )


def listed(file: CropsFile) -> list[EnrolledProduct]:
    """Every product: its photos, how well it is told from the others, and what to do about it."""
    if not file.skus:
        return []
    crops = crops_of(file)
    table = confusion(crops)
    alike: dict[str, list[str]] = {}
    for a, b, cosine in look_alikes(crops):
        for one, other in ((a, b), (b, a)):
            text = f"looks like {other}: cosine {cosine:.2f} (from {LOOK_ALIKE} on they are alike)"
            alike.setdefault(one, []).append(text)
    return [
        EnrolledProduct(
            sku=sku,
            photos=photos_of(file, i),
            right=float(table[i, i]),
            warnings=(
                *_few(photos_of(file, i)),
                *_confused(table, i, file.skus),
                *alike.get(sku, []),
            ),
        )
        for i, sku in enumerate(file.skus)
    ]


def unready(file: CropsFile) -> str:
    """Why nothing is recognised yet; empty where it is."""
    have = photos_of(file, -1)
    if not file.skus:
        return "no product is enrolled; run: walkout enroll product SKU PHOTO..."
    if have < NOTHINGS_MIN:
        return (
            f"{have} photos of empty hands before the shelves, {NOTHINGS_MIN} are needed, or every "
            f"hand would seem to hold something; run: walkout enroll nothing PHOTO..."
        )
    return ""


def photo_warnings(image: Bytes8) -> list[str]:
    """What is wrong with a photo."""
    crop = middle(image)
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (128, 128), interpolation=cv2.INTER_AREA)
    found = []
    if crop.shape[0] < SIDE_LEAST_PX:
        found.append(f"only {crop.shape[0]} pixels; take it nearer")
    if small.mean() < DARK:
        found.append("is dark; take it in the shop's light")
    if cv2.Laplacian(small, cv2.CV_64F).var() < SHARP_LEAST:
        found.append("is blurred; hold still")
    return found


def crops_path(path: Path) -> Path:
    return path.with_name(path.name + ".crops")


def _few(photos: int) -> Iterable[str]:
    if photos < PHOTOS_FEW:
        yield f"{photos} photos; give at least {PHOTOS_FEW}, from several sides, held in a hand"


def _confused(table: Floats, i: int, skus: Sequence[str]) -> Iterable[str]:
    others = table[i].copy()
    others[i] = 0.0
    worst = int(others.argmax())
    if others[worst] >= CONFUSED:
        what = f"for {skus[worst]}" if worst < len(skus) else "for an empty hand"
        yield f"{100 * others[worst]:.0f} % of its photos are taken {what}"


def _joined(file: CropsFile, rows: Sequence[Floats32], label: int, names: list[int]) -> CropsFile:
    more = np.stack(rows)
    scale = np.maximum(more.max(axis=1), 1e-6) / 255  # all features are 0 or more
    as_bytes = np.round(more / scale[:, None]).astype(np.uint8)
    return CropsFile(
        net_sha256=file.net_sha256,
        skus=file.skus,
        features=np.concatenate([file.features, as_bytes]),
        scale=np.concatenate([file.scale, scale.astype(np.float32)]),
        label=np.concatenate([file.label, np.full(len(rows), label)]),
        photo=np.concatenate([file.photo, np.repeat(np.array(names), CROPS_OF_PHOTO)]),
    )


def _photo(path: Path) -> tuple[bytes, Bytes8]:
    try:
        if path.stat().st_size > PHOTO_BYTES_MAX:
            raise EnrolmentError(f"{path}: larger than {PHOTO_BYTES_MAX >> 20} MB; give a photo")
        data = path.read_bytes()
    except OSError as error:
        raise EnrolmentError(f"{path}: cannot be read: {error.strerror}") from error
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise EnrolmentError(f"{path}: is no picture; give JPEG or PNG")
    return data, np.asarray(image, dtype=np.uint8)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)
