"""Two published rules for weight events, written from their descriptions, per shelf.

* **Variance rule** (AiFi's data set): the shelf's sum has a variance above 0.01 kg^2 within half a
  second; the event lasts while it has. Its mass: the mean of the half second after less the mean of
  the one before.
* **Winner's rule** (competition, CMU): the moving standard deviation over 60 samples above 20 g
  for 30 samples opens an event; calm again for 30 samples with a mean that moved by more than 10 g
  closes it.

Both see each shelf's plates sample by sample; the moving sums are vectorized over a batch, so their
speed is that of the rule, not of a plain loop. A rule reports when the batch with the deciding
sample arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from bench.weight_match import Report
from messages.arrays import Floats, Ints
from messages.observations import ShelfSamples
from messages.store_config import StoreConfig

VARIANCE_WINDOW = 30  # samples: 0.5 s at 60 Hz
VARIANCE_G2 = 1e4  # 0.01 kg^2
WINNER_WINDOW = 60
WINNER_SD_G = 20.0
WINNER_FOR = 30  # samples above, or below, in a row
WINNER_MASS_G = 10.0
LEAST_G = 8.0  # what the variance rule must at least have moved: kinder to it than none


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When an event opens and closes."""

    window: int
    variance_g2: float
    opens_after: int  # samples above in a row
    closes_after: int
    mass_min_g: float
    noise_factor: float = 0.0  # times a shelf's own noise, where that is more than the threshold


VARIANCE = Rule(
    window=VARIANCE_WINDOW,
    variance_g2=VARIANCE_G2,
    opens_after=1,
    closes_after=1,
    mass_min_g=LEAST_G,
)
WINNER = Rule(
    window=WINNER_WINDOW,
    variance_g2=WINNER_SD_G**2,
    opens_after=WINNER_FOR,
    closes_after=WINNER_FOR,
    mass_min_g=WINNER_MASS_G,
)
# Kinder than the report: on a shelf whose noise at rest is above 20 g the rule as it stands opens
# one event at the start and never closes it.
WINNER_LEARNED = replace(WINNER, noise_factor=1.5)


@dataclass(slots=True, eq=False)
class _Shelf:
    """One shelf of one node. ``tail_g``: (window, k) its newest samples."""

    shelf: int
    plates: Ints
    tail_g: Floats
    above: int = 0
    below: int = 0
    open_ns: int = 0  # 0 = no event
    before_g: Floats = field(default_factory=lambda: np.zeros(0))
    settled: int = 0  # samples since it closed, until the mean after is pure
    loud_g2: float = 0.0  # variance above which it is loud; 0 = its first window is not full yet


class Detector:
    """A rule over all shelves of a store."""

    def __init__(self, config: StoreConfig, rule: Rule) -> None:
        self._config, self._rule = config, rule
        self._scale = np.array([plate.grams_per_count for plate in config.plates])
        self._shelves: dict[str, list[tuple[Ints, _Shelf]]] = {}
        for node in config.shelf_nodes:
            plates = np.array([config.plate_index[p] for p in node.plates])
            on = np.array([config.shelf_index[config.plates[p].shelf] for p in plates.tolist()])
            self._shelves[str(node.id)] = [
                (np.flatnonzero(on == s), _Shelf(int(s), plates[on == s], np.zeros((0, 0))))
                for s in np.unique(on)
            ]

    def run(self, batches: Iterable[ShelfSamples]) -> list[Report]:
        """Every event of a run."""
        found: list[Report] = []
        for batch in batches:
            for columns, shelf in self._shelves[str(batch.device)]:
                grams = batch.readings[:, columns] * self._scale[shelf.plates]
                self._feed(shelf, grams, batch, found.append)
        return found

    def _feed(
        self, shelf: _Shelf, grams: Floats, batch: ShelfSamples, tell: Callable[[Report], None]
    ) -> None:
        window, fresh = self._rule.window, len(grams)
        if len(shelf.tail_g):
            grams = np.concatenate([shelf.tail_g, grams])
        keep = 2 * window + self._rule.opens_after + self._rule.closes_after
        shelf.tail_g = grams[-keep:]
        first = len(grams) - fresh
        if first < window:
            return
        total = grams.sum(axis=1)
        total = total - total[0]
        ones = np.cumsum(np.concatenate([[0.0], total]))
        squares = np.cumsum(np.concatenate([[0.0], total * total]))
        ends = np.arange(first, len(grams)) + 1
        mean = (ones[ends] - ones[ends - window]) / window
        variance = (squares[ends] - squares[ends - window]) / window - mean * mean
        if not shelf.loud_g2:
            rest_g2 = self._rule.noise_factor**2 * float(variance[0])
            shelf.loud_g2 = max(self._rule.variance_g2, rest_g2)
        for i, loud in enumerate((variance > shelf.loud_g2).tolist()):
            at_ns = batch.received_at_ns - (fresh - 1 - i) * batch.sample_period_us * 1000
            self._sample(shelf, loud, grams[: first + i + 1], at_ns, batch.received_at_ns, tell)

    def _sample(
        self,
        shelf: _Shelf,
        loud: bool,
        grams: Floats,
        at_ns: int,
        now_ns: int,
        tell: Callable[[Report], None],
    ) -> None:
        rule = self._rule
        shelf.above = shelf.above + 1 if loud else 0
        shelf.below = 0 if loud else shelf.below + 1
        if not shelf.open_ns:
            if shelf.above >= rule.opens_after:
                before = grams[: len(grams) - rule.opens_after][-rule.window :]
                shelf.open_ns, shelf.before_g = at_ns, before[: rule.window // 2].mean(axis=0)
            return
        if shelf.below < rule.closes_after:
            return
        moved_g = grams[-rule.window // 2 :].mean(axis=0) - shelf.before_g
        mass_g = float(moved_g.sum())
        if abs(mass_g) > rule.mass_min_g:
            plate = int(shelf.plates[np.abs(moved_g).argmax()])
            tell(
                Report(
                    shelf=shelf.shelf,
                    plate=plate,
                    from_ns=shelf.open_ns,
                    to_ns=at_ns,
                    mass_g=mass_g,
                    at_ns=now_ns,
                    moved=tuple(zip(shelf.plates.tolist(), moved_g.tolist(), strict=True)),
                )
            )
        shelf.open_ns = 0
