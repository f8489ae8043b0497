"""Retailers for the tests: one that all share, and ones that a test starts for itself."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_retailer import RunningRetailer, start_retailer


@pytest.fixture(scope="session")
def retailer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRetailer]:
    running = start_retailer(tmp_path_factory.mktemp("retailer"))
    yield running
    running.end()


@pytest.fixture
def open_shop() -> Iterator[Callable[..., RunningRetailer]]:
    """Starts retailers and ends those that a test leaves behind."""
    started: list[RunningRetailer] = []

    def begin(directory: Path, faults: str = "") -> RunningRetailer:
        started.append(start_retailer(directory, faults))
        return started[-1]

    yield begin
    for running in started:
        running.end(signal.SIGKILL)
