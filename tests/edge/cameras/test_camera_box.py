"""A camera box and the daemon over a real mosquitto with TLS, and the deaths of each."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.cameras.box import BoxError, own_part
from edge.cameras.box_sender import AGAIN_AFTER_NS, PACKETS_MAX, BoxSender
from edge.cameras.models.install import install
from edge.config import ConfigError, load, parse
from edge.journal_follower import JournalFollower
from hardware.drivers.camera_boxes import CameraBoxes
from hardware.drivers.mqtt_client import MqttClient, MqttError
from hardware.protocol import camera_box as wire
from hardware.protocol.camera_link import LinkError
from messages.codec import encode
from messages.observations import DeviceState, PersonDetections
from messages.vision_config import Mqtt
from tests.edge.cameras.film import PETS, Inbox, slow_film
from tests.edge.cameras.film import until as arrives

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def certificates(folder: Path) -> None:
    """``ca.pem``, ``server.pem``, ``server.key``: an authority of the test's own."""
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    builder = x509.CertificateBuilder().not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.issuer_name(ca_name)
    ca = builder.subject_name(ca_name).public_key(ca_key.public_key()).serial_number(1)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    server = builder.subject_name(x509.Name([])).public_key(key.public_key()).serial_number(2)
    name = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    server = server.add_extension(name, critical=True)
    pem = serialization.Encoding.PEM
    for file, signed in (("ca", ca), ("server", server)):
        data = signed.sign(ca_key, hashes.SHA256()).public_bytes(pem)
        (folder / f"{file}.pem").write_bytes(data)
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "server.key").write_bytes(key.private_bytes(pem, *plain))


