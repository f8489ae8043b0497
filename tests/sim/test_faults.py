"""Scripted faults: each kind changes its own device from its instant on, and nothing else."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware.protocol import camera_link, shelf_node
from hardware.protocol.framing import FrameReader
from messages.observations import PersonDetections, PlateFlag, ShelfSamples
from sim.demo_devices import detections
from sim.devices import ShelfNodeDevice
from sim.faults import ON_CAMERA, ON_SHELF, PHYSICAL, FaultError, FaultPlan, devices_for
from sim.first_store import GRAMS_PER_COUNT, first_store
from sim.in_process import person_detections, shelf_samples
from sim.outputs import CameraPacket, ShelfBatch
from sim.script import Fault, FaultKind
from sim.shelf_physics import CODE_MAX
from sim.world import Options, World

NS = 1_000_000_000
STORE = first_store()
CALM = Options(seed=5, first_arrival_s=999.0, bump_every_s=0.0)
FROM_S, UNTIL_S = 3.0, 6.0


def _fault(kind: FaultKind, device: str, amount: float = 0.0) -> Fault:
    span = UNTIL_S - FROM_S
    return Fault(
        kind=kind, device=device, at_s=(FROM_S, FROM_S), lasts_s=(span, span), amount=amount
    )


def _sent(*faults: Fault, seconds: float = 9.0, options: Options = CALM):
    world = World.of(STORE, options, faults=faults)
    return world, world.advance(int(seconds * NS))


def _batches(outputs, node: str = "shelf-1") -> list[ShelfBatch]:
    return [o for o in outputs if isinstance(o, ShelfBatch) and o.device == node]


def _packets(outputs, camera: str = "cam-1") -> list[CameraPacket]:
    return [o for o in outputs if isinstance(o, CameraPacket) and o.camera == camera]


def _during(rows: list) -> list:
    """The rows well within the fault."""
    return [r for r in rows if FROM_S + 0.3 < r.sent_at_ns / NS < UNTIL_S - 0.3]


def _after(rows: list) -> list:
    return [r for r in rows if r.sent_at_ns / NS > UNTIL_S + 0.5]


def _with_people(fault: Fault) -> list[CameraPacket]:
    """Packets of a camera before whom people stand all the time: the plan alone."""
    plan = FaultPlan.of([fault], STORE, np.random.SeedSequence(1))
    rng = np.random.default_rng(2)
    sent = []
    for i in range(135):
        at_ns = i * NS // 15
        feet = rng.uniform((0, 0), (640, 480), (8, 2)).astype(np.float32)
        boxes = np.tile(feet, 2) + np.array([-20, -90, 20, 0], np.float32)
        packet = CameraPacket(
            camera=STORE.cameras[0].id,
            sent_at_ns=at_ns + 40_000_000,
            captured_at_ns=at_ns,
            sequence=i,
            boxes_px=boxes,
            feet_px=feet,
            scores=np.full(8, 0.8, np.float32),
            wrists_px=np.full((8, 2, 2), np.nan, np.float32),
        )
        sent += plan.passed([packet])
    return sent


def test_every_kind_of_fault_is_carried_out() -> None:
    known = {*ON_CAMERA, *ON_SHELF, *PHYSICAL, FaultKind.STUCK_CELL}
    assert known == set(FaultKind)
    for kind in FaultKind:
        assert devices_for(kind, STORE)


def test_fault_of_an_unknown_device_names_those_that_exist() -> None:
    with pytest.raises(FaultError, match=r"no 'cam-9' here; there are cam-1"):
        World.of(STORE, CALM, faults=[_fault(FaultKind.LOST_CAMERA, "cam-9")])
    with pytest.raises(FaultError, match="shelf-1"):
        World.of(STORE, CALM, faults=[_fault(FaultKind.LOST_NODE, "cam-1")])


def test_no_fault_changes_nothing_and_a_fault_changes_only_its_own_device() -> None:
    faults = [
        _fault(FaultKind.LOST_CAMERA, "cam-2"),
        _fault(FaultKind.LOST_NODE, "shelf-3"),
        _fault(FaultKind.LATE_BATCHES, "shelf-4", 0.7),
    ]
    options = Options(seed=5)
    _, plain = _sent(options=options)
    _, failing = _sent(*faults, options=options)
    for device in ("shelf-1", "shelf-2", "shelf-12"):
        a, b = _batches(plain, device), _batches(failing, device)
        assert [x.sent_at_ns for x in a] == [x.sent_at_ns for x in b]
        assert all(np.array_equal(x.counts, y.counts) for x, y in zip(a, b, strict=True))
    for camera in ("cam-1", "cam-3"):
        a, b = _packets(plain, camera), _packets(failing, camera)
        assert all(np.array_equal(x.boxes_px, y.boxes_px) for x, y in zip(a, b, strict=True))


def test_dark_camera_goes_on_with_empty_packets_that_say_so() -> None:
    sent = _with_people(_fault(FaultKind.DARK_CAMERA, "cam-1"))
    assert len(sent) == 135
    assert all(len(p.scores) == 0 and p.image_state == "dark" for p in _during(sent))
    assert all(len(p.scores) == 8 and p.image_state == "ok" for p in _after(sent))


def test_frozen_camera_repeats_its_picture_and_is_found_out_late() -> None:
    frozen = _during(_with_people(_fault(FaultKind.FROZEN_CAMERA, "cam-1")))
    assert all(np.array_equal(p.boxes_px, frozen[0].boxes_px) for p in frozen)
    assert len({p.captured_at_ns for p in frozen}) == len(frozen)
    states = [p.image_state for p in frozen]
    assert 15 < states.count("ok") < states.count("ok") + states.count("frozen") == len(frozen)
    assert states == sorted(states, key=["ok", "frozen"].index)


def test_late_camera_keeps_capture_times_and_order() -> None:
    plain, late = (
        _with_people(_fault(FaultKind.LATE_CAMERA, "cam-1", amount)) for amount in (0.0, 1.5)
    )
    delay = [b.sent_at_ns - a.sent_at_ns for a, b in zip(plain, late, strict=True)]
    assert max(delay) == pytest.approx(1.5 * NS, abs=1)
    assert [p.captured_at_ns for p in plain] == [p.captured_at_ns for p in late]
    assert (np.diff([p.sent_at_ns for p in late]) >= 0).all()
    assert delay[-1] == 0


def test_blind_spot_hides_its_share_of_people_always_in_one_place() -> None:
    shares = []
    for seed in range(12):
        fault = _fault(FaultKind.BLIND_SPOT, "cam-1", 0.3)
        plan = FaultPlan.of([fault], STORE, np.random.SeedSequence(seed))
        x, y, radius = plan.by_device["cam-1"][0].spot_px
        assert radius > 0
        shares.append(radius)
    seen = np.concatenate([p.feet_px for p in _during(_with_people(fault))])
    plan = FaultPlan.of([fault], STORE, np.random.SeedSequence(1))
    x, y, radius = plan.by_device["cam-1"][0].spot_px
    assert np.hypot(seen[:, 0] - x, seen[:, 1] - y).min() > radius
    assert len(set(shares)) > 6  # another seed, another spot
    everybody = _during(_with_people(_fault(FaultKind.BLIND_SPOT, "cam-1", 1.0)))
    assert sum(len(p.scores) for p in everybody) == 0


def test_lost_camera_and_lost_node_are_silent_and_count_on() -> None:
    faults = [_fault(FaultKind.LOST_CAMERA, "cam-1"), _fault(FaultKind.LOST_NODE, "shelf-1")]
    world, outputs = _sent(*faults)
    for rows in (_packets(outputs), _batches(outputs)):
        assert not _during(rows)
        assert _after(rows)
        sequence = np.diff([r.sequence for r in rows]) % 2**16
        assert sequence.max() > 10
    assert world.faults.lost > 40


def test_batches_are_lost_and_repeated_in_their_shares() -> None:
    long = replace(_fault(FaultKind.LOST_BATCHES, "shelf-1", 0.3), lasts_s=(1e9, 1e9))
    _, plain = _sent(seconds=60.0)
    _, outputs = _sent(long, seconds=60.0)
    kept = len(_batches(outputs)) / len(_batches(plain))
    assert 0.6 < kept < 0.82
    again = replace(_fault(FaultKind.REPEATED_BATCHES, "shelf-1", 0.3), lasts_s=(1e9, 1e9))
    _, outputs = _sent(again, seconds=60.0)
    sequences = [b.sequence for b in _batches(outputs)]
    twice = len(sequences) - len(set(sequences))
    assert 0.2 < twice / len(set(sequences)) < 0.4


def test_late_batches_arrive_later_in_order_and_catch_up() -> None:
    _, plain = _sent()
    _, outputs = _sent(_fault(FaultKind.LATE_BATCHES, "shelf-1", 0.8))
    pairs = list(zip(_batches(plain), _batches(outputs), strict=True))
    delay_s = np.array([(b.sent_at_ns - a.sent_at_ns) / NS for a, b in pairs])
    assert delay_s.max() == pytest.approx(0.8, abs=0.01)
    assert delay_s[-1] == 0.0
    assert (np.diff([b.sent_at_ns for _, b in pairs]) >= 0).all()
    assert all(a.ticks_us == b.ticks_us for a, b in pairs)


def test_clock_of_a_node_steps_and_steps_back() -> None:
    _, plain = _sent()
    _, outputs = _sent(_fault(FaultKind.CLOCK_STEP, "shelf-1", -2.5))
    pairs = list(zip(_batches(plain), _batches(outputs), strict=True))
    step_s = [((b.ticks_us - a.ticks_us + 2**31) % 2**32 - 2**31) / 1e6 for a, b in pairs]
    assert set(step_s) == {0.0, -2.5}
    assert step_s[0] == step_s[-1] == 0.0


def test_stuck_cell_repeats_its_last_count_and_is_flagged_after_a_second() -> None:
    plate = STORE.shelf_nodes[0].plates[4]
    _, outputs = _sent(_fault(FaultKind.STUCK_CELL, plate))
    rows = _during(_batches(outputs))
    codes = np.concatenate([b.counts for b in rows])
    assert len(set(codes[:, 4])) == 1
    assert all(len(set(codes[:, i])) > 10 for i in range(12) if i != 4)
    flags = [int(b.flags[4]) for b in rows]
    assert flags[0] == 0
    assert flags[-1] == PlateFlag.STUCK
    assert all(not b.flags.any() for b in _after(_batches(outputs)))
    before = [b for b in _batches(outputs) if b.sent_at_ns < FROM_S * NS]
    assert codes[0, 4] == before[-1].counts[-1, 4]


def test_saturated_cell_is_at_its_end_and_flagged() -> None:
    plate = STORE.shelf_nodes[0].plates[2]
    _, outputs = _sent(_fault(FaultKind.SATURATED_CELL, plate))
    rows = _during(_batches(outputs))
    assert all((b.counts[:, 2] == CODE_MAX).all() for b in rows)
    assert all(b.flags[2] == PlateFlag.SATURATED and b.flags[3] == 0 for b in rows)


def test_noisy_shelf_is_louder_by_its_factor() -> None:
    _, outputs = _sent(_fault(FaultKind.NOISY_SHELF, "shelf-1", 6.0), seconds=12.0)
    rows = _batches(outputs)
    loud = np.concatenate([b.counts for b in _during(rows)]).std(axis=0)
    quiet = np.concatenate([b.counts for b in _after(rows)]).std(axis=0)
    assert np.median(loud / quiet) == pytest.approx(6.0, rel=0.25)


def test_drifting_plate_wanders_and_stays_where_it_got() -> None:
    plate = STORE.shelf_nodes[0].plates[7]
    fault = _fault(FaultKind.DRIFTING_PLATE, plate, 400.0)  # 20 g in its three seconds
    _, plain = _sent()
    _, outputs = _sent(fault)
    moved = [
        (b.counts[:, 7] - a.counts[:, 7]).mean() * GRAMS_PER_COUNT
        for a, b in zip(_batches(plain), _batches(outputs), strict=True)
    ]
    assert abs(moved[0]) < 0.1
    assert moved[-1] == pytest.approx(20.0, abs=0.5)
    assert (np.diff(moved) > -0.1).all()


def test_bump_shakes_all_shelves_of_its_gondola_and_no_other() -> None:
    _, plain = _sent()
    _, outputs = _sent(_fault(FaultKind.BUMP, "gondola-b"))
    shaken = []
    for node in STORE.shelf_nodes:
        pairs = zip(_batches(plain, node.id), _batches(outputs, node.id), strict=True)
        worst = max(np.abs(b.counts - a.counts).max() for a, b in pairs) * GRAMS_PER_COUNT
        if worst > 3.0:
            shaken.append(str(node.plates[0])[0])
    assert shaken == ["b", "b", "b"]


def test_instants_are_drawn_by_the_seed_within_their_spans() -> None:
    fault = Fault(kind=FaultKind.LOST_NODE, device="shelf-1", at_s=(2.0, 9.0), lasts_s=(1.0, 4.0))
    drawn = [
        FaultPlan.of([fault], STORE, np.random.SeedSequence(seed)).by_device["shelf-1"][0]
        for seed in (1, 1, 2)
    ]
    assert drawn[0].from_ns == drawn[1].from_ns != drawn[2].from_ns
    for failing in drawn:
        assert 2 * NS <= failing.from_ns <= 9 * NS
        assert 1 * NS <= failing.until_ns - failing.from_ns <= 4 * NS


def test_observations_carry_the_image_state_and_the_flags() -> None:
    plate = STORE.shelf_nodes[0].plates[2]
    faults = [_fault(FaultKind.SATURATED_CELL, plate), _fault(FaultKind.DARK_CAMERA, "cam-1")]
    _, outputs = _sent(*faults)
    seen = person_detections(_during(_packets(outputs))[0])
    samples = shelf_samples(_during(_batches(outputs))[0])
    assert isinstance(seen, PersonDetections)
    assert isinstance(samples, ShelfSamples)
    assert seen.image_state == "dark"
    assert samples.flags[2] == PlateFlag.SATURATED


def test_faults_hold_on_emulated_devices(tmp_path: Path) -> None:
    """A lost and a repeated batch keep their numbers on the wire, and a dark image says so."""
    faults = [
        _fault(FaultKind.REPEATED_BATCHES, "shelf-1", 0.5),
        _fault(FaultKind.LOST_BATCHES, "shelf-1", 0.3),
        _fault(FaultKind.DARK_CAMERA, "cam-1"),
    ]
    _, outputs = _sent(*faults)
    batches = _batches(outputs)

    async def on_wire() -> bytes:
        device = ShelfNodeDevice(tmp_path / "shelf-1", 12)
        device.start()
        read = bytearray()
        with (tmp_path / "shelf-1").open("rb", buffering=0) as port:
            os.set_blocking(port.fileno(), False)
            for batch in batches:
                device.send_samples(
                    batch.ticks_us,
                    batch.sample_period_us,
                    batch.flags,
                    batch.counts,
                    sequence=batch.sequence,
                )
                await asyncio.sleep(0.001)
                read += port.read() or b""
            await asyncio.sleep(0.05)
            read += port.read() or b""
        device.stop()
        return bytes(read)

    frames = FrameReader().feed(asyncio.run(on_wire()))
    assert [f.sequence for f in frames] == [b.sequence for b in batches]
    assert len({f.sequence for f in frames}) < len(frames)
    assert np.array_equal(shelf_node.decode_samples(frames[0]).counts, batches[0].counts)
    dark = detections(_during(_packets(outputs))[0], 9 * NS)
    message = camera_link.encode_detections(dark)[4:]
    assert camera_link.decode_detections(message).image_state == "dark"
