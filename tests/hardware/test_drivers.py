"""Drivers on real ptys, against emulated devices, over every wire."""

import asyncio
import contextlib
import time

import numpy as np
import pytest
from wires import WIRES, CleanWire

from hardware.drivers.commands import CommandRefusedError
from hardware.drivers.gate_node import GateNodeDriver
from hardware.drivers.qr_reader import LINE_BYTES_MAX, ReaderDriver
from hardware.drivers.shelf_node import ShelfNodeDriver
from hardware.protocol import shelf_node as wire
from hardware.protocol.framing import FRAME_BYTES_MAX, Frame, encode_frame
from hardware.protocol.gate_node import Result
from messages.commands import KeepClip, RefuseEntry, TareShelf, UnlockGate
from messages.events import RefusalReason
from messages.observations import (
    DeviceHealth,
    DeviceState,
    GateSignal,
    GateSignalKind,
    PlateFlag,
    ShelfSamples,
)
from messages.store_config import GateNode, Reader, ShelfNode
from sim.devices import GateNodeDevice, ReaderDevice, ShelfNodeDevice

TOKEN = "v4.public." + "aB3_-" * 60
SECOND_NS = 1_000_000_000
each_wire = pytest.mark.parametrize("kind", WIRES, ids=lambda kind: kind.__name__)


class Inbox:
    """The daemon's side, with a clock that a test can push."""

    def __init__(self):
        self.got = []
        self.pushed_ns = 0
        self.journal_stalls = False
        self.unsaid = []  # what drivers want to be told once it is journalled

    def put(self, observation, journalled=None):
        self.got.append(observation)
        if journalled is not None and self.journal_stalls:
            self.unsaid.append(journalled)
        elif journalled is not None:
            journalled()

    def now_ns(self):
        return time.monotonic_ns() + self.pushed_ns

    def wall_to_store_ns(self, wall_ns):
        return wall_ns

    def of(self, kind):
        return [seen for seen in self.got if isinstance(seen, kind)]

    def signals(self, kind):
        return [seen for seen in self.of(GateSignal) if seen.kind is kind]

    def states(self):
        return [seen.state for seen in self.of(DeviceHealth)]


