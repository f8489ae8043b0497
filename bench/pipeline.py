"""The whole pipeline on one core: bytes -> observations -> journal -> engine -> commit.

350 plates at 60 Hz, 4 cameras at 15 Hz, 10 shoppers. The world is simulated beforehand and kept as
bytes on the wire; a child process on one core (BLAS threads off) then reads those bytes as the
daemon does: frames decoded, each step journalled to a real file with ``synchronous=FULL``, the
engine called, its outputs committed. Nothing waits for time to pass, so seconds of store time over
seconds of wall time is the real-time factor. Peers in the same run: no journal, and weight steps by
a plain loop over plates with a moving standard deviation (the published way).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bench.measured import Stopwatch, in_child, machine, on_one_core, print_table, watch_engine
from edge.config import parse
from edge.engine import Engine
from edge.journal import Journal
from hardware.protocol import camera_link, shelf_node
from hardware.protocol.framing import FrameReader, encode_frame
from messages import codec
from messages.ids import DeviceId
from messages.observations import Observation, PersonDetections, ShelfSamples
from sim.first_store import scaled
from sim.in_process import NS, STEP_NS, observed
from sim.store_toml import store_toml
from sim.world import Options

PLATES, SHOPPERS = 350, 10
WARM_S, TIMED_S = 40, 60  # shoppers come in while it warms up
PEER_S = 5  # of samples through the plain loop
WINDOW = 60  # samples of the moving standard deviation (competition winner's report)

# One step's input: (kind, device, received_at_ns, bytes)
Wire = tuple[str, str, int, bytes]


@dataclass(slots=True)
class Recording:
    """What the devices sent, step by step, and the store it belongs to."""

    toml: str
    steps: list[tuple[int, list[Wire]]] = field(default_factory=list)
    people_mean: float = 0.0


def main(json_output: bool) -> int:
    """Run and print: one JSON object, or a table."""
    found = run()
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run() -> dict[str, Any]:
    """All figures; about a minute and a half on a laptop."""
    with tempfile.TemporaryDirectory(prefix="walkout-bench-") as folder:
        recording = record()
        _write(recording, Path(folder) / "recording")
        with_journal = in_child("bench.pipeline", folder, "journal")
        without = in_child("bench.pipeline", folder, "none")
        loop = in_child("bench.pipeline", folder, "loop")
    return {
        "bench": "pipeline",
        "figures": {
            **with_journal["figures"],
            "weights_realtime_factor": loop.pop("ours"),
            "plates": PLATES,
            "people_inside_mean": round(recording.people_mean, 1),
        },
        "peers": {
            "without_journal": without["figures"],
            "loop_over_plates": loop["figures"],
        },
        "where_time_goes": with_journal["where_time_goes"],
        "machine": machine(),
    }


def record() -> Recording:
    """Simulate the store and keep what its devices put on their wires."""
    busy = Options(seed=7, arrival_every_s=1.5, people_max=SHOPPERS)
    config = scaled(PLATES)
    config, seen = observed(config, busy)
    engine = Engine(config)
    recording = Recording(toml=store_toml(config))
    inside = []
    for step in range(1, int((WARM_S + TIMED_S) * NS / STEP_NS) + 1):
        now_ns = step * STEP_NS
        observations = seen.observations(now_ns)
        recording.steps.append((now_ns, [_on_the_wire(x, config) for x in observations]))
        seen.obey(engine.step(now_ns, observations).commands, now_ns)
        inside.append(seen.world.people_inside)
    recording.people_mean = float(np.mean(inside[int(WARM_S * NS / STEP_NS) :]))
    return recording


def _on_the_wire(seen: Observation, config: Any) -> Wire:
    match seen:
        case ShelfSamples():
            packet = shelf_node.Samples(
                ticks_us=seen.ticks_us,
                sample_period_us=seen.sample_period_us,
                flags=seen.flags,
                counts=seen.readings.astype(np.int32),
            )
            node = next(n.node for n in config.shelf_nodes if n.id == seen.device)
            frame = shelf_node.encode(packet, node=node, sequence=seen.sequence)
            return ("shelf", str(seen.device), seen.received_at_ns, encode_frame(frame))
        case PersonDetections():
            data = camera_link.encode_detections(seen)
            return ("camera", str(seen.camera), seen.received_at_ns, data)
        case _:
            return ("other", "", seen.received_at_ns, codec.encode(seen))


# --- the child ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Decoder:
    """One frame reader a device, as drivers have."""

    shelves: dict[str, FrameReader] = field(default_factory=dict)
    cameras: dict[str, camera_link.MessageReader] = field(default_factory=dict)

    def observations(self, wires: list[Wire]) -> list[Observation]:
        return [seen for wire in wires for seen in self._decoded(*wire)]

    def _decoded(self, kind: str, device: str, at_ns: int, data: bytes) -> list[Observation]:
        if kind == "shelf":
            reader = self.shelves.setdefault(device, FrameReader())
            return [self._samples(device, at_ns, frame) for frame in reader.feed(data)]
        if kind == "camera":
            stream = self.cameras.setdefault(device, camera_link.MessageReader())
            found = [camera_link.decode_detections(m) for m in stream.feed(data)]
            return [replace(packet, received_at_ns=at_ns) for packet in found]
        return [codec.decode(data)]

    def _samples(self, device: str, at_ns: int, frame: Any) -> Observation:
        packet = shelf_node.decode_samples(frame)
        return ShelfSamples(
            device=DeviceId(device),
            received_at_ns=at_ns,
            sequence=frame.sequence,
            ticks_us=packet.ticks_us,
            sample_period_us=packet.sample_period_us,
            flags=packet.flags,
            readings=packet.counts,
        )


def _child(folder: Path, what: str) -> dict[str, Any]:
    on_one_core()
    steps = _read(folder / "recording")
    toml = next(steps)
    if what == "loop":
        return _loop_over_plates(toml, list(islice(steps, int(PEER_S * NS / STEP_NS))))
    return asyncio.run(_pipeline(toml, steps, folder / what, journalled=what == "journal"))


async def _pipeline(
    toml: str, steps: Iterable[tuple[int, list[Wire]]], path: Path, *, journalled: bool
) -> dict[str, Any]:
    config = parse(toml)
    engine, decoder, watch = Engine(config), Decoder(), Stopwatch()
    journal = await Journal.open(path, store=config.store) if journalled else None
    watch_engine(engine, watch)
    timed_from = int(WARM_S * NS / STEP_NS)
    steps_ms: list[float] = []
    cpu_s = started = 0.0
    events = 0
    try:
        for number, (now_ns, wires) in enumerate(steps):
            if number == timed_from:
                events = 0
                watch.spent_s.clear()
                steps_ms.clear()
                cpu_s, started = time.process_time(), time.perf_counter()
            began = time.perf_counter()
            events += await _step(engine, journal, decoder, watch, now_ns, wires)
            steps_ms.append((time.perf_counter() - began) * 1000)
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    finally:
        if journal is not None:
            await journal.close()
    figures = {
        "realtime_factor": round(TIMED_S / wall_s, 2),
        "core_fraction": round(cpu_s / TIMED_S, 4),
        "step_ms_p50": round(float(np.percentile(steps_ms, 50)), 3),
        "step_ms_p99": round(float(np.percentile(steps_ms, 99)), 3),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "events": events,
    }
    shares = {stage: round(s / wall_s, 4) for stage, s in sorted(watch.spent_s.items())}
    shares["other"] = round(1 - sum(shares.values()), 4)
    return {"figures": figures, "where_time_goes": shares}


async def _step(
    engine: Engine,
    journal: Journal | None,
    decoder: Decoder,
    watch: Stopwatch,
    now_ns: int,
    wires: list[Wire],
) -> int:
    """One step as ``edge.durable_engine`` does it."""
    observations = watch.timed("protocol", decoder.observations)(wires)
    number = engine.state.step + 1
    if journal is not None:
        started = time.perf_counter()
        observations = await journal.append_step(number, now_ns, observations)
        watch.add("codec and journal", time.perf_counter() - started)
    outputs = engine.step(now_ns, observations)
    if journal is not None:
        started = time.perf_counter()
        await journal.commit_outputs(number, outputs.events, outputs.commands, wall_ns=now_ns)
        watch.add("codec and journal", time.perf_counter() - started)
    return len(outputs.events)


def _loop_over_plates(toml: str, steps: list[tuple[int, list[Wire]]]) -> dict[str, Any]:
    """Weight steps the plain way: every sample of every plate, one after another.

    Moving standard deviation and mean over a second, an event where the deviation exceeds 20 g; the
    rule of the competition winner, without its attribution.
    """
    config, decoder = parse(toml), Decoder()
    seen = [(now_ns, _batches(decoder, wires)) for now_ns, wires in steps]
    batches = [batch for _, step in seen for batch in step]
    windows: dict[str, list[list[float]]] = {}
    events = 0
    started = time.perf_counter()
    for batch in batches:
        mine = windows.setdefault(batch.device, [[] for _ in range(batch.readings.shape[1])])
        for sample in batch.readings.tolist():
            for plate, count in enumerate(sample):
                window = mine[plate]
                window.append(count * 0.05)
                del window[:-WINDOW]
                events += bool(np.std(window) > 20.0)
    wall_s = time.perf_counter() - started
    engine = Engine(config)
    started = time.perf_counter()
    for now_ns, step in seen:
        engine.sensing.step(now_ns, step)
    ours_s = time.perf_counter() - started
    figures = {"weights_realtime_factor": round(PEER_S / wall_s, 2)}
    return {"figures": figures, "ours": round(PEER_S / ours_s, 2)}


def _batches(decoder: Decoder, wires: list[Wire]) -> list[ShelfSamples]:
    return [x for x in decoder.observations(wires) if isinstance(x, ShelfSamples)]


def _write(recording: Recording, path: Path) -> None:
    """One pickle after another, so that the measured process never holds the whole recording."""
    with path.open("wb") as file:
        pickle.dump(recording.toml, file)
        for step in recording.steps:
            pickle.dump(step, file)


def _read(path: Path) -> Iterator[Any]:
    with path.open("rb") as file, contextlib.suppress(EOFError):
        while True:
            yield pickle.load(file)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--child":
        sys.stdout.write(json.dumps(_child(Path(sys.argv[2]), sys.argv[3])) + "\n")
        sys.exit(0)
    sys.exit(main("--json" in sys.argv))
