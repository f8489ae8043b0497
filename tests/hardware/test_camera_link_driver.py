"""The cameras' socket: good nodes, hostile ones, and clocks that are off."""

import asyncio
import contextlib
import os
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.drivers.camera_link import CONNECTIONS_MAX, CameraLink, SocketPathError
from hardware.protocol.camera_link import encode_detections
from messages.observations import DeviceHealth, DeviceState, PersonDetections
from messages.store_config import Camera
from sim.devices import CameraNodeClient

IDENTITY3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
WALL_AHEAD_NS = 10**18  # of store time


class Inbox:
    def __init__(self):
        self.got = []
        self.pushed_ns = 0

    def put(self, observation, journalled=None):
        self.got.append(observation)

    def now_ns(self):
        return time.monotonic_ns() + self.pushed_ns

    def wall_to_store_ns(self, wall_ns):
        return wall_ns - WALL_AHEAD_NS

    def of(self, kind):
        return [seen for seen in self.got if isinstance(seen, kind)]


def camera(name):
    return Camera(id=name, camera_matrix=IDENTITY3, distortion=(), store_from_camera=IDENTITY3)


def detections(inbox, sequence=1, name="cam-1", age_s=0.05, n=2):
    return PersonDetections(
        camera=name,
        received_at_ns=0,
        captured_at_ns=inbox.now_ns() + WALL_AHEAD_NS - round(age_s * 1e9),
        sequence=sequence,
        boxes_px=np.ones((n, 4), np.float32),
        feet_px=np.ones((n, 2), np.float32),
        scores=np.ones(n, np.float32),
    )


