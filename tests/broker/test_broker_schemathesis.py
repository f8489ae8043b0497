"""The running service against its own OpenAPI document, by schemathesis; the books stay sound."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from both_databases import Ledger
from running_broker import Broker

from broker import books
from broker.systems import invariants

CONFIG = Path(__file__).parent / "schemathesis.toml"
TOOL = Path(sys.executable).parent / "schemathesis"
# Every bound of every field costs a request: of some routes only. All have a request or more below.
CLOSELY = "^/v1/(holds$|merchants/{id}$)"


def asked(broker: Broker, folder: Path, *options: str, config: Path = CONFIG) -> tuple[int, str]:
    """Run the tool; its status and what it says."""
    command = [str(TOOL), "--config-file", str(config), "run", f"{broker.url}/openapi.json"]
    found = subprocess.run(
        [*command, "--seed", "7", "--no-color", "--continue-on-failure", *options],
        env={**os.environ, "BROKER_KEY": broker.key()},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return found.returncode, found.stdout + found.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--phases", "fuzzing", "--max-examples", "1"),
        ("--phases", "coverage", "--include-path-regex", CLOSELY),
    ],
    ids=["every route", "every bound of some"],
)
def test_schemathesis_finds_no_error(
    start: Callable[[Path], Broker], tmp_path: Path, options: tuple[str, ...]
) -> None:
    broker = start(tmp_path)
    status, said = asked(broker, tmp_path, *options)
    assert status == 0, said[-6_000:]
    assert "Traceback" not in broker.log()
    ledger = Ledger(broker.where())
    assert ledger.ask(books.breaches) == {}
    assert ledger.ask(invariants.breaches) == {}
    ledger.close()


def test_schemathesis_would_say_so(start: Callable[[Path], Broker], tmp_path: Path) -> None:
    """Without our word for a missing If-Match it takes the 428 for a fault."""
    broker = start(tmp_path)
    plain = tmp_path / "plain.toml"
    plain.write_text(CONFIG.read_text().partition("[checks.missing")[0])
    options = ("--phases", "coverage", "--include-path-regex", "^/v1/merchants/{id}$")
    status, said = asked(broker, tmp_path, *options, config=plain)
    assert status == 1
    assert "428" in said
