"""Pictures of packages, drawn: as somebody photographs them, and in a hand before a shelf.

Boxes, bottles, cans and bags with printed labels; three flavours of a brand share their layout and
differ in their colours, a word and a little picture, as in a shop. Perspective, lamps, blur, noise,
fingers and goods behind are drawn in. They serve to run a product recognizer end to end and to
compare its variants; figures taken on them say nothing about real goods.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from messages.arrays import Bytes8, Floats

KINDS = ("box", "bottle", "can", "bag")
FLAVOURS = 3  # of one brand
WORDS = ("MORA", "LUNO", "TAVI", "KEFA", "BRIO", "SOLA", "NIMO", "PELO", "ZUMA", "RIVA", "OKTO")
TASTES = ("mild", "plum", "salt", "lime", "herb", "cocoa", "nut", "fig", "rye", "mint", "zero")
LABEL_PX = 192
SCENE_PX = 192  # everything is drawn at this size, then made as small as the camera sees it
SKINS = ((120, 160, 205), (90, 125, 180), (60, 90, 140), (40, 60, 95), (150, 185, 225))
TALL = {"box": 1.4, "bottle": 2.7, "can": 1.8, "bag": 1.35}  # height over width
FAR = 6.0  # of the eye, in widths of the package


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """How a product looks. ``front``, ``side``: textures (LABEL_PX, LABEL_PX, 3), blue first."""

    kind: str
    front: Bytes8
    side: Bytes8
    cap: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """How a picture is taken. ``seen_px``: how many pixels of the camera the picture had."""

    seen_px: int = 160
    turn_deg: float = 30.0  # of the package, one sigma about ``from_deg``
    roll_deg: float = 8.0
    from_deg: tuple[float, float] = (0.0, 0.0)  # turn and roll
    hand: bool = False
    shelf: float = 0.0  # probability of goods behind
    blur_px: float = 0.3  # of movement, in pixels of the camera
    noise: float = 0.01
    light_sd: float = 0.08


PHOTO = Shot()
# A hand before a shelf, 2 to 3 m from a 1080p camera: a crop of 40 cm has about 110 pixels.
IN_STORE = Shot(
    seen_px=110,
    turn_deg=40.0,
    roll_deg=25.0,
    hand=True,
    shelf=0.5,
    blur_px=2.0,
    noise=0.03,
    light_sd=0.25,
)


def packages(count: int, seed: int) -> tuple[Package, ...]:
    """A range of goods: brands with ``FLAVOURS`` flavours each. The same for the same seed."""
    return tuple(_package(seed, index) for index in range(count))


def picture(
    package: Package | None, shot: Shot, rng: np.random.Generator, others: tuple[Package, ...] = ()
) -> Bytes8:
    """(side, side, 3), blue first: the package in its middle, or nothing (a hand alone).

    Args:
        others: goods that may stand behind.
    """
    canvas = _background(shot, rng, others)
    centre = SCENE_PX / 2 + rng.normal(0.0, 0.04 * SCENE_PX, 2)
    if package is not None:
        wide = SCENE_PX * rng.uniform(0.34, 0.48) * (1.4 / TALL[package.kind]) ** 0.6
        _draw(canvas, package, centre, wide, shot, rng)
    if shot.hand:
        _draw_hand(canvas, centre, rng, empty=package is None)
    return _exposed(canvas, shot, rng)


# --- looks ----------------------------------------------------------------------------------------


def _package(seed: int, index: int) -> Package:
    brand, flavour = divmod(index, FLAVOURS)
    rng = np.random.default_rng([seed, brand])
    kind = KINDS[brand % len(KINDS)]
    base, ink = _colour(rng.uniform(0, 180), rng), _colour(rng.uniform(0, 180), rng, dark=True)
    word, layout = WORDS[brand % len(WORDS)], int(rng.integers(4))
    own = np.random.default_rng([seed, brand, 1 + flavour])
    accent = _colour(float(rng.uniform(0, 180) + 60 * flavour) % 180, own)
    taste = TASTES[int(own.integers(len(TASTES)))]
    front = _label(base, accent, ink, layout, word, taste, own)
    side = _side(base, accent, ink, own)
    return Package(kind, front, side, accent)


def _colour(hue: float, rng: np.random.Generator, *, dark: bool = False) -> tuple[int, int, int]:
    value = rng.uniform(40, 110) if dark else rng.uniform(150, 245)
    hsv = np.array([[[hue, rng.uniform(90, 240), value]]], dtype=np.uint8)
    b, g, r = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return b, g, r


def _label(
    base: tuple[int, int, int],
    accent: tuple[int, int, int],
    ink: tuple[int, int, int],
    layout: int,
    word: str,
    taste: str,
    rng: np.random.Generator,
) -> Bytes8:
    n = LABEL_PX
    image = np.full((n, n, 3), base, dtype=np.uint8)
    if layout == 0:
        cv2.rectangle(image, (0, int(0.55 * n)), (n, int(0.8 * n)), accent, -1)
    elif layout == 1:
        cv2.circle(image, (n // 2, int(0.62 * n)), int(0.28 * n), accent, -1, cv2.LINE_AA)
    elif layout == 2:
        corners = np.array([[0, n], [n, int(0.45 * n)], [n, n]], dtype=np.int32)
        cv2.fillPoly(image, [corners], accent, cv2.LINE_AA)
    else:
        for x in range(0, n, 32):
            cv2.rectangle(image, (x, int(0.5 * n)), (x + 14, n), accent, -1)
    cv2.rectangle(image, (0, int(0.1 * n)), (n, int(0.34 * n)), (245, 245, 245), -1)
    _write(image, word, 0.27, 1.6, ink)
    _fruit(image, accent, ink, rng)
    _write(image, taste, 0.9, 0.9, ink)
    return image


def _write(image: Bytes8, text: str, at: float, size: float, colour: tuple[int, int, int]) -> None:
    (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, 2)
    at_px = (max(0, (LABEL_PX - wide) // 2), int(at * LABEL_PX))
    cv2.putText(image, text, at_px, cv2.FONT_HERSHEY_DUPLEX, size, colour, 2, cv2.LINE_AA)


def _fruit(
    image: Bytes8,
    accent: tuple[int, int, int],
    ink: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """A little picture in the middle."""
    for _ in range(int(rng.integers(2, 6))):
        at = (LABEL_PX * rng.uniform((0.25, 0.48), (0.75, 0.75))).astype(int).tolist()
        axes = rng.integers(8, 26, 2).tolist()
        colour = accent if rng.random() < 0.4 else _colour(rng.uniform(0, 180), rng)
        cv2.ellipse(image, at, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(image, at, axes, 0, 0, 360, ink, 1, cv2.LINE_AA)


def _side(
    base: tuple[int, int, int],
    accent: tuple[int, int, int],
    ink: tuple[int, int, int],
    rng: np.random.Generator,
) -> Bytes8:
    """Small print and a bar code."""
    n = LABEL_PX
    image = np.full((n, n, 3), base, dtype=np.uint8)
    cv2.rectangle(image, (0, 0), (n, n // 8), accent, -1)
    for y in range(n // 4, int(0.65 * n), 12):
        cv2.line(image, (20, y), (int(n * rng.uniform(0.5, 0.9)), y), ink, 3)
    cv2.rectangle(image, (30, int(0.72 * n)), (n - 30, n - 14), (250, 250, 250), -1)
    for x in range(38, n - 38, 7):
        cv2.line(image, (x, int(0.75 * n)), (x, n - 20), (20, 20, 20), int(rng.integers(1, 5)))
    return image


# --- bodies ---------------------------------------------------------------------------------------


def _draw(
    canvas: Bytes8,
    package: Package,
    centre: Floats,
    wide: float,
    shot: Shot,
    rng: np.random.Generator,
) -> None:
    turn_deg, roll_deg = shot.from_deg
    yaw, pitch = np.radians(rng.normal((turn_deg, 0.0), (shot.turn_deg, 10.0)))
    roll = np.radians(rng.normal(roll_deg, shot.roll_deg))
    if package.kind in ("bottle", "can"):
        _draw_round(canvas, package, centre, wide, yaw, roll)
        return
    deep = 0.35 if package.kind == "box" else 0.04
    R = _turned(float(np.clip(yaw, -1.3, 1.3)), float(pitch), float(roll))
    half = np.array([1.0, TALL[package.kind], deep]) / 2
    light = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    for normal, across, down, texture in _faces(package):
        if (R @ normal)[2] >= -0.05:  # the eye looks along +z: those that look at it have z < 0
            continue
        middle = normal * half
        corners = np.array(
            [
                middle + (i * across + j * down) * half
                for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
        )
        px = _seen(corners @ R.T, centre, wide)
        shade = 0.62 + 0.38 * max(0.0, float((R @ normal) @ light))
        _paste(canvas, np.clip(texture * shade, 0, 255).astype(np.uint8), px)


def _faces(package: Package) -> list[tuple[Floats, Floats, Floats, Bytes8]]:
    """Normal, the two axes of its texture, and the texture, of each face."""
    x, y, z = np.eye(3)
    top = np.full((8, 8, 3), package.cap, dtype=np.uint8)
    return [
        (-z, x, y, package.front),
        (z, -x, y, package.side),
        (x, z, y, package.side),
        (-x, -z, y, package.side),
        (-y, x, z, top),
        (y, x, -z, top),
    ]


def _turned(yaw: float, pitch: float, roll: float) -> Floats:
    a, b, c = (cv2.Rodrigues(v)[0] for v in np.diag([pitch, yaw, roll]))
    return np.asarray(c @ a @ b, dtype=np.float64)


def _seen(points: Floats, centre: Floats, wide: float) -> Floats:
    return np.asarray(centre + wide * points[:, :2] * (FAR / (FAR + points[:, 2:])))


def _paste(canvas: Bytes8, texture: Bytes8, corners: Floats) -> None:
    h, w = texture.shape[:2]
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float32)
    H = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    size = (canvas.shape[1], canvas.shape[0])
    drawn = cv2.warpPerspective(texture, H, size, flags=cv2.INTER_LINEAR)
    mask = cv2.warpPerspective(np.full((h, w), 255, np.uint8), H, size)
    canvas[mask > 127] = drawn[mask > 127]


def _draw_round(
    canvas: Bytes8, package: Package, centre: Floats, wide: float, yaw: float, roll: float
) -> None:
    """An upright cylinder seen from the side, its label wrapped round half of it, then rolled."""
    w, h = max(8, round(wide)), max(8, round(wide * TALL[package.kind]))
    u = (np.arange(w) + 0.5) / w * 2 - 1
    angle = np.arcsin(u) + yaw
    column = ((angle / np.pi + 0.5) % 1.0 * LABEL_PX).astype(np.int64) % LABEL_PX
    front = np.abs((angle + np.pi) % (2 * np.pi) - np.pi) < np.pi / 2
    rows = (np.arange(h) / h * LABEL_PX).astype(np.int64)
    wrapped = np.where(
        front[None, :, None], package.front[rows][:, column], package.side[rows][:, column]
    )
    shade = 0.55 + 0.45 * np.sqrt(np.clip(1 - (u + 0.25) ** 2, 0, 1))
    body = np.clip(wrapped * shade[None, :, None], 0, 255).astype(np.uint8)
    mask = np.full((h, w), 255, np.uint8)
    if package.kind == "bottle":
        _shouldered(body, mask, package.cap)
    else:
        body[: h // 14], body[-h // 14 :] = (190, 190, 195), (160, 160, 165)
    M = cv2.getRotationMatrix2D((w / 2, h / 2), np.degrees(roll), 1.0)
    M[:, 2] += centre - (w / 2, h / 2)
    size = (canvas.shape[1], canvas.shape[0])
    drawn, shown = cv2.warpAffine(body, M, size), cv2.warpAffine(mask, M, size)
    canvas[shown > 127] = drawn[shown > 127]


def _shouldered(body: Bytes8, mask: Bytes8, cap: tuple[int, int, int]) -> None:
    """The upper third narrows to a neck with a cap; it has no label."""
    h, w = mask.shape
    shoulder = int(0.38 * h)
    label = cv2.resize(body, (w, h - shoulder))
    body[:shoulder] = (0.5 * body[-1:] + 60).astype(np.uint8)
    body[shoulder:] = label
    reach = np.interp(np.arange(shoulder) / h, (0.0, 0.16, 0.38), (0.34, 0.36, 1.0))
    outside = np.abs((np.arange(w) + 0.5) / w * 2 - 1)[None] > reach[:, None]
    mask[:shoulder][outside] = 0
    body[: int(0.1 * h)] = cap


# --- around it ------------------------------------------------------------------------------------


def _background(shot: Shot, rng: np.random.Generator, others: tuple[Package, ...]) -> Bytes8:
    n = SCENE_PX
    grey = rng.uniform(70, 210) + rng.normal(0, 8, 3)
    fall = np.linspace(rng.uniform(0.75, 1.0), rng.uniform(0.75, 1.0), n)
    canvas = np.clip(fall[:, None, None] * grey * np.ones((n, n, 1)), 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 5))):
        low = rng.integers(0, n, 2)
        high = low + rng.integers(20, 120, 2)
        cv2.rectangle(canvas, low.tolist(), high.tolist(), _colour(rng.uniform(0, 180), rng), -1)
    if others and rng.random() < shot.shelf:
        _draw_row(canvas, others, rng)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 1.2), dtype=np.uint8)


def _draw_row(canvas: Bytes8, others: tuple[Package, ...], rng: np.random.Generator) -> None:
    """Goods on a shelf behind: one or two products side by side, smaller than what is held."""
    straight = Shot(turn_deg=6.0, roll_deg=1.0)
    base, wide = SCENE_PX * rng.uniform(0.6, 1.1), SCENE_PX * rng.uniform(0.16, 0.24)
    shown = [others[i] for i in rng.integers(0, len(others), 2)]
    for k in range(6):
        package = shown[k // 3]
        size = wide * (1.4 / TALL[package.kind]) ** 0.6
        middle = np.array([wide * (0.4 + 1.1 * k), base - size * TALL[package.kind] / 2])
        _draw(canvas, package, middle, size, straight, rng)
    canvas[min(int(base), SCENE_PX - 1) :] = (170, 180, 190)


def _draw_hand(canvas: Bytes8, centre: Floats, rng: np.random.Generator, *, empty: bool) -> None:
    """A forearm from one side and four fingers; over the lower part of what they hold."""
    skin = np.array(SKINS[int(rng.integers(len(SKINS)))]) * rng.uniform(0.85, 1.1)
    colour = np.clip(skin, 0, 255).astype(int).tolist()
    dark = np.clip(skin * 0.7, 0, 255).astype(int).tolist()
    side = 1 if rng.random() < 0.5 else -1
    reach = (0.02 if empty else 0.16) * SCENE_PX
    lower = (0.02 if empty else rng.uniform(-0.02, 0.18)) * SCENE_PX
    palm = centre + np.array([side * reach, lower])
    far = palm + SCENE_PX * np.array([side * rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.8)])
    sleeve = _colour(rng.uniform(0, 180), rng)
    cv2.line(canvas, palm.astype(int).tolist(), far.astype(int).tolist(), sleeve, 34, cv2.LINE_AA)
    cv2.ellipse(canvas, palm.astype(int).tolist(), (22, 26), 0, 0, 360, colour, -1, cv2.LINE_AA)
    for k in range(4):
        across = (k - 1.5) * 12 + rng.normal(0, 2)
        tip = palm + np.array([-side * rng.uniform(26, 44), across])
        start = (palm + np.array([0.0, (k - 1.5) * 10])).astype(int).tolist()
        cv2.line(canvas, start, tip.astype(int).tolist(), dark, 13, cv2.LINE_AA)
        cv2.line(canvas, start, tip.astype(int).tolist(), colour, 11, cv2.LINE_AA)


def _exposed(canvas: Bytes8, shot: Shot, rng: np.random.Generator) -> Bytes8:
    """As a camera has it: the size, movement, lamps, noise, JPEG."""
    n = shot.seen_px
    image = cv2.resize(canvas, (n, n), interpolation=cv2.INTER_AREA).astype(np.float64)
    length = abs(rng.normal(0.0, shot.blur_px))
    if length > 0.5:
        image = cv2.filter2D(image, -1, _streak(length, rng.uniform(0, np.pi)))
    tint = 1.0 + rng.normal(0.0, 0.04, 3)
    image = image * tint * np.exp(rng.normal(0.0, shot.light_sd))
    image = image + 255 * shot.noise * rng.standard_normal(image.shape)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def _streak(length: float, angle: float) -> Floats:
    """A blur along a line."""
    n = 2 * int(np.ceil(length)) + 1
    kernel = np.zeros((n, n), dtype=np.float32)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    middle = np.array([n // 2, n // 2])
    start, end = (16 * (middle - reach)).astype(int), (16 * (middle + reach)).astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0, 1, cv2.LINE_AA, 4)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)
