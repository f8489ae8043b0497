"""Detections against the truth of a MOTChallenge sequence: average precision, recall, misses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.vision.detectors.found import Found
from messages.arrays import Bools, Floats

IOU_MIN = 0.5  # AP50


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """All detections of a sequence, surest first: (n,) ``scores`` and whether each is a ``hit``;
    ``people``: how many there are."""

    scores: Floats
    hit: Bools
    people: int

    @property
    def recall(self) -> Floats:
        return np.asarray(np.cumsum(self.hit) / max(self.people, 1))

    @property
    def precision(self) -> Floats:
        return np.asarray(np.cumsum(self.hit) / np.arange(1, len(self.hit) + 1))

    def average_precision(self) -> float:
        """Area below the curve of the best precision at each recall or more."""
        if not len(self.hit):
            return 0.0
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(self.recall, prepend=0.0) * best))

    def recall_from(self, score: float) -> tuple[float, float]:
        """(recall, precision) of the detections with at least this score."""
        k = int(np.count_nonzero(self.scores >= score))
        return (0.0, 1.0) if not k else (float(self.recall[k - 1]), float(self.precision[k - 1]))

    def recall_at_precision(self, precision: float) -> float:
        good = self.precision >= precision
        return float(self.recall[good].max()) if good.any() else 0.0


def true_boxes(path: Path) -> dict[int, Floats]:
    """Image number -> (n, 4) x1, y1, x2, y2 of a ``gt.txt``."""
    rows = np.loadtxt(path, delimiter=",", usecols=range(6), ndmin=2)
    boxes = np.concatenate((rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]), axis=1)
    return {int(n): boxes[rows[:, 0] == n] for n in np.unique(rows[:, 0])}


def judged(found: dict[int, Found], truth: dict[int, Floats]) -> Judged:
    """Each person is found once: by the surest detection that overlaps most and enough."""
    scores, hits = [np.zeros(0)], [np.zeros(0, dtype=np.bool_)]
    people = 0
    for number, seen in found.items():
        real = truth.get(number, np.zeros((0, 4)))
        people += len(real)
        scores.append(seen.scores)
        hits.append(np.fromiter(_hits(seen.boxes_px, real), np.bool_, len(seen)))
    score, hit = np.concatenate(scores), np.concatenate(hits)
    order = np.argsort(-score, kind="stable")
    return Judged(score[order], hit[order], people)


def _hits(boxes: Floats, real: Floats) -> Iterator[bool]:
    free = np.ones(len(real), dtype=np.bool_)
    overlap = _iou(boxes, real)
    for row in overlap:
        best = int(np.argmax(np.where(free, row, -1.0))) if free.any() else -1
        hit = best >= 0 and row[best] >= IOU_MIN
        if hit:
            free[best] = False
        yield hit


def _iou(a: Floats, b: Floats) -> Floats:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.maximum(high - low, 0.0).prod(axis=2)
    area_a, area_b = ((q[:, 2:] - q[:, :2]).prod(axis=1) for q in (a, b))
    return np.asarray(both / (area_a[:, None] + area_b - both))
