"""The engine with the journal in front of it and behind it: what ``step`` returns has survived.

Start: newest snapshot that can be read, then the journal's tail through the same engine. What the
replay concludes is compared, byte for byte, with what is recorded. A step whose outputs are not
recorded is the last one, cut off by the crash: its outputs are committed now, with the same ids.
A difference means that engine and record no longer agree (changed code, changed arithmetic): the
record stays as it is, since others acted on it, and open carts go to review with a critical alarm.

A step under which the engine raises is counted, the engine rebuilt and the step tried once more;
then it is set aside: its row stays for people to look at, replays pass over it, and the next step
carries ``StepSetAside``. A step under which the *process* dies at each start is set aside as well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edge.config import ConfigError, parse
from edge.journal import CredentialReusedError, Failure, Journal, JournalError, JournalStep
from edge.logs import scrubbed
from edge.snapshots import Snapshot, SnapshotError
from messages import codec
from messages.commands import Command
from messages.events import Event
from messages.observations import ConfigLoaded, Observation, StepSetAside
from messages.store_config import StoreConfig

ERRORS_MAX = 2  # a step that raised this often is set aside
DEATHS_MAX = 3  # a start that died this often on the same step sets it aside
ERROR_CHARS_MAX = 500

log = logging.getLogger(__name__)


class CoreState(Protocol):
    """What every engine's state has."""

    step: int


class CoreOutputs(Protocol):
    """What every engine's step returns."""

    @property
    def events(self) -> tuple[Event, ...]: ...
    @property
    def commands(self) -> tuple[Command, ...]: ...


class Core(Protocol):
    """An engine: ``edge.engine.Engine``, or a small one in tests."""

    @property
    def state(self) -> CoreState: ...
    def step(self, now_ns: int, observations: Sequence[Observation]) -> CoreOutputs: ...
    def view(self) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """How engines are made, kept and brought back."""

    fresh: Callable[[StoreConfig], Core]
    restore: Callable[[StoreConfig, bytes], Core]
    snapshot: Callable[[Any], bytes]
    preload: Callable[[], None] = lambda: None  # imports that a start need not wait for


def store_engine() -> EngineKind:
    """The real engine; imported here since it takes half of a start."""
    from edge import engine
    from edge.vision.assignment import preload

    return EngineKind(
        fresh=engine.Engine, restore=engine.restore, snapshot=engine.snapshot, preload=preload
    )


@dataclass(slots=True)
class RecoveryReport:
    """What a start found, for the log and ``status.json``."""

    snapshot_step: int = 0
    steps_replayed: int = 0
    took_ms: float = 0.0
    differences: list[int] = field(default_factory=list)
    set_aside: list[int] = field(default_factory=list)


