"""Brokers and ledgers for the tests, on SQLite and on a PostgreSQL started for the occasion."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from both_databases import KINDS, Databases, Ledger
from running_broker import Broker, start_broker

from bench.temporary_postgresql import WITHOUT, Cluster, program


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes empty databases; the PostgreSQL cluster is gone at the end."""
    started: list[Cluster] = []

    @cache
    def cluster() -> Cluster:
        if program("postgres") is None:
            pytest.skip(WITHOUT)
        started.append(Cluster.start(durable=False))
        return started[0]

    yield Databases(cluster)
    for running in started:
        running.end()


@pytest.fixture(params=KINDS)
def ledger(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """An empty ledger of its own."""
    where = databases.new(request.param)
    opened = Ledger(where)
    yield opened
    opened.close()
    databases.drop(where)


@pytest.fixture(scope="session", params=KINDS)
def broker(
    databases: Databases,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Broker]:
    """One broker for the tests that only use it; each takes accounts of its own."""
    url = databases.new(request.param).url if request.param == "postgresql" else ""
    running = start_broker(tmp_path_factory.mktemp("broker"), url)
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
