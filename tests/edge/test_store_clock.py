"""Store time never goes back, whatever the machine's clocks do."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from edge.store_clock import (
    REBOOT_GAP_NS_MAX,
    START_NS,
    UNCERTAINTY_NOT_SET_MS,
    UNCERTAINTY_UNKNOWN_MS,
    ClockBase,
    StoreClock,
    boot_id,
    clock_error_ms,
)

S = 1_000_000_000
WALL = 1_800_000_000 * S


@dataclass
class Machine:
    """The clocks of a pretended machine."""

    monotonic: int = 50 * S
    wall: int = WALL
    boot: str = "boot-1"
    error_ms: float | None = 20.0

    def clock(self, base: ClockBase | None = None, not_before_ns: int = 0) -> StoreClock:
        return StoreClock(
            base,
            not_before_ns=not_before_ns,
            monotonic_ns=lambda: self.monotonic,
            wall_ns=lambda: self.wall,
            boot=lambda: self.boot,
            kernel_error_ms=lambda: self.error_ms,
        )

    def advance(self, ns: int) -> None:
        self.monotonic += ns
        self.wall += ns

    def reboot(self, *, wall_gap_ns: int) -> None:
        self.boot, self.monotonic = self.boot + "'", 3 * S
        self.wall += wall_gap_ns


def test_new_store_starts_at_its_first_instant_and_follows_the_monotonic_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now_ns() == START_NS
    machine.advance(7)
    machine.wall -= 100 * S
    assert clock.now_ns() == START_NS + 7


def test_restart_counts_the_time_the_daemon_was_down() -> None:
    machine = Machine()
    base = machine.clock().base()
    machine.advance(40 * S)
    assert machine.clock(base).now_ns() == START_NS + 40 * S


def test_reboot_takes_the_gap_from_the_wall_clock() -> None:
    machine = Machine()
    base = machine.clock().base()
    machine.reboot(wall_gap_ns=90 * S)
    assert machine.clock(base).now_ns() == START_NS + 90 * S


def test_reboot_with_a_dead_clock_battery_does_not_go_back() -> None:
    machine = Machine()
    base = machine.clock().base()
    machine.reboot(wall_gap_ns=-WALL)
    clock = machine.clock(base, not_before_ns=START_NS + 5 * S)
    assert clock.now_ns() == START_NS + 5 * S + 1
    assert clock.anchor().uncertainty_ms == UNCERTAINTY_NOT_SET_MS


def test_wild_wall_clock_after_a_reboot_is_bounded() -> None:
    machine = Machine()
    base = machine.clock().base()
    machine.reboot(wall_gap_ns=100 * 365 * 86_400 * S)
    assert machine.clock(base).now_ns() == START_NS + REBOOT_GAP_NS_MAX


def test_anchor_says_how_sure_the_wall_clock_is() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.anchor().uncertainty_ms == 20.0
    machine.error_ms = None
    assert clock.anchor().uncertainty_ms == UNCERTAINTY_UNKNOWN_MS
    machine.wall -= 3600 * S
    assert clock.anchor().uncertainty_ms == UNCERTAINTY_NOT_SET_MS
    machine.wall += 3600 * S
    assert clock.anchor().uncertainty_ms == UNCERTAINTY_UNKNOWN_MS


def test_set_wall_clock_asks_for_a_new_anchor_once() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.advance(30 * S)
    assert not clock.wall_stepped()
    machine.wall += S
    assert clock.wall_stepped()
    clock.anchor()
    assert not clock.wall_stepped()


def test_wall_time_of_a_camera_becomes_store_time_by_the_clocks_as_they_are() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.advance(10 * S)
    assert clock.wall_to_store_ns(machine.wall - 2 * S) == clock.now_ns() - 2 * S
    machine.wall += 5 * S  # somebody sets the clock of both machines
    assert clock.wall_to_store_ns(machine.wall - 2 * S) == clock.now_ns() - 2 * S


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["run", "restart", "reboot"]),
            st.integers(0, 10**15),
            st.integers(-(10**18), 10**18),
        ),
        max_size=20,
    )
)
def test_store_time_never_goes_back(story: list[tuple[str, int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    base, last = clock.base(), clock.now_ns()
    for what, ns, wall_jump in story:
        machine.advance(ns)
        machine.wall = max(machine.wall + wall_jump, 0)
        if what == "reboot":
            machine.reboot(wall_gap_ns=0)
        if what != "run":  # the journal holds the base and the newest step
            clock = machine.clock(base, not_before_ns=last)
        assert clock.now_ns() >= last
        base, last = clock.base(), clock.now_ns()


def test_this_machine_has_a_boot_id_and_a_readable_clock_state() -> None:
    assert len(boot_id()) == 36
    error = clock_error_ms()
    assert error is None or 0 <= error < 1e9
    assert StoreClock().now_ns() >= START_NS
