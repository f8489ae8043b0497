"""Brokers for the tests: one that all share, and ones that a test starts for itself."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_broker import Broker, start_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the tests that only use it; each takes accounts of its own."""
    running = start_broker(tmp_path_factory.mktemp("broker"))
    yield running
    running.end()


@pytest.fixture
def start() -> Iterator[Callable[[Path], Broker]]:
    """Starts brokers and ends those that a test leaves behind."""
    started: list[Broker] = []

    def begin(directory: Path) -> Broker:
        started.append(start_broker(directory))
        return started[-1]

    yield begin
    for running in started:
        running.end(signal.SIGKILL)
