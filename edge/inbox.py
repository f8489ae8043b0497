"""The bounded inbox between drivers and the step loop: sheds detections first, and counts them.

Order of arrival is kept. When it is full, the oldest sheddable observation (catalogue) goes: new
pictures are worth more than old ones. Weights and gate signals are never dropped. A wire cannot
outrun the step loop for long: its baud rate bounds it, and a step loop that stands still is ended
by the watchdog within seconds. If kept observations pile up all the same, ``overfull`` turns true:
the daemon stops feeding the watchdog at ``limit`` times ``KEPT_FACTOR`` and is started anew, which
makes the loss visible (readings after a gap) where dropping would hide it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from messages.catalogue import ENTRY_OF
from messages.observations import (
    DeviceHealth,
    GateSignal,
    ItemSightings,
    Observation,
    PersonDetections,
)

KEPT_FACTOR = 8  # memory: 8 x 4096 batches of a shelf node are about 30 MB
STEP_OBSERVATIONS_MAX = 2048  # one step's block stays below a few MB after a stall


@dataclass(slots=True)
class _Slot:
    observation: Observation | None  # None: shed while it waited


class Inbox:
    """A ``Sink`` for drivers; the step loop drains it.

    Args:
        limit: observations that may wait before detections are shed.
        now_ns, wall_to_store_ns: the store clock's.
    """

    def __init__(
        self,
        limit: int,
        *,
        now_ns: Callable[[], int],
        wall_to_store_ns: Callable[[int], int],
    ) -> None:
        self.limit = limit
        self.now_ns, self.wall_to_store_ns = now_ns, wall_to_store_ns
        self.urgent = asyncio.Event()  # a gate signal waits: step at once
        self.health: dict[str, DeviceHealth] = {}  # the drivers' last word, for status.json
        self.shed: Counter[str] = Counter()
        self.received = 0
        self.depth_max = 0
        self._slots: deque[_Slot] = deque()
        self._sheddable: deque[_Slot] = deque()
        self._depth = 0
        self._to_tell: dict[int, Callable[[], None]] = {}  # id of a waiting observation

    def put(self, observation: Observation, journalled: Callable[[], None] | None = None) -> None:
        """Take an observation; never blocks. Sheds the oldest detection when full."""
        if journalled is not None:
            self._to_tell[id(observation)] = journalled
        entry = ENTRY_OF[type(observation)]
        slot = _Slot(observation)
        self._slots.append(slot)
        self._depth += 1
        self.received += 1
        if entry.sheddable:
            self._sheddable.append(slot)
        while self._depth > self.limit and self._sheddable:
            self._drop_oldest()
        self.depth_max = max(self.depth_max, self._depth)
        if isinstance(observation, GateSignal):
            self.urgent.set()
        elif isinstance(observation, DeviceHealth):
            self.health[observation.device] = observation

    def drain(self, most: int = STEP_OBSERVATIONS_MAX) -> list[Observation]:
        """The observations that wait, in order of arrival, at most ``most``."""
        taken: list[Observation] = []
        while self._slots and len(taken) < most:
            observation = self._slots.popleft().observation
            if observation is not None:
                taken.append(observation)
        self._depth -= len(taken)
        self._forget_drained(taken)
        if not self._depth:
            self.urgent.clear()
        return taken

    def journalled(self, observations: Sequence[Observation]) -> None:
        """Tell those who asked that these, drained before, are durable now."""
        if self._to_tell:
            for observation in observations:
                self._to_tell.pop(id(observation), lambda: None)()

    def __len__(self) -> int:
        return self._depth

    @property
    def overfull(self) -> bool:
        """So much of what may not be dropped waits that the daemon must start anew."""
        return self._depth > self.limit * KEPT_FACTOR

    def counts(self) -> dict[str, object]:
        """For ``status.json``."""
        return {
            "depth": self._depth,
            "depth_max": self.depth_max,
            "received": self.received,
            "shed": self.shed.total(),
            "shed_by_source": dict(self.shed),
        }

    def _drop_oldest(self) -> None:
        slot = self._sheddable.popleft()
        assert slot.observation is not None
        self._to_tell.pop(id(slot.observation), None)  # it will never be durable; ids come again
        self.shed[_source(slot.observation)] += 1
        slot.observation = None
        self._depth -= 1

    def _forget_drained(self, taken: list[Observation]) -> None:
        """Sheddable slots leave both queues in the same order, so they are at the front."""
        count = sum(ENTRY_OF[type(observation)].sheddable for observation in taken)
        for _ in range(count):
            self._sheddable.popleft()


def _source(observation: Observation) -> str:
    if isinstance(observation, PersonDetections | ItemSightings):
        return observation.camera
    return type(observation).__name__
