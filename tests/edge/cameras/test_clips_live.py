"""A clip of real people, through real processes: asked for, blurred, encrypted, in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras.clip_file import clips_in, new_key, read_clip, read_key
from edge.cameras.fleet import DetectorFleet, check_models
from edge.cameras.models.nets import Net, net_file
from edge.cameras.models.packages import ModelsError
from edge.cameras.node_link import NodeLink
from edge.carts.clip_requests import AFTER_NS, BEFORE_NS, SPAN_MAX_NS, ClipRequests
from edge.config import load
from edge.devices import CLIPS, Devices, store_devices
from edge.vision.head_blur import blurred, heads
from hardware.drivers.camera_link import CameraLink
from hardware.protocol.camera_link import LinkError, decode_keep
from messages.codec import encode
from messages.commands import Command, KeepClip, UnlockGate
from messages.events import Event, Evidence, ReviewRequested
from messages.ids import CameraId, CommandId, GateId, PlateId, ReviewId, ShelfId, VisitId
from messages.observations import Observation, PersonDetections
from messages.store_config import Plate, StoreConfig
from sim.in_process import play, prepared
from sim.layouts import layout
from sim.scenario import find
from sim.scenario import load as load_scenario
from sim.world import Options
from tests.edge.cameras.film import PETS, Inbox, film, slow_film, until, watching

# Heads of three people in the first image, read off by eye: x, y of their middles.
HEADS = np.array([[514, 165], [274, 226], [655, 249]], dtype=float)
S = 1_000_000_000


def test_heads_of_real_people_are_covered(models: Path) -> None:
    capture = cv2.VideoCapture(str(film()), cv2.CAP_FFMPEG)
    ok, image = capture.read()
    assert ok
    image = np.asarray(image, np.uint8)
    found = Net(net_file("nanodet", (), width_px=416)).people(image)
    rectangles = heads(found)
    for x, y in HEADS:
        inside = (rectangles[:, 0] < x) & (x < rectangles[:, 2])
        inside &= (rectangles[:, 1] < y) & (y < rectangles[:, 3])
        assert inside.any(), f"the head at {x}, {y} is not covered"
    after = blurred(image, rectangles)
    changed = (after != image).any(axis=2)
    assert changed.mean() < 0.1  # the shop stays to be seen


def asking(folder: Path, key: Path) -> StoreConfig:
    config = watching(folder, slow_film(folder), images_per_s=5.0, model_width_px=320)
    paths = replace(config.paths, clips=str(folder / "clips"), clips_key_file=str(key))
    return replace(config, paths=paths)


def test_a_clip_is_kept_by_the_processes_that_see(models: Path, tmp_path: Path) -> None:
    key = tmp_path / "clips.key"
    new_key(key)
    config = asking(tmp_path, key)

    async def life() -> KeepClip:
        inbox = Inbox()
        link = CameraLink(config.cameras, config.paths.camera_socket, inbox)
        fleet = DetectorFleet(config, inbox)
        tasks = [asyncio.create_task(link.run()), asyncio.create_task(fleet.run())]
        try:
            await until(lambda: len(inbox.packets()) >= 8)
            now_ns = inbox.now_ns()
            clip = KeepClip(
                id=CommandId("pets-7-c0"),
                not_after_ns=now_ns + 60 * S,
                cameras=(CameraId("view-1"), CameraId("elsewhere")),
                started_at_ns=now_ns - 30 * S,
                ended_at_ns=now_ns,
                reason="r7: who took it?",
            )
            await link.command(clip)
            await until(lambda: fleet.health.counters["clips"] == 1)
            return clip
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    clip = asyncio.run(life())
    (head,) = clips_in(tmp_path / "clips")
    assert (head.id, head.cameras, head.reason) == ("pets-7-c0.0", ("view-1",), clip.reason)
    assert head.ended_at_ns - head.started_at_ns == 30 * S
    _, images = read_clip(tmp_path / "clips", read_key(key), "pets-7-c0.0")
    assert len(images) >= 4
    picture = cv2.imdecode(np.frombuffer(images[0][1].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 640
    times = [image.captured_at_ns for _, image in images]
    assert times == sorted(times)


def test_a_command_for_a_clip_reaches_the_detectors(tmp_path: Path) -> None:
    config = watching(tmp_path, "rtsp://127.0.0.1:9/none")
    devices = store_devices(config, Inbox())
    assert [d.name for d in devices if CLIPS in d.answers] == ["cameras"]
    ended: list[tuple[str, str]] = []

    async def mark(command: CommandId, how: str) -> None:
        ended.append((command, how))

    async def life() -> None:
        """Without cameras on this box nobody has the images: it ends, and is counted."""
        lanes = Devices([], Inbox(), mark)
        running = asyncio.create_task(lanes.run())
        lanes.ask(
            [
                KeepClip(
                    id=CommandId("c1"),
                    not_after_ns=2**62,
                    cameras=(CameraId("view-1"),),
                    started_at_ns=0,
                    ended_at_ns=1,
                    reason="",
                )
            ]
        )
        await until(lambda: bool(ended))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(life())
    assert ended == [("c1", "failed")]


def doubt(shelf: str, start_s: float, end_s: float) -> ReviewRequested:
    return ReviewRequested(
        at_ns=round(end_s * S) + S,
        review=ReviewId("r1"),
        reason="who?",
        candidates=(),
        evidence=Evidence(
            started_at_ns=round(start_s * S), ended_at_ns=round(end_s * S), shelf=ShelfId(shelf)
        ),
        visits=(),
    )


def shop(**paths: str) -> StoreConfig:
    """The film's yard with a shelf in the middle of the view."""
    config = load(PETS / "store.toml")
    camera = replace(config.cameras[0], url="rtsp://somewhere/1")
    plate = Plate(
        id=PlateId("p"),
        shelf=ShelfId("s"),
        x_m=0.0,
        y_m=0.0,
        z_m=1.0,
        width_m=0.2,
        depth_m=0.4,
    )
    return replace(
        config,
        cameras=(camera, replace(camera, id=CameraId("far"), box="other")),
        plates=(plate,),
        paths=replace(config.paths, **paths),
    )


