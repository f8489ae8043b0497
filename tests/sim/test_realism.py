"""The simulator is no kinder than reality: each default is held against a measured figure.

Figures come from the facts that the project measured or read: detectors and re-identification on
real store images, a tracker comparison (60 people, 18 cameras, 40 x 25 m), and a recording of an
instrumented store. A test here fails when somebody makes the world easier than its source.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.vision.camera_model import camera_model, floor_points
from messages.store_config import Fixture, StoreArea, StoreConfig
from sim import gestures
from sim.bodies import Bodies
from sim.cameras import Cameras, Faults
from sim.first_store import first_store, looking_at, scaled
from sim.gestures import Handling
from sim.outlines import in_view
from sim.outputs import CameraPacket
from sim.shelf_physics import Quirks, ShelfPhysics
from sim.stock import Stock, shares, shelves_of

NS = 1_000_000_000
STORE = first_store()
OPEN = replace(STORE, fixtures=())
SHELVES = scaled()


def _bodies(position: np.ndarray, images: int = 1, name: str = "p") -> Bodies:
    n = len(position)
    rng = np.random.default_rng(n)
    wrists = np.zeros((n, 2, 3))
    wrists[:, :, :2], wrists[:, :, 2] = position[:, None], 1.0
    return Bodies(
        key=tuple(f"{name}{i}" for i in range(n)),
        position_store_m=np.repeat(position[None], images, axis=0),
        height_m=np.clip(rng.normal(1.71, 0.09, n), 1.5, 1.95),
        radius_m=rng.uniform(0.2, 0.26, n),
        wrists_store_m=np.repeat(wrists[None], images, axis=0),
    )


def _images(cameras: Cameras, camera: int, bodies: Bodies, count: int) -> list[CameraPacket]:
    """Images of one camera before whom nobody moves."""
    packets: list[CameraPacket] = []
    for start in range(0, count, 100):
        due = [(i * NS // 15, camera) for i in range(start, min(start + 100, count))]
        many = replace(
            bodies,
            position_store_m=np.repeat(bodies.position_store_m, len(due), axis=0),
            wrists_store_m=np.repeat(bodies.wrists_store_m, len(due), axis=0),
        )
        packets += cameras.packets(due, many)
    return packets


# --- detectors ----------------------------------------------------------------------------------


def test_a_tenth_of_people_in_plain_view_get_no_box_in_short_runs() -> None:
    """10 % misses (tracker comparison)."""
    cameras = Cameras.of(OPEN, Faults(false_boxes=0.0), np.random.default_rng(1))
    seen = np.array(
        [len(p.scores) for p in _images(cameras, 0, _bodies(np.array([[3.5, 3.0]])), 6000)]
    )
    missed = 1 - seen.mean()
    assert 0.085 < missed < 0.14
    assert (seen[1:] == 0)[seen[:-1] == 0].mean() > 0.35  # the next image misses, too


def test_two_false_boxes_come_with_a_hundred_true_ones() -> None:
    """2 % false boxes (tracker comparison); a real detector's are scored low, not always."""
    cameras = Cameras.of(OPEN, Faults(misses=0.0), np.random.default_rng(2))
    bodies = _bodies(np.array([[2.6, 3.0], [3.4, 2.4], [3.6, 3.6], [4.6, 3.2]]))
    packets = _images(cameras, 0, bodies, 4000)
    extra = np.array([len(p.scores) for p in packets]) - 4
    share = np.maximum(extra, 0).sum() / (4 * len(packets))
    assert 0.017 < share < 0.03
    scores = np.concatenate([np.sort(p.scores)[: max(0, len(p.scores) - 4)] for p in packets])
    assert scores.max() > 0.4


def test_box_edges_jitter_as_those_of_real_detectors_do() -> None:
    """2 to 4 % of the box's size from image to image, and slower errors beside."""
    cameras = Cameras.of(OPEN, Faults(false_boxes=0.0), np.random.default_rng(3))
    packets = _images(cameras, 0, _bodies(np.array([[3.5, 3.0]])), 3000)
    boxes = np.array([p.boxes_px[0] for p in packets if len(p.scores)])
    height = (boxes[:, 3] - boxes[:, 1]).mean()
    assert 0.02 < (boxes.std(axis=0) / height).mean() < 0.05
    quick = np.diff(boxes, axis=0).std(axis=0) / np.sqrt(2) / height
    assert 0.015 < quick.mean() < 0.045