async def until(condition, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def linked(tmp_path, *names):
    inbox = Inbox()
    link = CameraLink([camera(n) for n in names or ("cam-1",)], tmp_path / "c.sock", inbox)
    task = asyncio.create_task(link.run())
    node = CameraNodeClient(tmp_path / "c.sock")
    node.start()
    try:
        await until(lambda: node.connected)
        yield inbox, link, node
    finally:
        node.stop()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_detections_arrive_in_store_time(tmp_path):
    async def story():
        async with linked(tmp_path) as (inbox, _, node):
            sent = detections(inbox)
            node.send(sent)
            await until(lambda: len(inbox.of(PersonDetections)) == 1)
            (seen,) = inbox.of(PersonDetections)
            assert seen.captured_at_ns == sent.captured_at_ns - WALL_AHEAD_NS
            assert seen.captured_at_ns < seen.received_at_ns <= inbox.now_ns()
            np.testing.assert_array_equal(seen.boxes_px, sent.boxes_px)
            await until(lambda: inbox.of(DeviceHealth)[-1].state is DeviceState.ONLINE)

    asyncio.run(story())


def test_the_socket_is_for_this_user_alone_and_goes_with_the_daemon(tmp_path):
    async def story():
        async with linked(tmp_path):
            assert os.stat(tmp_path / "c.sock").st_mode & 0o777 == 0o600
        assert not (tmp_path / "c.sock").exists()

    asyncio.run(story())


def test_lost_and_repeated_pictures_are_counted(tmp_path):
    async def story():
        async with linked(tmp_path) as (inbox, link, node):
            for sequence in (1, 2, 2, 5, 6, 1):
                node.send(detections(inbox, sequence))
            await until(lambda: len(inbox.of(PersonDetections)) == 5)
            counters = link.health["cam-1"].counters
            assert (counters["lost"], counters["repeated"]) == (2, 1)

    asyncio.run(story())


def test_several_cameras_share_a_node_and_an_unknown_one_is_refused_alone(tmp_path):
    async def story():
        async with linked(tmp_path, "cam-1", "cam-2") as (inbox, link, node):
            node.send(detections(inbox, name="stranger"))
            node.send(detections(inbox, name="cam-1"))
            node.send(detections(inbox, name="cam-2"))
            await until(lambda: len(inbox.of(PersonDetections)) == 2)
            assert link.counters["unknown_camera"] == 1
            assert link.counters["hostile"] == 0

    asyncio.run(story())


@pytest.mark.parametrize("age_s", [-10.0, 10.0, 1e9])
def test_a_clock_far_off_is_named_and_puts_nobody_into_another_time(tmp_path, age_s):
    async def story():
        async with linked(tmp_path) as (inbox, link, node):
            node.send(detections(inbox, age_s=age_s))
            await until(lambda: link.health["cam-1"].state is DeviceState.FAULT)
            assert "NTP" in link.health["cam-1"].detail
            assert inbox.of(PersonDetections) == []

    asyncio.run(story())


def test_a_node_that_goes_is_unplugged_and_comes_back(tmp_path):
    async def story():
        async with linked(tmp_path) as (inbox, link, node):
            node.send(detections(inbox))
            await until(lambda: link.health["cam-1"].state is DeviceState.ONLINE)
            node.stop()
            await until(lambda: link.health["cam-1"].state is DeviceState.UNPLUGGED)
            node.start()
            await until(lambda: node.connected)
            node.send(detections(inbox))
            await until(lambda: link.health["cam-1"].state is DeviceState.ONLINE)

    asyncio.run(story())


def test_a_camera_that_never_sent_is_unplugged_after_the_time_it_may_take(tmp_path):
    async def story():
        async with linked(tmp_path) as (inbox, link, _):
            await asyncio.sleep(0.3)
            assert {seen.device for seen in inbox.of(DeviceHealth)} == {"camera-link"}
            inbox.pushed_ns += 4_000_000_000
            await until(lambda: link.health["cam-1"].state is DeviceState.UNPLUGGED)

    asyncio.run(story())


def test_a_camera_that_sends_nothing_more_is_silent(tmp_path):
    async def story():
        async with linked(tmp_path) as (inbox, link, node):
            node.send(detections(inbox))
            await until(lambda: link.health["cam-1"].state is DeviceState.ONLINE)
            inbox.pushed_ns += 4_000_000_000
            await until(lambda: link.health["cam-1"].state is DeviceState.SILENT)

    asyncio.run(story())


def test_a_node_outlives_its_daemon_and_drops_what_nobody_takes(tmp_path):
    async def story():
        async with linked(tmp_path) as (inbox, link, node):
            kept = node
        kept.start()
        assert kept.send(detections(inbox)) is False
        assert kept.dropped == 1
        link = CameraLink([camera("cam-1")], tmp_path / "c.sock", inbox)
        task = asyncio.create_task(link.run())
        await until(lambda: kept.connected)
        kept.stop()
        task.cancel()

    asyncio.run(story())


HOSTILE = [
    struct.pack("<I", 0),
    struct.pack("<I", 2**32 - 1),
    struct.pack("<I", 5) + b"hello",
    struct.pack("<I", 1) + b"\xc1",
]


@pytest.mark.parametrize("bad", HOSTILE)
def test_a_hostile_peer_loses_its_own_connection_and_nothing_else(tmp_path, bad):
    async def story():
        async with linked(tmp_path) as (inbox, link, node):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "c.sock"))
            writer.write(bad)
            assert await asyncio.wait_for(reader.read(), 2) == b""
            writer.close()
            assert link.counters["hostile"] == 1
            said = [seen for seen in inbox.of(DeviceHealth) if seen.device == "camera-link"]
            assert "no camera packet" in link.link.detail
            assert said  # and it shows in the status
            node.send(detections(inbox))
            await until(lambda: len(inbox.of(PersonDetections)) == 1)

    asyncio.run(story())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_any_bytes_on_the_socket_leave_the_good_camera_working(tmp_path_factory, noise, cut):
    async def story(path):
        async with linked(path) as (inbox, _, node):
            _, writer = await asyncio.open_unix_connection(str(path / "c.sock"))
            good = encode_detections(detections(inbox))
            writer.write(good[: cut % len(good)] + noise)
            writer.close()
            node.send(detections(inbox))
            await until(lambda: len(inbox.of(PersonDetections)) == 1)

    asyncio.run(story(tmp_path_factory.mktemp("noise")))


def test_connections_are_bounded(tmp_path):
    async def story():
        async with linked(tmp_path) as (inbox, link, node):
            writers = []
            for _ in range(CONNECTIONS_MAX + 5):
                _, writer = await asyncio.open_unix_connection(str(tmp_path / "c.sock"))
                writers.append(writer)
            await until(lambda: link.counters["refused_connections"] == 6)
            node.send(detections(inbox))
            await until(lambda: len(inbox.of(PersonDetections)) == 1)
            for writer in writers:
                writer.close()

    asyncio.run(story())


def test_a_socket_path_that_the_system_cannot_hold_is_a_named_error(tmp_path):
    link = CameraLink([camera("cam-1")], tmp_path / ("x" * 120), Inbox())
    with pytest.raises(SocketPathError, match="camera_socket"):
        asyncio.run(link.run())


def test_a_file_in_the_sockets_place_is_not_removed(tmp_path):
    (tmp_path / "c.sock").write_text("precious")
    link = CameraLink([camera("cam-1")], tmp_path / "c.sock", Inbox())
    with pytest.raises(SocketPathError):
        asyncio.run(link.run())
    assert (tmp_path / "c.sock").read_text() == "precious"
