"""The engine under recorded steps: to cut in the middle, and to draw what happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from edge.config import parse
from edge.engine import Engine, Outputs, restore, snapshot
from edge.snapshots import Snapshot
from messages.observations import ConfigLoaded, Observation
from messages.store_config import StoreConfig

AHEAD_STEPS = 20  # two seconds of a daemon's steps: more share hardly more


class Step(Protocol):
    """One call of the engine: a ``RecordedStep``, or a step of the journal."""

    @property
    def step(self) -> int: ...
    @property
    def now_ns(self) -> int: ...
    @property
    def observations(self) -> list[Observation]: ...


S = TypeVar("S", bound=Step)


class Replaying:
    """An engine that follows a recording or a journal; no command is carried out.

    Args:
        kept: the state to begin with; None: an engine that knows nothing.
        config: takes the place of every configuration in the recording.

    Raises:
        ConfigError, CodecError: configuration or snapshot are not of this version.
    """

    def __init__(
        self, toml: str, kept: Snapshot | None = None, config: StoreConfig | None = None
    ) -> None:
        self.step, self.now_ns = (kept.step, kept.now_ns) if kept else (0, 0)
        self._given = config
        if kept is None:
            self.engine = Engine(config or parse(toml))
        else:
            self.engine = restore(config or parse(kept.toml), kept.state)

    def ahead(self, steps: Iterable[S]) -> Iterator[S]:
        """The same steps to ``play``, of which the engine is shown the next ``AHEAD_STEPS``."""
        coming = iter(steps)
        while some := list(islice(coming, AHEAD_STEPS)):
            self.engine.foresee(seen for step in some for seen in step.observations)
            yield from some

    def play(self, step: Step) -> Outputs:
        """One step, as ``edge.durable_engine`` replays it."""
        for seen in step.observations:
            if isinstance(seen, ConfigLoaded):
                self._reconfigure(seen.toml)
        self.engine.state.step = step.step - 1  # steps that were set aside leave holes
        outputs = self.engine.step(step.now_ns, step.observations)
        self.step, self.now_ns = step.step, step.now_ns
        return outputs

    def _reconfigure(self, toml: str) -> None:
        if self._given is None and toml != self.engine.config.toml:
            self.engine = restore(parse(toml), snapshot(self.engine))

    def snapshot(self) -> Snapshot:
        """The state after the last step."""
        return Snapshot(
            step=self.step,
            now_ns=self.now_ns,
            toml=self.engine.config.toml,
            state=snapshot(self.engine),
        )