def test_a_question_asks_for_the_images_around_it() -> None:
    requests = ClipRequests(shop(clips_key_file="some.key"))
    (clip,) = requests.of([doubt("s", 100.0, 101.0)])
    assert clip.cameras == ("view-1",)  # the other one's images are on another box
    assert (clip.started_at_ns, clip.ended_at_ns) == (100 * S - BEFORE_NS, 101 * S + AFTER_NS)
    assert clip.reason == "r1: who?"
    (long,) = requests.of([doubt("s", 10.0, 90.0)])
    assert long.ended_at_ns - long.started_at_ns == SPAN_MAX_NS
    assert requests.of([doubt("unknown", 1.0, 2.0)]) == []


@pytest.mark.parametrize("paths", [{}, {"clips_key_file": ""}])
def test_a_store_without_a_key_asks_for_none(paths: dict[str, str]) -> None:
    assert ClipRequests(shop(**paths)).of([doubt("s", 1.0, 2.0)]) == []


class Commands:
    """Sees what the engine asks of devices."""

    def __init__(self) -> None:
        self.asked: list[Command] = []

    def step(self, step: int, now_ns: int, observations: Sequence[Observation]) -> None:
        pass

    def events(
        self, now_ns: int, events: Sequence[Event], commands: Sequence[Command] = ()
    ) -> None:
        self.asked += commands


def test_the_engine_asks_for_a_clip_with_each_question_and_only_with_a_key() -> None:
    scenario = load_scenario(find("hard-pick-misplaced-same-mass"))
    asked = {}
    for key in ("clips.key", ""):
        config = layout(scenario.store)
        cameras = tuple(replace(c, url="rtsp://camera/1") for c in config.cameras)
        config = replace(config, cameras=cameras, paths=replace(config.paths, clips_key_file=key))
        run, seen = prepared(config, Options(seed=1), script=scenario, review_deadline_s=10.0)
        tap = Commands()
        play(run, seen, duration_s=scenario.duration_s, tap=tap)
        questions = [e.review for e in run.events if isinstance(e, ReviewRequested)]
        clips = [c for c in tap.asked if isinstance(c, KeepClip)]
        assert len(questions) >= 2
        asked[key] = clips
    assert [c.reason.partition(":")[0] for c in asked["clips.key"]] == questions
    assert all(c.id and c.cameras for c in asked["clips.key"])
    assert asked[""] == []


def test_a_clip_is_asked_of_the_node_that_has_the_camera_and_of_nobody_else(
    tmp_path: Path,
) -> None:
    """Over the daemon's socket, so that detectors beside the daemon keep clips as well."""
    config = watching(tmp_path, "rtsp://127.0.0.1:9/none")
    clip = KeepClip(
        id=CommandId("c1"),
        not_after_ns=2**62,
        cameras=(CameraId("view-1"),),
        started_at_ns=0,
        ended_at_ns=S,
        reason="why",
    )

    async def life() -> list[KeepClip]:
        inbox = Inbox()
        link = CameraLink(config.cameras, config.paths.camera_socket, inbox)
        running = asyncio.create_task(link.run())
        node, other = (NodeLink(config.paths.camera_socket) for _ in range(2))
        await until(lambda: Path(config.paths.camera_socket).exists())
        with pytest.raises(ConnectionError, match="no camera node of view-1"):
            await link.command(clip)
        assert other.send(packet("elsewhere"))
        assert node.send(packet("view-1"))
        await until(lambda: len(inbox.packets()) == 1)
        await link.command(clip)
        got: list[KeepClip] = []
        await until(lambda: bool(got.extend(node.received()) or got))
        assert other.received() == []
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until(lambda: node.received() == [] and node._socket is None)
        return got

    (got,) = asyncio.run(life())
    assert (got.id, got.cameras, got.reason) == ("c1", ("view-1",), "why")
    assert got.ended_at_ns - got.started_at_ns == S
    assert abs(got.ended_at_ns - S - (time.time_ns() - time.monotonic_ns())) < 60 * S


def packet(camera: str) -> PersonDetections:
    return PersonDetections(
        camera=CameraId(camera),
        received_at_ns=0,
        captured_at_ns=time.time_ns(),
        sequence=1,
        boxes_px=np.zeros((0, 4), np.float32),
        feet_px=np.zeros((0, 2), np.float32),
        scores=np.zeros(0, np.float32),
    )


def test_a_node_is_asked_for_clips_only() -> None:
    with pytest.raises(LinkError, match="not for UnlockGate"):
        decode_keep(
            encode(UnlockGate(not_after_ns=1, gate=GateId("g"), visit=VisitId("v"), passages=1))
        )
    with pytest.raises(LinkError):
        decode_keep(b"no message")


def test_a_key_that_cannot_be_used_is_told_before_the_start(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match="run: walkout clips new-key"):
        check_models(asking(tmp_path, tmp_path / "none"))