class Broker:
    """mosquitto with TLS and a password, in a folder; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        certificates(folder)
        (folder / "password").write_text("correct horse\n")
        users = folder / "users"
        making = ["mosquitto_passwd", "-b", "-c", str(users), "store", "correct horse"]
        subprocess.run(making, check=True, capture_output=True)
        (folder / "mosquitto.conf").write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {users}\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n"
            f"keyfile {folder}/server.key\ntls_version tlsv1.2\npersistence false\n"
        )
        self.start()

    def start(self) -> None:
        command = [MOSQUITTO, "-c", str(self.folder / "mosquitto.conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def table(self) -> str:
        at = self.folder
        return (
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self.port}\nca_file = "{at}/ca.pem"\n'
            f'user = "store"\npassword_file = "{at}/password"\n'
        )

    @property
    def config(self) -> Mqtt:
        return parse(self.table).mqtt


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    running = Broker(tmp_path)
    yield running
    running.kill()


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "walkout", *arguments]) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.terminate()
                try:
                    running.wait(20)
                except subprocess.TimeoutExpired:
                    running.kill()


def until(condition: Callable[[], Any], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def journalled(path: Path) -> list[int]:
    """Sequence numbers of the detections in a journal."""
    if not path.exists():
        return []
    follower = JournalFollower(path)
    with contextlib.closing(follower), contextlib.suppress(sqlite3.OperationalError, ValueError):
        steps = follower.steps_after(0, with_last=True)
        return [
            o.sequence for s in steps for o in s.observations if isinstance(o, PersonDetections)
        ]
    return []


def test_broker_and_daemon_are_killed_and_the_journal_has_every_packet(
    broker: Broker, tmp_path: Path
) -> None:
    install(["nanodet"])
    toml = (PETS / "store.toml").read_text() + broker.table
    toml = toml.replace('url = "vtest.avi"', f'url = "{slow_film(tmp_path)}"\nbox = "aisle-3"')
    toml = toml.replace("images_per_s = 10.0", "images_per_s = 5.0\nmodel_width_px = 320")
    config = str(tmp_path / "store.toml")
    Path(config).write_text(toml)
    journal = tmp_path / "journal.db"

    def device(name: str) -> dict[str, Any]:
        status = tmp_path / "run" / "status.json"
        found = json.loads(status.read_text()) if status.exists() else {}
        return dict(found.get("devices", {}).get(name, {}))

    with process("camera-box", "--config", config, "--box", "aisle-3") as box:
        with process("run", "--config", config) as daemon:
            until(lambda: len(journalled(journal)) >= 5)
            assert device("aisle-3")["state"] == "online"
            broker.kill()
            until(lambda: device("camera-boxes")["state"] == "unplugged")
            broker.start()
            seen = len(journalled(journal))
            until(lambda: len(journalled(journal)) >= seen + 5)
            daemon.kill()
        before = len(journalled(journal))
        time.sleep(1.0)
        with process("run", "--config", config):
            until(lambda: len(journalled(journal)) >= before + 10)
            newest = max(journalled(journal))
            until(lambda: set(journalled(journal)) >= set(range(1, newest + 1)))
            box.send_signal(signal.SIGKILL)
            until(lambda: device("aisle-3")["state"] == "unplugged")
            assert "gone" in device("aisle-3")["detail"]


def test_a_wrong_authority_is_no_broker_of_ours(broker: Broker, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    certificates(other)

    async def told(config: Mqtt) -> str:
        said: asyncio.Queue[str] = asyncio.Queue()
        client = MqttClient(
            config, "t", topics=(), on_message=lambda *_: None, on_link=said.put_nowait
        )
        client.start()
        try:
            return await asyncio.wait_for(said.get(), 20)
        finally:
            await client.close()

    until(lambda: _listens(broker.port))
    assert asyncio.run(told(broker.config)) == ""
    assert asyncio.run(told(replace(broker.config, ca_file=str(other / "ca.pem"))))
    refused = asyncio.run(told(replace(broker.config, user="someone", password_file="")))
    assert "refused" in refused


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_files_of_mqtt_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    async def made(config: Mqtt) -> None:
        MqttClient(config, "t", topics=(), on_message=lambda *_: None, on_link=lambda _: None)

    with pytest.raises(MqttError, match=r"ca_file.*none\.pem"):
        asyncio.run(made(Mqtt(host="h", ca_file=str(tmp_path / "none.pem"))))
    with pytest.raises(MqttError, match=r"password_file .*: No such file"):
        asyncio.run(made(Mqtt(host="h", user="u", password_file=str(tmp_path / "none"))))


def test_a_packet_is_kept_until_the_journal_has_it() -> None:
    sender = BoxSender(session=7)
    one, two = sender.keep(b"one"), sender.keep(b"two")
    assert [number for number, _ in sender.due(0)] == [one, two]
    sender.sent(one, 0)
    sender.sent(two, 0)
    assert sender.due(AGAIN_AFTER_NS - 1) == []
    sender.journalled(8, (one, two))
    assert len(sender) == 2, "another session's numbers"
    sender.journalled(7, (one,))
    assert sender.due(AGAIN_AFTER_NS) == [(two, b"two")]
    sender.sent(two, AGAIN_AFTER_NS)
    assert sender.repeated == 1
    sender.lost_link()
    assert sender.due(AGAIN_AFTER_NS + 1) == [(two, b"two")]


def test_what_a_box_keeps_is_bounded_and_the_loss_is_counted() -> None:
    sender = BoxSender(session=1)
    for _ in range(PACKETS_MAX + 3):
        sender.keep(b"x")
    assert len(sender) == PACKETS_MAX
    assert sender.dropped == 3


def test_packets_and_acknowledgements_survive_the_wire() -> None:
    assert wire.unpacked(wire.packed(5, 9, b"m")) == (5, 9, b"m")
    assert wire.unpacked_numbers(wire.packed_numbers(5, [1, 2, 3])) == (5, (1, 2, 3))
    topics = wire.Topics(store="s", box="b")
    for topic in (topics.detections, topics.journalled, topics.health):
        assert wire.box_of(topic) == "b"
    for broken in (b"", b"x" * 15, b"x" * 16):
        with pytest.raises(LinkError):
            wire.unpacked(broken)
    for broken in (b"", b"x" * 7, b"x" * 8 * (wire.NUMBERS_MAX + 2)):
        with pytest.raises(LinkError):
            wire.unpacked_numbers(broken)
    with pytest.raises(LinkError, match="no camera box"):
        wire.box_of("walkout/s/gate/b/health")


def test_a_box_takes_its_own_cameras_and_an_unknown_one_is_told() -> None:
    text = (
        (PETS / "store.toml")
        .read_text()
        .replace('url = "vtest.avi"', 'url = "vtest.avi"\nbox = "aisle-3"')
    )
    config = parse(text + '[mqtt]\nhost = "broker"\n')
    assert [c.box for c in own_part(config, "aisle-3").cameras] == [""]
    with pytest.raises(BoxError, match=r"no camera .* on a box 'x'; boxes: aisle-3"):
        own_part(config, "x")
    with pytest.raises(ConfigError, match=r"needs \[mqtt\] host"):
        parse(text)
    with pytest.raises(ConfigError, match="is another machine; use TLS"):
        parse(text + '[mqtt]\nhost = "broker"\ntls = "off"\n')
    assert load(PETS / "store.toml").mqtt.host == ""
    assert os.path.basename(own_part(config, "aisle-3").paths.camera_socket) == "box-aisle-3.sock"


def test_what_is_hostile_on_the_broker_is_counted_and_nothing_else_suffers(broker: Broker) -> None:
    text = (PETS / "store.toml").read_text()
    text = text.replace('url = "vtest.avi"', 'url = "vtest.avi"\nbox = "aisle-3"')
    config = parse(text + broker.table)
    good = PersonDetections(
        camera=config.cameras[0].id,
        received_at_ns=0,
        captured_at_ns=0,
        sequence=1,
        boxes_px=np.zeros((0, 4), np.float32),
        feet_px=np.zeros((0, 2), np.float32),
        scores=np.zeros(0, np.float32),
    )

    def message(**more: Any) -> bytes:
        return encode(replace(good, captured_at_ns=time.time_ns(), **more))

    async def life() -> None:
        inbox = Inbox()
        boxes = CameraBoxes(config.cameras, config.mqtt, config.store, inbox)
        running = asyncio.create_task(boxes.run())
        acknowledged: list[bytes] = []
        ours = wire.Topics(store=config.store, box="aisle-3")
        node = MqttClient(
            broker.config,
            "node",
            topics=(ours.journalled,),
            on_message=lambda topic, payload: acknowledged.append(payload),
            on_link=lambda trouble: None,
        )
        node.start()
        await arrives(lambda: boxes.link.state is DeviceState.ONLINE)
        await arrives(lambda: node.publish(ours.detections, wire.packed(1, 1, message())))
        for payload in (
            b"short",
            wire.packed(1, 2, b"no message"),
            wire.packed(1, 3, message(camera="another")),
        ):
            node.publish(ours.detections, payload)
        node.publish(ours.health, b"{")
        node.publish(wire.Topics(store=config.store, box="none").detections, b"x" * 20)
        node.publish(ours.detections, wire.packed(1, 4, encode(good)))  # from 1970
        node.publish(ours.detections, wire.packed(1, 5, message(sequence=2)))
        await arrives(lambda: len(inbox.packets()) == 2)
        assert boxes.link.counters["hostile"] == 5
        assert [p.sequence for p in inbox.packets()] == [1, 2]
        await arrives(lambda: bool(acknowledged))
        assert wire.unpacked_numbers(acknowledged[0]) == (1, (4,)), "none of them is journalled"
        await node.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(life())
