"""The command line answers a mistake with one line that names it, and helps with examples."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sim.first_store import first_store
from sim.store_toml import write_store


def walkout(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "walkout", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("check",),
        ("run",),
        ("sync", "status"),
        ("sync", "receipts"),
        ("review", "list"),
        ("mode", "open"),
    ],
)
def test_a_missing_store_toml_is_one_line_that_names_it(tmp_path, arguments):
    done = walkout(*arguments, "--config", "nowhere.toml", cwd=tmp_path)
    assert done.returncode != 0
    (line,) = done.stderr.strip().splitlines()
    assert "nowhere.toml" in line


def test_a_fine_store_toml_is_counted(tmp_path):
    write_store(first_store(), tmp_path / "store.toml")
    done = walkout("check", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["facings"] == 60
    assert done.returncode == 0


def test_an_unknown_key_names_the_nearest_known_one(tmp_path):
    file = tmp_path / "store.toml"
    write_store(first_store(), file)
    file.write_text(file.read_text().replace("width_m", "widht_m", 1))
    done = walkout("check", cwd=tmp_path)
    assert "did you mean width_m?" in done.stderr
    assert done.returncode == 2


def test_the_version_is_the_distributions(tmp_path):
    from importlib.metadata import version

    assert walkout("--version", cwd=tmp_path).stdout == f"walkout {version('walkout')}\n"


def test_an_unknown_bench_or_mode_names_those_there_are(tmp_path):
    assert "there are: pipeline" in walkout("bench", "nope", cwd=tmp_path).stderr
    assert "open, closing, closed" in walkout("mode", "ajar", cwd=tmp_path).stderr


def test_every_command_has_help_and_most_an_example(tmp_path):
    from typer.main import get_command

    from walkout import app

    def commands(group, path=()):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, (*path, name))
            else:
                yield (*path, name), command

    found = dict(commands(get_command(app)))
    assert len(found) > 12
    for path, command in found.items():
        assert command.help, path
        assert "xample" in (command.epilog or ""), path


def test_no_help_has_brackets_that_the_terminal_takes_for_colours():
    from typer.main import get_command

    from walkout import app

    def texts(command, path=()):
        yield path, command.help or ""
        for parameter in command.params:
            yield (*path, parameter.name), getattr(parameter, "help", None) or ""
        for name, inner in getattr(command, "commands", {}).items():
            yield from texts(inner, (*path, name))

    shown = list(texts(get_command(app)))
    assert len(shown) > 100
    assert [path for path, text in shown if re.search(r"(?<!\\)\[[a-z\[]", text)] == []
