"""The engine under recorded steps: to cut in the middle, and to draw what happened."""

from __future__ import annotations

from edge.config import parse
from edge.engine import Engine, Outputs, restore, snapshot
from edge.recording import RecordedStep
from edge.snapshots import Snapshot
from messages.observations import ConfigLoaded


class Replaying:
    """An engine that follows a recording or a journal; no command is carried out.

    Raises:
        ConfigError, CodecError: configuration or snapshot are not of this version.
    """

    def __init__(self, toml: str, kept: Snapshot | None = None) -> None:
        self.step, self.now_ns = (kept.step, kept.now_ns) if kept else (0, 0)
        if kept is None:
            self.engine = Engine(parse(toml))
        else:
            self.engine = restore(parse(kept.toml), kept.state)

    def play(self, step: RecordedStep) -> Outputs:
        """One step, as ``edge.durable_engine`` replays it."""
        for seen in step.observations:
            if isinstance(seen, ConfigLoaded) and seen.toml != self.engine.config.toml:
                self.engine = restore(parse(seen.toml), snapshot(self.engine))
        self.engine.state.step = step.step - 1  # steps that were set aside leave holes
        outputs = self.engine.step(step.now_ns, step.observations)
        self.step, self.now_ns = step.step, step.now_ns
        return outputs

    def snapshot(self) -> Snapshot:
        """The state after the last step."""
        return Snapshot(
            step=self.step,
            now_ns=self.now_ns,
            toml=self.engine.config.toml,
            state=snapshot(self.engine),
        )
