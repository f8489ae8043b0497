"""What sales teach about each plate: a known item that weighs 5 % more on it shows its gain.

Plates of a real shelf weigh -8 to +5 % off, and stay so for weeks. Every sure take or return of
goods whose mass is known to a percent or two is a weighing, so the gain of a plate in use is soon
known better than that: a scalar Kalman update for each plate, by its share of the item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.carts.likelihood import GAIN_SD
from edge.sensors.shelf_changes import SPAN_SD
from messages.arrays import Floats
from messages.ids import PlateId

SD_MIN = 0.005  # goods of one batch err together, and gains drift with temperature
SURPRISE = 3.5  # sigmas: more is no weighing but a mistake of ours
GAIN_OFF_MAX = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Measured mass by true mass of one plate."""

    mean: float = 1.0
    sd: float = SPAN_SD


UNKNOWN = Gain()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighing:
    """A step as its own plates saw it (c,), in grams; ``noise_sd_g`` without any error of gain."""

    plate_mass_g: Floats
    mass_g: float
    noise_sd_g: float


def known_gains(
    gains: Mapping[PlateId, Gain], plates: tuple[PlateId, ...]
) -> tuple[Floats, Floats]:
    """Mean and standard deviation (c,) of these plates' gains."""
    rows = [gains.get(plate, UNKNOWN) for plate in plates]
    return np.array([row.mean for row in rows]), np.array([row.sd for row in rows])


def true_mass(
    mass_g: float, sd_g: float, plate_mass_g: Floats, plate_sd_g: Floats, mean: Floats, sd: Floats
) -> tuple[float, float, Floats, Floats]:
    """Mass and spread of a step, and of its plates, with what is known of the gains.

    Args:
        sd_g, plate_sd_g: with an unknown plate's error of gain in them (``SPAN_SD`` of the mass).
        mean, sd: (c,) of the gains; taken as erring together, since plates share their shelf.
    """
    plates = plate_mass_g / mean
    total, raw = float(plates.sum()), float(plate_mass_g.sum())
    mass = mass_g * total / raw if raw and total / raw > 0 else mass_g
    noise = noise_of(mass_g, sd_g)
    churn = max(float(np.abs(plates).sum()), 1e-9)
    span = abs(mass) * float(np.abs(plates) @ sd) / churn
    plate_noise = np.sqrt(np.maximum(plate_sd_g**2 - (SPAN_SD * plate_mass_g) ** 2, 0.0))
    return mass, float(np.hypot(noise, span)), plates, np.hypot(plate_noise, plates * sd)


def noise_of(mass_g: float, sd_g: float) -> float:
    """The part of a step's spread that is not an unknown plate's error of gain."""
    return float(np.sqrt(max(sd_g**2 - (SPAN_SD * mass_g) ** 2, 0.0)))


def after_weighing(
    gains: Mapping[PlateId, Gain],
    plates: tuple[PlateId, ...],
    seen: Weighing,
    unit_mass_g: float,
    unit_sd_g: float,
    units: int,
) -> dict[PlateId, Gain]:
    """Gains after a step that surely was so many units of a product.

    Nothing is learned from a mass that contradicts what is known: the product was another one.
    """
    mean, sd = known_gains(gains, plates)
    true_g = units * unit_mass_g
    share = np.clip(seen.plate_mass_g / mean, 0.0, None)
    if true_g <= 0.0 or share.sum() <= 0.0:
        return dict(gains)
    slope = true_g * share / share.sum()  # grams of the sum per unit of each plate's gain
    error = seen.mass_g - float(slope @ mean)
    variance = seen.noise_sd_g**2 + units * unit_sd_g**2 + (GAIN_SD * true_g) ** 2
    variance += float((slope * sd) @ (slope * sd))
    if error**2 > SURPRISE**2 * variance:
        return dict(gains)
    weight = slope * sd**2 / variance
    new_mean = np.clip(mean + weight * error, 1.0 - GAIN_OFF_MAX, 1.0 + GAIN_OFF_MAX)
    new_sd = np.maximum(np.sqrt(np.maximum(sd**2 * (1.0 - weight * slope), 0.0)), SD_MIN)
    moved = np.flatnonzero(share > 0.0)
    new = {plates[i]: Gain(mean=float(new_mean[i]), sd=float(new_sd[i])) for i in moved.tolist()}
    return {**gains, **new}