async def until(condition, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(driver, device):
    device.start()
    task = asyncio.create_task(driver.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        device.stop()


@contextlib.asynccontextmanager
async def shelf(tmp_path, plates=3, to_host=None, from_host=None, **device):
    inbox = Inbox()
    config = ShelfNode(
        id="node-1",
        port=str(tmp_path / "shelf"),
        plates=tuple(f"p{i}" for i in range(plates)),
    )
    node = ShelfNodeDevice(
        tmp_path / "shelf", **{"plates": plates} | device, to_host=to_host, from_host=from_host
    )
    driver = ShelfNodeDriver(config, inbox)
    async with running(driver, node):
        await until(lambda: driver.health.counters["connections"] == 1)
        await asyncio.sleep(0.06)  # the emulator looks for its reader each 50 ms
        yield inbox, node, driver


@contextlib.asynccontextmanager
async def gate(tmp_path, to_host=None, from_host=None, **options):
    inbox = Inbox()
    config = GateNode(id="gate-node", port=str(tmp_path / "gate"), gate="g")
    node = GateNodeDevice(tmp_path / "gate", to_host=to_host, from_host=from_host)
    driver = GateNodeDriver(config, inbox, **options)
    async with running(driver, node):
        await until(lambda: DeviceState.ONLINE in inbox.states())
        yield inbox, node, driver


def batch(node, k, plates=3, samples=4, flags=0, ticks_from=0):
    counts = np.arange(samples * plates, dtype=np.int32).reshape(samples, plates) + 1000 * k
    ticks = ticks_from + k * samples * 16_667
    node.send_samples(ticks, 16_667, np.full(plates, flags, np.uint8), counts)


def unlock(inbox, number=1, passages=1, within_s=3.0):
    return UnlockGate(
        id=f"store-{number}-c0",
        not_after_ns=inbox.now_ns() + round(within_s * SECOND_NS),
        gate="g",
        visit="v",
        passages=passages,
    )


# --- shelf nodes --------------------------------------------------------------------------------


@each_wire
def test_a_shelf_driver_gives_each_batch_once_and_in_order_over_any_wire(tmp_path, kind):
    async def story():
        async with shelf(tmp_path, to_host=kind(5)) as (inbox, node, driver):
            for k in range(60):
                batch(node, k)
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.1)
            node.port._to_host = CleanWire()
            batch(node, 60)
            await until(lambda: any(s.sequence == 60 for s in inbox.of(ShelfSamples)))
            sequences = [s.sequence for s in inbox.of(ShelfSamples)]
            assert sequences == sorted(set(sequences))
            for seen in inbox.of(ShelfSamples):
                assert seen.readings[0, 0] == 1000 * seen.sequence
                assert seen.ticks_us == seen.sequence * 4 * 16_667
            counters = driver.health.counters
            missing = set(range(61)) - set(sequences)
            assert counters["lost"] == len(set(range(sequences[0], 61)) - set(sequences))
            assert bool(missing) <= kind.loses
            assert len(sequences) > 30
            assert counters["reboots"] == 0

    asyncio.run(story())


def test_repeated_batches_are_dropped_and_counted(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            for k in (0, 1, 2):
                batch(node, k)
                node._sequence = k  # the same packet again
                batch(node, k)
            await until(lambda: driver.health.counters["repeated"] == 3)
            assert [s.sequence for s in inbox.of(ShelfSamples)] == [0, 1, 2]

    asyncio.run(story())


def test_a_restarted_node_is_recognised_and_not_taken_for_a_gap(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            for k in range(5):
                batch(node, k)
            node.reboot()
            for k in range(5):
                batch(node, k, ticks_from=40)
            await until(lambda: len(inbox.of(ShelfSamples)) == 10)
            assert driver.health.counters["reboots"] == 1
            assert driver.health.counters["lost"] == 0
            assert driver.health.counters["repeated"] == 0

    asyncio.run(story())


def test_ticks_and_sequence_that_wrap_are_no_restart(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            node._sequence = 65_534
            for k in range(4):
                batch(node, k, ticks_from=2**32 - 2 * 4 * 16_667)
            await until(lambda: len(inbox.of(ShelfSamples)) == 4)
            assert [s.sequence for s in inbox.of(ShelfSamples)] == [65_534, 65_535, 0, 1]
            assert driver.health.counters["reboots"] == driver.health.counters["lost"] == 0

    asyncio.run(story())


def test_an_unplugged_node_is_unknown_and_comes_back_under_the_same_name(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            batch(node, 0)
            await until(lambda: len(inbox.of(ShelfSamples)) == 1)
            node.port.unplug()
            await until(lambda: inbox.states()[-1] is DeviceState.UNPLUGGED)
            before = len(inbox.of(ShelfSamples))
            node.port.plug()
            await until(lambda: driver.health.counters["connections"] == 2)
            await asyncio.sleep(0.06)
            assert len(inbox.of(ShelfSamples)) == before  # nothing was made up
            batch(node, 1)
            await until(lambda: inbox.of(ShelfSamples)[-1].sequence == 1)
            await until(lambda: inbox.states()[-1] is DeviceState.ONLINE)

    asyncio.run(story())


def test_a_port_that_does_not_exist_is_unplugged_and_names_itself(tmp_path):
    async def story():
        inbox = Inbox()
        config = ShelfNode(id="n", port=str(tmp_path / "nothing"), plates=("p",))
        task = asyncio.create_task(ShelfNodeDriver(config, inbox).run())
        await until(lambda: inbox.states() == [DeviceState.UNPLUGGED])
        assert "nothing" in inbox.of(DeviceHealth)[0].detail
        task.cancel()

    asyncio.run(story())


def test_a_node_that_stops_sending_is_silent_not_zero(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, _):
            batch(node, 0)
            await until(lambda: len(inbox.of(ShelfSamples)) == 1)
            before = len(inbox.of(ShelfSamples))
            inbox.pushed_ns += 3 * SECOND_NS
            await until(lambda: inbox.states()[-1] is DeviceState.SILENT)
            assert len(inbox.of(ShelfSamples)) == before

    asyncio.run(story())


def test_health_comes_every_ten_seconds_with_its_counters(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, _):
            for k in range(3):
                batch(node, k)
            await until(lambda: len(inbox.of(ShelfSamples)) == 3)
            before = len(inbox.of(DeviceHealth))
            inbox.pushed_ns += 10 * SECOND_NS
            batch(node, 3)
            await until(lambda: len(inbox.of(DeviceHealth)) > before)
            assert inbox.of(DeviceHealth)[-1].counters["packets"] >= 3

    asyncio.run(story())


def test_another_number_of_plates_gives_no_readings_and_says_what_to_do(tmp_path):
    async def story():
        async with shelf(tmp_path, plates=3) as (inbox, node, driver):
            driver._config = ShelfNode(id="node-1", port="x", plates=("p0", "p1"))
            batch(node, 0)
            await until(lambda: DeviceState.FAULT in inbox.states())
            detail = inbox.of(DeviceHealth)[-1].detail
            assert "3 plates" in detail
            assert "lists 2" in detail
            assert "[[shelf_node]]" in detail
            assert inbox.of(ShelfSamples) == []

    asyncio.run(story())


def test_the_wrong_node_on_a_port_is_named(tmp_path):
    async def story():
        async with shelf(tmp_path, node=7) as (inbox, node, driver):
            driver._config = ShelfNode(id="node-1", port="x", plates=("p0", "p1", "p2"), node=3)
            batch(node, 0)
            await until(lambda: driver.health.counters["other_node"] == 1)
            assert "node 7 answers" in driver.health.detail
            assert inbox.of(ShelfSamples) == []

    asyncio.run(story())


def test_an_exchanged_board_is_named(tmp_path):
    async def story():
        async with shelf(tmp_path, hardware_id="BOARD-A") as (_, node, driver):
            await until(lambda: driver._hardware_id == "BOARD-A")
            node.stop()
            await until(lambda: driver.health.state is DeviceState.UNPLUGGED)
            other = ShelfNodeDevice(tmp_path / "shelf", 3, hardware_id="BOARD-B")
            other.start()
            await until(lambda: "BOARD-B, before BOARD-A" in driver.health.detail)
            other.stop()

    asyncio.run(story())


def test_plates_with_flags_are_named_in_the_health(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            batch(node, 0, flags=int(PlateFlag.SATURATED | PlateFlag.STUCK))
            await until(lambda: "p1 saturated+stuck" in driver.health.detail)
            assert inbox.of(ShelfSamples)[0].flags.tolist() == [5, 5, 5]

    asyncio.run(story())


def test_a_node_of_another_protocol_version_is_named_once_it_is_silent(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            node._answer = lambda packet, sequence: None
            await asyncio.sleep(0.05)
            inbox.got.clear()
            node.port.send(encode_frame(Frame(type=1, node=1, sequence=1, version=9)))
            await until(lambda: driver.health.counters["wrong_version"] == 1)
            inbox.pushed_ns += 3 * SECOND_NS
            await until(lambda: driver.health.state is DeviceState.SILENT)
            assert "version 9" in driver.health.detail

    asyncio.run(story())


def test_a_flood_is_bounded_and_the_next_packet_is_read(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            deadline = time.monotonic() + 10
            while not driver.health.counters["oversize"] and time.monotonic() < deadline:
                node.port.send(b"\x55" * 3_000)
                await asyncio.sleep(0.001)
                assert driver._reader.held_bytes <= FRAME_BYTES_MAX
            await asyncio.sleep(0.1)
            batch(node, 0)
            await until(lambda: len(inbox.of(ShelfSamples)) == 1)
            assert driver.health.counters["oversize"] == 1
            assert len(inbox.of(DeviceHealth)) < 20

    asyncio.run(story())


def test_a_babbling_node_cannot_fill_the_inbox_with_its_health(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, _):
            wrong = wire.Samples(
                ticks_us=1,
                sample_period_us=1,
                flags=np.zeros(1, np.uint8),
                counts=np.zeros((1, 1), np.int32),
            )
            for k in range(100):
                node._send(wrong, k)
                batch(node, k)
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)
            assert len(inbox.of(DeviceHealth)) < 15

    asyncio.run(story())


@each_wire
def test_a_tare_is_carried_out_once_over_any_wire(tmp_path, kind):
    async def story():
        wires = {"to_host": kind(1), "from_host": kind(2)}
        async with shelf(tmp_path, **wires) as (inbox, node, driver):
            batch(node, 0)
            tare = TareShelf(
                id="s-1-c0",
                not_after_ns=inbox.now_ns() + 4 * SECOND_NS,
                device="node-1",
                plates=("p1",),
            )
            await driver.command(tare)
            assert driver.health.counters["commands_done"] == 1
            assert node.tares == 1
            assert node._zero.tolist() == [0, 10, 0]

    asyncio.run(story())


def test_a_tare_of_a_foreign_plate_is_not_sent(tmp_path):
    async def story():
        async with shelf(tmp_path) as (inbox, node, driver):
            tare = TareShelf(
                id="s-1-c0", not_after_ns=inbox.now_ns() + SECOND_NS, device="n", plates=("zzz",)
            )
            with pytest.raises(CommandRefusedError):
                await driver.command(tare)
            assert driver.health.counters["commands_failed"] == 1
            assert node.tares == 0

    asyncio.run(story())


# --- gates --------------------------------------------------------------------------------------


@each_wire
def test_a_party_passes_a_gate_once_each_over_any_wire(tmp_path, kind):
    async def story():
        wires = {"to_host": kind(3), "from_host": kind(4)}
        async with gate(tmp_path, **wires) as (inbox, node, driver):
            await driver.command(unlock(inbox, passages=2))
            assert node.unlocks == 1
            assert node.pass_in()
            assert node.pass_in()
            node.pass_out()
            await until(lambda: not node._kept, within_s=8)
            assert len(inbox.signals(GateSignalKind.ENTER)) == 2
            assert len(inbox.signals(GateSignalKind.EXIT)) == 1
            assert len(inbox.signals(GateSignalKind.OPENED)) == 1
            assert len(inbox.signals(GateSignalKind.CLOSED)) == 1
            assert inbox.signals(GateSignalKind.FORCED) == []
            assert not node.unlocked
            assert driver.health.counters["commands_done"] == 1

    asyncio.run(story())


def test_a_repeated_unlock_lets_nobody_else_in(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            command = unlock(inbox)
            await driver.command(command)
            assert node.pass_in()
            await driver.command(command)  # a daemon that restarted runs it again
            assert node.unlocks == 1
            assert node.repeated_commands == 1
            assert not node.unlocked
            assert not node.pass_in()
            await until(lambda: len(inbox.signals(GateSignalKind.FORCED)) == 1)
            assert len(inbox.signals(GateSignalKind.ENTER)) == 1

    asyncio.run(story())


def test_an_unlock_whose_answer_is_lost_is_asked_again_and_done_once(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            answers = node._send

            def deaf(packet, sequence):
                if type(packet).__name__ != "Unlocked" or node.repeated_commands:
                    answers(packet, sequence)

            node._send = deaf
            await driver.command(unlock(inbox))
            assert node.unlocks == 1
            assert node.repeated_commands >= 1
            assert driver.health.counters["commands_done"] == 1
            assert driver.health.counters["commands_repeated"] >= 1

    asyncio.run(story())


def test_a_command_too_late_is_not_sent(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            await driver.command(unlock(inbox, within_s=-0.001))
            assert node.unlocks == 0
            assert driver.health.counters["commands_failed"] == 1

    asyncio.run(story())


def test_an_unlock_to_a_gate_that_is_gone_gives_up_at_its_last_instant(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            node.port.unplug()
            started_s = time.monotonic()
            await driver.command(unlock(inbox, within_s=0.6))
            assert 0.5 < time.monotonic() - started_s < 1.5
            assert driver.health.counters["commands_failed"] == 1

    asyncio.run(story())


def test_a_barrier_that_does_not_move_is_a_fault_and_the_daemon_may_ask_again(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            node._once = lambda command: Result.FAULT
            with pytest.raises(CommandRefusedError):
                await driver.command(unlock(inbox))
            assert driver.health.state is DeviceState.FAULT
            del node._once
            await driver.command(unlock(inbox))
            assert node.unlocks == 1

    asyncio.run(story())


def test_a_barrier_closes_when_nobody_comes(tmp_path):
    async def story():
        async with gate(tmp_path, hold_ms=100, gap_ms=100) as (inbox, node, driver):
            await driver.command(unlock(inbox))
            await until(lambda: len(inbox.signals(GateSignalKind.CLOSED)) == 1)
            assert not node.pass_in()

    asyncio.run(story())


def test_a_smaller_party_than_said_does_not_leave_the_barrier_open(tmp_path):
    async def story():
        async with gate(tmp_path, hold_ms=5000, gap_ms=100) as (inbox, node, driver):
            await driver.command(unlock(inbox, passages=3))
            assert node.pass_in()
            await until(lambda: len(inbox.signals(GateSignalKind.CLOSED)) == 1)
            assert not node.unlocked

    asyncio.run(story())


def test_a_refusal_shows_its_reason_once(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            shown = []
            node.on_refused = shown.append
            refuse = RefuseEntry(
                id="s-1-c0",
                not_after_ns=inbox.now_ns() + SECOND_NS,
                gate="g",
                reason=RefusalReason.EXPIRED,
            )
            await driver.command(refuse)
            await driver.command(refuse)
            assert shown == [5]

    asyncio.run(story())


def test_egress_is_free_with_no_daemon_and_known_to_the_next_one(tmp_path):
    async def story():
        node = GateNodeDevice(tmp_path / "gate")
        node.start()
        for _ in range(3):
            node.pass_out()  # returns at once: nothing is asked of anybody
        inbox = Inbox()
        config = GateNode(id="gate-node", port=str(tmp_path / "gate"), gate="g")
        driver = GateNodeDriver(config, inbox)
        task = asyncio.create_task(driver.run())
        await until(lambda: len(inbox.signals(GateSignalKind.EXIT)) == 3)
        await until(lambda: not node._kept)
        task.cancel()
        node.stop()

    asyncio.run(story())


def test_a_silent_gate_is_said_to_be_silent(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, _):
            node._running.cancel()
            inbox.pushed_ns += 4 * SECOND_NS
            await until(lambda: inbox.states()[-1] is DeviceState.SILENT)

    asyncio.run(story())


def test_a_restarted_controller_is_closed_and_its_events_are_new(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            node.pass_out()
            await until(lambda: not node._kept)
            await asyncio.sleep(1.05)  # a second status, later than zero
            node.reboot()
            node.pass_out()
            await until(lambda: len(inbox.signals(GateSignalKind.EXIT)) == 2)
            await until(lambda: driver.health.counters["reboots"] == 1)

    asyncio.run(story())


def test_a_passage_is_acknowledged_only_once_it_is_journalled(tmp_path):
    async def story():
        async with gate(tmp_path) as (inbox, node, driver):
            inbox.journal_stalls = True
            node.pass_out()
            await until(lambda: driver.health.counters["repeated"] >= 1)  # sent again meanwhile
            assert len(node._kept) == 1
            (exit_,) = inbox.signals(GateSignalKind.EXIT)
            assert exit_.number is not None
            (journalled,) = inbox.unsaid
            journalled()
            await until(lambda: not node._kept)
            assert len(inbox.signals(GateSignalKind.EXIT)) == 1

    asyncio.run(story())


def test_a_passage_that_a_killed_daemon_had_not_journalled_comes_again_with_its_number(tmp_path):
    async def story():
        numbers = []
        node = GateNodeDevice(tmp_path / "gate")
        config = GateNode(id="gate-node", port=str(tmp_path / "gate"), gate="g")
        node.start()
        for stalls in (True, False):
            inbox = Inbox()
            inbox.journal_stalls = stalls
            driver = asyncio.create_task(GateNodeDriver(config, inbox).run())
            if stalls:
                node.pass_out()
            await until(lambda box=inbox: box.signals(GateSignalKind.EXIT))
            numbers += [s.number for s in inbox.signals(GateSignalKind.EXIT)]
            if not stalls:
                await until(lambda: not node._kept)
            driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await driver
        node.stop()
        assert len(numbers) == 2
        assert numbers[0] == numbers[1]

    asyncio.run(story())


def test_a_shelf_node_on_the_gates_port_is_named(tmp_path):
    async def story():
        inbox = Inbox()
        node = ShelfNodeDevice(tmp_path / "gate", 4)
        config = GateNode(id="gate-node", port=str(tmp_path / "gate"), gate="g")
        driver = GateNodeDriver(config, inbox)
        async with running(driver, node):
            await until(lambda: driver.health.state is DeviceState.FAULT)
            assert "a shelf node" in driver.health.detail

    asyncio.run(story())


def test_a_command_for_another_kind_of_device_is_counted(tmp_path):
    async def story():
        async with gate(tmp_path) as (_, __, driver):
            clip = KeepClip(
                id="x", not_after_ns=2**62, cameras=(), started_at_ns=0, ended_at_ns=1, reason=""
            )
            await driver.command(clip)
            assert driver.health.counters["commands_failed"] == 1

    asyncio.run(story())


# --- readers ------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def reader(tmp_path, to_host=None):
    inbox = Inbox()
    device = ReaderDevice(tmp_path / "reader", to_host=to_host)
    config = Reader(id="reader-1", port=str(tmp_path / "reader"), gate="g")
    driver = ReaderDriver(config, inbox)
    async with running(driver, device):
        await until(lambda: inbox.states() == [DeviceState.ONLINE])
        yield inbox, device, driver


@each_wire
def test_a_token_is_read_whole_over_any_wire(tmp_path, kind):
    async def story():
        async with reader(tmp_path, to_host=kind(6)) as (inbox, device, _):
            for _ in range(10):
                device.scan(TOKEN)
                await asyncio.sleep(0.03)
            await asyncio.sleep(0.05)
            texts = [s.credential for s in inbox.signals(GateSignalKind.CREDENTIAL)]
            if not kind.loses:
                assert set(texts) == {TOKEN}
                assert len(texts) >= 10
            device.port._to_host = CleanWire()
            device.port.send(b"\r\n")
            device.scan(TOKEN + "X")
            await until(
                lambda: (
                    inbox.signals(GateSignalKind.CREDENTIAL)[-1:]
                    and inbox.signals(GateSignalKind.CREDENTIAL)[-1].credential == TOKEN + "X"
                )
            )

    asyncio.run(story())


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n", b"\r\n\r\n"])
def test_every_usual_end_of_line_ends_one_token(tmp_path, end):
    async def story():
        async with reader(tmp_path) as (inbox, device, _):
            device.port.send(b"one" + end + b"two" + end)
            await until(lambda: len(inbox.of(GateSignal)) == 2)
            assert [s.credential for s in inbox.of(GateSignal)] == ["one", "two"]

    asyncio.run(story())


def test_what_cannot_be_a_token_is_counted_and_kept_out(tmp_path):
    async def story():
        async with reader(tmp_path) as (inbox, device, driver):
            device.scan("caf\u00e9")
            device.port.send(b"A" * (LINE_BYTES_MAX + 1))
            device.port.send(b"B" * 500 + b"\r\n")
            device.scan("good")
            await until(lambda: len(inbox.of(GateSignal)) == 1)
            assert inbox.of(GateSignal)[0].credential == "good"
            assert driver.health.counters["not_ascii"] == 1
            assert driver.health.counters["overlong"] == 1

    asyncio.run(story())


def test_half_a_token_does_not_stick_to_the_next_one(tmp_path):
    async def story():
        async with reader(tmp_path) as (inbox, device, driver):
            device.port.send(b"v4.public.half")
            await until(lambda: driver.health.counters["bytes"] == 14)
            inbox.pushed_ns += 2 * SECOND_NS
            device.scan("whole")
            await until(lambda: len(inbox.of(GateSignal)) == 1)
            assert inbox.of(GateSignal)[0].credential == "whole"
            assert driver.health.counters["cut_off"] == 1

    asyncio.run(story())


def test_a_reader_unplugged_is_said_so_and_comes_back(tmp_path):
    async def story():
        async with reader(tmp_path) as (inbox, device, _):
            device.port.unplug()
            await until(lambda: inbox.states()[-1] is DeviceState.UNPLUGGED)
            device.port.plug()
            await until(lambda: inbox.states()[-1] is DeviceState.ONLINE)
            device.scan("again")
            await until(lambda: len(inbox.of(GateSignal)) == 1)

    asyncio.run(story())
