"""Reports of weight steps against the truth: who found what, how soon, and what never was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from bench.weight_runs import NS, Shelves, TrueStep

MARGIN_NS = NS  # a report may say its time so wrong: rules have windows of a second
RECEIVED_NS = 200_000_000  # samples after the release that must be in before anybody can know
MASS_OFF_G, MASS_OFF_PART = 10.0, 0.15  # a report within either has weighed the thing
SIGMAS = 5.0  # changes below so many sigma of one sample may take longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One step as a method reported it, at ``at_ns``; ``withdrawn``: it was taken back later."""

    shelf: int
    plate: int
    from_ns: int
    to_ns: int
    mass_g: float
    at_ns: int
    mass_sd_g: float = 0.0
    moved: tuple[tuple[int, float], ...] = ()  # (plate, grams) of its shelf, where it is told


@dataclass(slots=True)
class Tally:
    """Sums over runs; ``figures`` makes rates of them."""

    truths: int = 0
    found: int = 0
    matched: int = 0
    weighed: int = 0
    overlapping: int = 0
    overlapping_found: int = 0
    delay_ms: list[float] = field(default_factory=list)
    delay_weak_ms: list[float] = field(default_factory=list)  # changes below five sigma
    final_delay_ms: list[float] = field(default_factory=list)
    provisional: int = 0
    provisional_right: int = 0
    error_g: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Names as ``walkout bench weights --json`` prints them."""
        soon = _ratio(self.provisional_right, self.provisional)
        return {
            **({"provisional_precision": soon} if self.provisional else {}),
            "step_recall": _ratio(self.matched, self.truths),
            "step_precision": _ratio(self.matched, self.found),
            "step_mass_right": _ratio(self.weighed, self.matched),
            "overlapping_recall": _ratio(self.overlapping_found, self.overlapping),
            **_percentiles("delay_ms", self.delay_ms),
            **_percentiles("final_delay_ms", self.final_delay_ms),
            **_percentiles("below_five_sigma_delay_ms", self.delay_weak_ms),
            "mass_error_g_p50": _quantile(np.abs(self.error_g), 0.5),
            "steps_true": self.truths,
            "steps_found": self.found,
        }


def tally(
    into: Tally, run: Shelves, reports: Sequence[Report], provisional: Sequence[Report] = ()
) -> None:
    """Match one run's reports and add them up. Truths at the run's ends count neither way.

    A step is reported by its first provisional report of the right mass, or by its final one.
    """
    node_of = {p: i for i, node in enumerate(run.config.shelf_nodes) for p in node.plates}
    received = _arrivals(run)
    taken = set[int]()
    for truth, k in matches(run.truth, reports):
        taken.add(k)
        if not truth.counts:
            into.found -= 1  # neither right nor wrong
            continue
        report = reports[k]
        into.matched += 1
        into.overlapping_found += truth.overlaps
        into.error_g.append(report.mass_g - truth.mass_g)
        into.weighed += weighs(truth, report)
        node = node_of[run.config.plates[truth.plates[0]].id]
        known_ns = truth.released_ns + RECEIVED_NS + run.link_ns[node]
        came = received[node]
        known_ns = int(came[min(int(np.searchsorted(came, known_ns)), len(came) - 1)])
        soon = [p.at_ns for p in provisional if _fits(truth, p) and _told(truth, p)]
        if not weighs(truth, report):
            continue  # two changes in one, or a part: nothing was reported that could be timed
        late_ms = max(min([report.at_ns, *soon]) - known_ns, 0) / 1e6
        into.final_delay_ms.append(max(report.at_ns - known_ns, 0) / 1e6)
        strong = abs(truth.mass_g) > SIGMAS * truth.sigma_g
        (into.delay_ms if strong else into.delay_weak_ms).append(late_ms)
    into.found += len(reports)
    into.provisional += len(provisional)
    into.provisional_right += sum(
        any(_fits(truth, one) and _told(truth, one) for truth in run.truth) for one in provisional
    )
    into.truths += sum(truth.counts for truth in run.truth)
    into.overlapping += sum(truth.counts and truth.overlaps for truth in run.truth)


def matches(truths: Sequence[TrueStep], reports: Sequence[Report]) -> list[tuple[TrueStep, int]]:
    """Each truth with at most one report of its shelf, time and sign, and the other way round.

    Where several would do, those whose masses fit best.
    """
    pairs: list[tuple[TrueStep, int]] = []
    for shelf in sorted({truth.shelf for truth in truths}):
        rows = [truth for truth in truths if truth.shelf == shelf]
        columns = [k for k, report in enumerate(reports) if report.shelf == shelf]
        fit = np.array([[_fits(truth, reports[k]) for k in columns] for truth in rows])
        if not columns or not fit.any():
            continue
        off = [[abs(truth.mass_g - reports[k].mass_g) for k in columns] for truth in rows]
        cost = np.where(fit, np.minimum(off, 1e5), 1e7)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if fit[i, j]:
                pairs.append((rows[i], columns[j]))
    return pairs


def weighs(truth: TrueStep, report: Report) -> bool:
    """The report's mass is the change's, within 10 g or 15 %."""
    off_g = abs(report.mass_g - truth.mass_g)
    return off_g < max(MASS_OFF_G, MASS_OFF_PART * abs(truth.mass_g))


def _fits(truth: TrueStep, report: Report) -> bool:
    same_time = (
        report.from_ns < truth.released_ns + MARGIN_NS and report.to_ns > truth.from_ns - MARGIN_NS
    )
    return same_time and (truth.mass_g > 0) == (report.mass_g > 0)


def _told(truth: TrueStep, report: Report) -> bool:
    """A provisional report says what happened: on that shelf and plates, of that mass."""
    near = any(abs(report.plate - plate) <= 1 for plate in truth.plates)
    return report.shelf == truth.shelf and near and weighs(truth, report)


def _arrivals(run: Shelves) -> list[np.ndarray]:
    """Per node, when its batches came, in order."""
    index = {node.id: i for i, node in enumerate(run.config.shelf_nodes)}
    came: list[list[int]] = [[] for _ in index]
    for batch in run.batches:
        came[index[batch.device]].append(batch.received_at_ns)
    return [np.array(times) for times in came]


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 1.0


def _quantile(values: Sequence[float] | np.ndarray, at: float) -> float:
    return round(float(np.quantile(values, at)), 1) if len(values) else 0.0


def _percentiles(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p50": _quantile(values, 0.5), f"{name}_p99": _quantile(values, 0.99)}