def test_wrists_are_found_no_better_than_by_a_pose_net() -> None:
    """20 of 26 hands within 5 % of the image's width, median error 9 px."""
    faults = Faults(false_boxes=0.0, misses=0.0)
    cameras = Cameras.of(OPEN, faults, np.random.default_rng(4))
    bodies = _bodies(np.array([[3.5, 3.0]]))
    bodies.wrists_store_m[0, 0, :, :2] += [[0.0, -0.35], [0.35, 0.0]]
    wrists = np.array([p.wrists_px[0] for p in _images(cameras, 0, bodies, 2000)])
    true = np.nanmedian(wrists, axis=0)
    error = np.linalg.norm(wrists - true, axis=2)
    assert 0.55 < (error < 32.0).mean() <= 20 / 26
    assert 8.0 < np.nanmedian(error) < 11.0


def _large_store() -> StoreConfig:
    """40 x 25 m with 18 cameras and some gondolas, as in the tracker comparison."""
    cameras = []
    for i in range(18):
        x, y, angle = 40 * (i % 6 + 0.5) / 6, 25 * (i // 6 + 0.5) / 3, 2.4 * i
        at = np.array([x, y, 3.0])
        pose = looking_at(at, np.array([x + 4 * np.cos(angle), y + 4 * np.sin(angle), 0.0]))
        matrix = tuple(tuple(row) for row in pose.tolist())
        cameras.append(replace(STORE.cameras[0], id=f"cam-{i}", store_from_camera=matrix))
    fixtures = tuple(
        Fixture(id=f"f{i}", x_m=8.0 + 8 * (i % 4), y_m=8.0 + 9 * (i // 4), width_m=1.0,
                depth_m=3.0, height_m=1.6)
        for i in range(8)
    )  # fmt: skip
    area = StoreArea(x_min_m=0.0, y_min_m=0.0, x_max_m=40.0, y_max_m=25.0)
    return replace(STORE, cameras=tuple(cameras), fixtures=fixtures, area=area)


def test_feet_on_the_floor_are_as_far_off_as_in_the_tracker_comparison() -> None:
    """60 people: 284 detections an instant; foot points alone: 99th percentile at 8.2 m."""
    store, rng = _large_store(), np.random.default_rng(5)
    cameras = Cameras.of(store, Faults(), np.random.default_rng(6))
    models = [camera_model(c) for c in store.cameras]
    camera = np.arange(18)
    errors, found, inside = [], 0, 0
    for instant in range(25):
        position = rng.uniform((0.5, 0.5), (39.5, 24.5), (60, 2))
        bodies = _bodies(position, images=18, name=f"{instant}-")
        slot = cameras._slots_of(bodies.key)
        image, body = in_view(bodies, cameras.lenses, camera)
        seen = cameras._seen(cameras._pairs(image, body, camera, slot), bodies)
        whose = {int(s): i for i, s in enumerate(slot)}
        found, inside = found + len(seen.image), inside + len(image)
        for c in camera:
            rows = seen.image == c
            floor, ok = floor_points(seen.feet[rows], models[c])
            true = position[[whose[int(s)] for s in seen.slot[rows]]]
            errors.append(np.linalg.norm(floor - true, axis=1)[ok])
    error = np.concatenate(errors)
    assert found / 25 < 330
    assert np.percentile(error, 99) > 7.0
    assert np.percentile(error, 90) > 1.0
    assert np.median(error) > 0.1
    assert found / inside < 0.75  # fixtures, other people, the image's edge, misses


def test_people_in_a_crowd_hide_each_other() -> None:
    rng = np.random.default_rng(7)
    crowd = rng.uniform((2.0, 2.5), (5.0, 5.0), (14, 2))
    shares = []
    for group in (crowd[:1], crowd):
        cameras = Cameras.of(OPEN, Faults(false_boxes=0.0), np.random.default_rng(8))
        boxes = [len(p.scores) for p in _images(cameras, 0, _bodies(group), 300)]
        shares.append(np.mean(boxes) / len(group))
    assert shares[0] > 0.85
    assert shares[1] < 0.5


def test_packets_arrive_late_and_now_and_then_very_late() -> None:
    cameras = Cameras.of(STORE, Faults(), np.random.default_rng(9))
    packets = _images(cameras, 1, _bodies(np.empty((0, 2))), 5000)
    late_ms = np.array([(p.sent_at_ns - p.captured_at_ns) / 1e6 for p in packets])
    assert np.median(late_ms) > 40.0
    assert np.percentile(late_ms, 99.5) > 100.0
    assert late_ms.min() > 5.0
    order = np.diff([p.sent_at_ns for p in packets])
    assert (order < 0).any()  # and some overtake each other


# --- appearance ---------------------------------------------------------------------------------


def _looks(cameras: Cameras, camera: int, at_ns: int, people: int, party: str) -> np.ndarray:
    """(people, d) vectors, NaN where no box came, by box order from left to right."""
    slot = cameras._slots_of(tuple(f"{party}{i}" for i in range(people)))
    image = np.zeros(people, dtype=np.int64)
    return cameras.appearance.drawn(slot, image, np.array([camera]), np.array([at_ns]))


def _rank_1(gallery: np.ndarray, query: np.ndarray) -> float:
    """Share of queries (n, d) whose nearest picture of (n, k, d) is of the same person."""
    likeness = np.einsum("nkd,qd->qnk", gallery, query).max(axis=2)
    return float((likeness.argmax(axis=1) == np.arange(len(query))).mean())


def test_looks_mend_a_track_for_seconds_and_do_not_identify_across_cameras() -> None:
    """Colour stripes, ten people: rank-1 0.95 / 0.86 / 0.76 after 1 / 3 / 10 s on one camera;
    0.30 with one picture and 0.40 with eight of another camera."""
    faults, rates = Faults(appearance=True), []
    for trial in range(120):
        cameras = Cameras.of(STORE, faults, np.random.default_rng(trial))
        first = _looks(cameras, 0, 0, 10, "p")
        later = [_looks(cameras, 0, s * NS, 10, "p") for s in (1, 4, 14)]
        pairs = [(first, later[0]), (later[0], later[1]), (later[1], later[2])]
        other = np.stack([_looks(cameras, 1, s * 60 * NS, 10, "p") for s in range(1, 9)], axis=1)
        rates.append(
            [_rank_1(a[:, None], b) for a, b in pairs]
            + [_rank_1(other[:, :k], later[2]) for k in (1, 8)]
        )
    after_1, after_3, after_10, one, eight = np.mean(rates, axis=0)
    assert 0.91 < after_1 < 0.965
    assert 0.82 < after_3 < 0.885
    assert 0.70 < after_10 < 0.79
    assert 0.25 < one < 0.37
    assert 0.33 < eight < 0.43


def test_looks_come_with_every_box_unless_told_otherwise() -> None:
    bodies = _bodies(np.array([[3.5, 3.0], [4.5, 2.5]]))
    plain = Cameras.of(OPEN, Faults(appearance=False), np.random.default_rng(1))
    with_looks = Cameras.of(OPEN, Faults(), np.random.default_rng(1))
    a, b = _images(plain, 0, bodies, 50), _images(with_looks, 0, bodies, 50)
    assert all(p.embeddings is None for p in a)
    assert all(p.embeddings is not None and len(p.embeddings) == len(p.scores) for p in b)
    assert all(np.array_equal(x.boxes_px, y.boxes_px) for x, y in zip(a, b, strict=True))
    lengths = np.linalg.norm(np.concatenate([p.embeddings for p in b]), axis=1)
    assert lengths == pytest.approx(1.0, abs=1e-5)


# --- shelves ------------------------------------------------------------------------------------


def _physics(seed: int, quirks: Quirks | None = None) -> ShelfPhysics:
    rng = np.random.default_rng(seed)
    level = Stock.filled(SHELVES, rng).load_g()
    return ShelfPhysics.of(SHELVES, level, quirks or Quirks(), rng)


def _noise(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One sigma of each plate and of each shelf's sum, in grams."""
    physics = _physics(seed)
    nodes = np.arange(len(SHELVES.shelf_nodes))
    counts = physics.counts_at(nodes, np.tile(np.arange(240) * 16_667_000, (len(nodes), 1)))
    grams = counts * SHELVES.plates[0].grams_per_count
    wide = physics.nodes.width
    plates = np.concatenate([grams[i, :, :w].std(axis=0) for i, w in enumerate(wide)])
    sums = np.array([grams[i, :, :w].sum(axis=1).std() for i, w in enumerate(wide)])
    return plates, sums


def test_noise_of_plates_and_shelves_is_no_less_than_in_a_real_store() -> None:
    """Plate: median 1.1 g, 90 % 3.8 g, worst 14.5 g. Sum of a shelf: median 9 g, worst 45 g."""
    drawn = [_noise(seed) for seed in range(12)]
    plates, sums = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    assert np.median(plates) > 1.0
    assert np.percentile(plates, 90) > 3.5
    assert np.mean([p.max() for p, _ in drawn]) > 13.0
    assert np.median(sums) > 8.7
    assert np.mean([s.max() for _, s in drawn]) > 40.0


def test_noise_differs_by_plate_by_shelf_and_by_hour() -> None:
    physics = _physics(3)
    nodes = np.arange(len(SHELVES.shelf_nodes))
    hours = []
    for hour in range(0, 12, 3):
        at_ns = np.tile(hour * 3600 * NS // 6 + np.arange(200) * 16_667_000, (len(nodes), 1))
        hours.append(physics.counts_at(nodes, at_ns)[:, :, :8].std(axis=1))
    by_hour = np.array(hours)
    assert by_hour[0].max() / np.median(by_hour[0]) > 4.0
    assert np.median(by_hour.max(axis=0) / by_hour.min(axis=0)) > 1.15


def test_gain_errors_are_no_less_than_those_of_real_plates() -> None:
    """A bottle weighed 4.5 % more on its plate and 9 to 10 % on the shelf, a bag 3 to 8 % less."""
    gain = np.concatenate([_physics(seed).cells.gain for seed in range(8)]) - 1
    assert (np.abs(gain) > 0.045).mean() > 0.2
    assert gain.max() >= 0.09
    assert gain.min() <= -0.08


def test_drift_makes_absolute_mass_useless_within_hours() -> None:
    quiet = _physics(4, Quirks(noise=0.0))
    nodes = np.arange(len(SHELVES.shelf_nodes))
    at = [np.full((len(nodes), 1), hours * 3600 * NS) for hours in (0, 1, 8)]
    grams = [quiet.counts_at(nodes, a)[:, 0, :8] * SHELVES.plates[0].grams_per_count for a in at]
    hour, shift = grams[1] - grams[0], grams[2] - grams[0]
    assert np.median(np.abs(hour)) > 5.0
    assert np.percentile(np.abs(shift), 90) > 60.0
    assert np.median(np.abs(shift - 8 * hour)) > 20.0  # not a straight line either


def test_items_spill_onto_neighbours_as_on_real_shelves() -> None:
    """1 % per neighbour for a bottle, 18 % for a bag across an edge (57, 25 and 18 g of 105 g)."""
    shelves = shelves_of(SHELVES)
    middle = float((shelves.lower_m[0][5] + shelves.upper_m[0][5]) / 2)
    _, bottle = shares(shelves, 0, middle, 0.07)
    _, bag = shares(shelves, 0, middle + 0.02, 0.17)
    assert sorted(bottle)[-2] >= 0.01
    assert sorted(bag)[-2] >= 0.18
    assert sorted(bag)[-3] >= 0.05
    assert max(bag) < 0.65


def test_knocked_gondola_shakes_hard_and_leaves_up_to_five_grams() -> None:
    """Four shelves at once, net change -5 to +4 g."""
    rng = np.random.default_rng(8)
    shelves = shelves_of(SHELVES)
    loads = [x for _ in range(80) for x in gestures.bump(rng, shelves, [0, 1, 2, 3], 0)]
    net = np.array([load.grams[-1] for load in loads])
    assert net.min() == pytest.approx(-5.0)
    assert net.max() == pytest.approx(4.0)
    assert net.std() > 1.5
    assert np.median([np.abs(load.grams).max() for load in loads]) > 100.0


def test_sampling_intervals_have_the_measured_spread_and_step_back() -> None:
    """Nominal 16.667 ms; 1st and 99th percentile 14.0 and 19.6 ms; steps down to -4.7 ms."""
    physics = _physics(9)
    nodes = np.arange(len(SHELVES.shelf_nodes))
    gaps_ms = np.concatenate(
        [np.diff(physics._sample_times(nodes)).ravel() / 1e6 for _ in range(400)]
    )
    low, high = np.percentile(gaps_ms, [1, 99])
    assert low < 14.1
    assert high > 19.2
    assert (gaps_ms <= 0).sum() > 5
    assert -9.0 < gaps_ms.min() < -2.0


def test_hands_rest_on_shelves_and_hold_things_for_seconds() -> None:
    rng = np.random.default_rng(6)
    item = np.array([3]), np.array([1.0])
    made = [
        gestures.take(rng, Handling(), 0, [(*item, 500.0)], item, np.zeros(3)) for _ in range(800)
    ]
    pressed = np.array([max((x.grams.max() for x in g.loads[1:]), default=0.0) for g in made])
    held_s = np.array([(g.left_at_ns - g.touched_at_ns) / NS for g in made])
    assert (pressed > 20.0).mean() > 0.5
    assert np.median(pressed[pressed > 0]) > 35.0
    assert (held_s > 2.2).mean() > 0.03
    assert held_s.max() > 5.0
