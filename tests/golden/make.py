"""``make golden``: the events that each golden recording gives now, written as what it should give.

The recordings stay as they are; ``--record NAME ...`` makes those anew, which is for new cases.
A change's description says why the numbers moved.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge.recording import Recording, RecordingWriter
from messages.observations import ConfigLoaded, GateSignal, Observation
from sim.in_process import NS, STEP_NS, ObservedWorld, Run, prepared
from sim.replay import events_text, live_events, replay
from sim.world import Options
from tests.golden.cases import CASES, Case, store

FOLDER = Path(__file__).parent
RECORDING, EVENTS, README = "recording.mcap", "events.jsonl", "README.md"
BOUND_S = 90.0  # nobody of these cases stays longer
HEAD = """# Golden replays

Each folder holds a small recording and the events that the engine should conclude from it. The test
replays them: what is discrete must match exactly, floats within the tolerance of their field
(`tests/golden/compare.py`). `make golden` writes the events anew; the change's description says why
they moved. `cases.py` tells how each was recorded.

| golden | what happens |
|---|---|
"""


def record(case: Case, folder: Path) -> None:
    """Simulate a case and keep what its engine was given."""
    done, seen = prepared(
        store(),
        Options(seed=case.seed),
        script=case.scenario,
        review_deadline_s=case.scenario.review_deadline_s,
    )
    seen.barriers.at(round(case.scenario.duration_s * NS), seen.world.close_doors)
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"scenario": case.name, "seed": str(case.seed)}
    with RecordingWriter(folder / RECORDING, toml=done.config.toml, meta=meta) as writer:
        for now_ns, observations in _steps(case, done, seen):
            writer.step(done.engine.state.step + 1, now_ns, observations)
            outputs = done.engine.step(now_ns, observations)
            writer.events(now_ns, outputs.events)
            seen.obey(outputs.commands, now_ns)


def _steps(case: Case, done: Run, seen: ObservedWorld) -> Iterator[tuple[int, list[Observation]]]:
    """What the daemon got; dead, it gets nothing, and passages come again once it lives."""
    down_ns = [round(at_s * NS) for at_s in case.down_s] if case.down_s else [-1, -1]
    late: list[GateSignal] = []
    for now_ns in range(STEP_NS, round(BOUND_S * NS), STEP_NS):
        observations = seen.observations(now_ns)
        if down_ns[0] <= now_ns < down_ns[1]:
            late += [one for one in observations if isinstance(one, GateSignal)]
            continue
        if now_ns == down_ns[1]:
            toml = done.config.toml
            started = ConfigLoaded(received_at_ns=now_ns, digest="", toml=toml)
            again = [replace(one, received_at_ns=now_ns) for one in late]
            observations, late = [started, *again, *observations], []
        yield now_ns, observations
        if now_ns > case.scenario.duration_s * NS and done.settled:
            return


def rewrite(folder: Path) -> bool:
    """Write the events that a recording gives now; True where they changed."""
    text = events_text(replay(folder / RECORDING).events)
    path = folder / EVENTS
    changed = not path.exists() or path.read_bytes() != text
    path.write_bytes(text)
    return changed


def readme() -> str:
    rows = [f"| `{case.name}` | {case.why} |\n" for case in CASES]
    return HEAD + "".join(rows)


def main(arguments: list[str]) -> int:
    wanted = arguments[1:] if arguments[:1] == ["--record"] else []
    for case in CASES:
        folder = FOLDER / case.name
        if case.name in wanted or not (folder / RECORDING).exists():
            record(case, folder)
            live = live_events(Recording.open(folder / RECORDING))
            assert events_text(live) == events_text(replay(folder / RECORDING).events), case.name
        size = (folder / RECORDING).stat().st_size
        word = "changed" if rewrite(folder) else "as before"
        sys.stdout.write(f"{case.name}: events {word}, recording {size / 1000:.0f} kB\n")
    (FOLDER / README).write_text(readme(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