class _StepFailedError(Exception):
    """The engine raised under a step."""

    def __init__(self, step: int, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.step = step


class DurableEngine:
    """One store's engine; ``recover`` first, then ``step``.

    Args:
        config: the configuration in force from now on.
        wall_ns: wall clock, for outbox rows.
        folder: of store.toml, for older configurations in the journal.
        progress: called while a replay runs, so that the watchdog knows.
    """

    core: Core

    def __init__(
        self,
        journal: Journal,
        config: StoreConfig,
        kind: EngineKind,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        folder: Path | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.journal, self.config = journal, config
        self.report = RecoveryReport()
        self.now_ns = 0  # store time of the last step
        self.unsaved_s = 0.0  # the engine's time since the last snapshot: what a replay takes
        self.refused = 0  # observations that have no wire form, dropped
        self._kind, self._wall_ns, self._folder, self._progress = kind, wall_ns, folder, progress
        self._in_force = config  # of the engine as it stands; differs while old steps replay
        self._notices: list[Observation] = []
        self._recovered_commands: list[Command] = []

    async def recover(self) -> None:
        """Bring the engine to the journal's last step and commit what a crash cut off.

        Raises:
            JournalError: the state cannot be rebuilt from what is kept.
        """
        started = time.perf_counter()
        while True:
            try:
                await self._rebuild()
                break
            except _StepFailedError as failed:
                await self._judge(failed)
        self.report.took_ms = (time.perf_counter() - started) * 1000.0

    async def step(
        self, now_ns: int, observations: Sequence[Observation]
    ) -> tuple[Sequence[Event], Sequence[Command]]:
        """Journal, conclude, commit. Returns what is durable and commands that may now run.

        Raises:
            JournalError: nothing is acknowledged any more; end the process.
        """
        number = self.core.state.step + 1
        given, self._notices = [*self._notices, *observations], []
        seen = await self._append(number, now_ns, given)
        self.now_ns = now_ns
        try:
            outputs = self._run(JournalStep(step=number, now_ns=now_ns, observations=seen))
            await self._commit(number, outputs)
        except _StepFailedError as failed:
            await self._judge(failed)
            self._recovered_commands = []
            await self.recover()
            return (), self._recovered_commands
        return outputs.events, outputs.commands

    def preload(self) -> None:
        """Import what steps may need later; call it in a thread once the store is running."""
        self._kind.preload()

    def snapshot(self) -> Snapshot:
        """The state after the last committed step; write it with ``journal.save_snapshot``."""
        self.unsaved_s = 0.0
        return Snapshot(
            step=self.core.state.step,
            now_ns=self.now_ns,
            toml=self._in_force.toml,
            state=self._kind.snapshot(self.core),
        )

    async def _append(
        self, number: int, now_ns: int, given: list[Observation]
    ) -> list[Observation]:
        try:
            return await self.journal.append_step(number, now_ns, given)
        except codec.CodecError:  # a driver's fault must not stop the store: without that one
            good = [seen for seen in given if _has_wire_form(seen)]
            self.refused += len(given) - len(good)
            return await self.journal.append_step(number, now_ns, good)

    # --- one step ------------------------------------------------------------------------------

    def _run(self, step: JournalStep) -> CoreOutputs:
        started = time.perf_counter()
        try:
            for seen in step.observations:
                if isinstance(seen, ConfigLoaded):
                    self._reconfigure(seen.toml)
            outputs = self.core.step(step.now_ns, step.observations)
        except Exception as error:
            raise _StepFailedError(step.step, error) from error
        self.unsaved_s += time.perf_counter() - started
        if self.core.state.step != step.step:
            raise JournalError(f"engine is at step {self.core.state.step}, journal at {step.step}")
        return outputs

    async def _commit(self, step: int, outputs: CoreOutputs) -> None:
        try:
            await self.journal.commit_outputs(
                step, outputs.events, outputs.commands, wall_ns=self._wall_ns()
            )
        except (CredentialReusedError, codec.CodecError) as error:
            raise _StepFailedError(step, error) from error

    def _reconfigure(self, toml: str) -> None:
        """Carry the state over to another configuration, at a start and in its replay."""
        if toml != self._in_force.toml:
            config = self._config_of(toml)
            self.core = self._kind.restore(config, self._kind.snapshot(self.core))
            self._in_force = config

    def _config_of(self, toml: str) -> StoreConfig:
        if toml == self.config.toml:
            return self.config
        return parse(toml, file="store.toml in the journal", folder=self._folder)

    # --- rebuilding ----------------------------------------------------------------------------

    async def _rebuild(self) -> None:
        last, self.now_ns = await self.journal.last_step()
        await self._start_from_snapshot(last)
        first = self.report.snapshot_step = self.core.state.step
        self.report.steps_replayed = 0
        self.report.differences, self.report.set_aside = [], []
        events = await self.journal.events_after(first)
        with_commands = await self.journal.steps_with_commands_after(first)
        failures = await self.journal.failures_after(first)
        told: set[int] = set()
        async for step in self.journal.steps_after(first):
            if step.step in failures and failures[step.step].set_aside:
                self.core.state.step = step.step
                continue
            told |= {s.step for s in step.observations if isinstance(s, StepSetAside)}
            committed = step.step in events or step.step in with_commands
            if step.step == last and not committed:
                await self._replay_last(step)
            else:
                self._compare(step.step, self._run(step), events.get(step.step, []))
            self.report.steps_replayed += 1
            self._progress()
            await asyncio.sleep(0)  # drivers and the watchdog live on
        self._notice_set_aside(failures, told)

    async def _start_from_snapshot(self, last: int) -> None:
        for snapshot in await self.journal.latest_snapshots():
            if isinstance(snapshot, SnapshotError):
                log.error("snapshot_unreadable reason=%r", str(snapshot))
                continue
            if snapshot.step > last:
                log.error("snapshot_ahead_of_journal step=%d last=%d", snapshot.step, last)
                continue
            try:
                config = self._config_of(snapshot.toml)
                self.core = self._kind.restore(config, snapshot.state)
            except (codec.CodecError, ConfigError) as error:
                log.error("snapshot_unusable step=%d reason=%r", snapshot.step, str(error))
                continue
            self._in_force = config
            return
        await self._start_from_nothing(last)

    async def _start_from_nothing(self, last: int) -> None:
        """A new journal, or one young enough to hold every step."""
        async for step in self.journal.steps_after(0):
            loaded = [s for s in step.observations if isinstance(s, ConfigLoaded)]
            self._in_force = self._config_of(loaded[0].toml) if loaded else self.config
            self.core = self._kind.fresh(self._in_force)
            return
        if last:
            what = "no snapshot can be read and the steps before are no longer kept"
            raise JournalError(f"{self.journal.path}: {what}; move it aside to begin anew")
        self._in_force = self.config
        self.core = self._kind.fresh(self.config)

    async def _replay_last(self, step: JournalStep) -> None:
        """The step that a crash may have cut off: run it, unless starts keep dying under it."""
        if await self.journal.mark_death(step.step) > DEATHS_MAX:
            await self.journal.set_aside(step.step, "the process died under it at each start")
            raise _StepFailedError(step.step, RuntimeError("the process died under it"))
        outputs = self._run(step)
        await self._commit(step.step, outputs)
        await self.journal.forgive_deaths(step.step)
        self._recovered_commands = list(outputs.commands)

    def _compare(self, step: int, outputs: CoreOutputs, recorded: list[bytes]) -> None:
        if [codec.encode(event) for event in outputs.events] == recorded:
            return
        log.critical("replay_differs step=%d events=%d", step, len(outputs.events))
        if not self.report.differences:
            error = f"replay gave {len(outputs.events)} events, recorded are {len(recorded)} others"
            self._notice(step, error)
        self.report.differences.append(step)

    async def _judge(self, failed: _StepFailedError) -> None:
        """Count a failure; the second one sets the step aside."""
        error = scrubbed(str(failed))[:ERROR_CHARS_MAX]
        count = await self.journal.mark_failure(failed.step, error)
        log.error(
            "step_failed step=%d count=%d error=%r", failed.step, count, error, exc_info=failed
        )
        if count >= ERRORS_MAX:
            await self.journal.set_aside(failed.step, error)

    def _notice_set_aside(self, failures: dict[int, Failure], told: set[int]) -> None:
        """Steps set aside that no later step has told the engine of."""
        for step, failure in sorted(failures.items()):
            if failure.set_aside:
                self.report.set_aside.append(step)
                if step not in told:
                    self._notice(step, failure.error)

    def _notice(self, step: int, error: str) -> None:
        notice = StepSetAside(received_at_ns=self.now_ns, step=step, error=error)
        if notice not in self._notices:
            self._notices.append(notice)


def _has_wire_form(observation: Observation) -> bool:
    try:
        codec.encode(observation)
    except codec.CodecError as error:
        log.error("observation_refused type=%s error=%r", type(observation).__name__, str(error))
        return False
    return True
