"""The units: accepted by systemd, sandboxed to a score, and in step with the code."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.daemon import EXIT_CONFIG
from edge.watchdog import DEADLINES_S, PING_EVERY_S

FOLDER = Path(__file__).parents[2] / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
EXPOSURE_MAX = 20  # of 100: systemd-analyze's 2.0

pytestmark = pytest.mark.timeout(60)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    assert tool, "install systemd: tests/system-packages.sh tests"
    return subprocess.run([tool, *words], capture_output=True, text=True, check=False)


def exposed(unit: Path) -> subprocess.CompletedProcess[str]:
    return analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", str(unit))


def settings(unit: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser["Service"])


def verified(unit: Path, folder: Path, text: str) -> str:
    """What systemd says about a unit whose program is one that this machine has."""
    copy = folder / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    found = analyze("verify", "--man=no", str(copy))
    return "\n".join(line for line in found.stderr.splitlines() if unit.name in line)


def test_each_process_of_a_store_has_a_unit() -> None:
    names = [unit.stem for unit in UNITS]
    assert names == ["walkout-broker", "walkout-cameras", "walkout-daemon", "walkout-sync"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_sandboxed(unit: Path) -> None:
    found = exposed(unit)
    assert found.returncode == 0, found.stdout[-300:]


def test_unit_without_its_sandbox_is_reported(tmp_path: Path) -> None:
    text = (FOLDER / "walkout-daemon.service").read_text()
    bare = tmp_path / "bare.service"
    bare.write_text(re.sub(r"^(Protect|Restrict|SystemCall|Private)\w+=.*\n", "", text, flags=re.M))
    assert exposed(bare).returncode != 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    assert verified(unit, tmp_path, text) == ""
    wrong = text.replace("[Service]\n", "[Service]\nRestrat=always\n")
    assert "Restrat" in verified(unit, tmp_path, wrong)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_starts_a_command_that_exists(unit: Path) -> None:
    program, *words = settings(unit)["ExecStart"].split()
    assert program == "/usr/bin/walkout"
    verbs = words[: next(i for i, word in enumerate(words) if word.startswith("--"))]
    code = "import walkout; walkout.main()"
    command = [sys.executable, "-c", code, *verbs, "--help"]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=FOLDER.parent, timeout=50
    )
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_restarts_always_but_not_on_a_wrong_configuration(unit: Path) -> None:
    service = settings(unit)
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(EXIT_CONFIG)


def test_watchdog_of_the_unit_is_slower_than_the_daemons_own_deadlines() -> None:
    service = settings(FOLDER / "walkout-daemon.service")
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) > max(DEADLINES_S.values()) + 3 * PING_EVERY_S
