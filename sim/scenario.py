"""Scenario files: TOML -> ``Scenario``, and back. ``docs/SCENARIOS.md`` is the handbook.

Strict: an unknown key, a wrong type, a value out of range, or a facing, SKU, party, mark, gate or
device that does not exist is an error that names the file, the line and the remedy. Every problem
of a file is reported, not only the first. The file's name is the scenario's name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.toml_lines import Path as Place
from edge.toml_lines import lines_of
from messages.store_config import StoreConfig
from sim.layouts import LayoutError, layout
from sim.scenario_read import Problem, Reading, nearest
from sim.scenario_rules import problems
from sim.script import Scenario

SCENARIOS = Path(__file__).parent / "scenarios"
SCENARIO_BYTES_MAX = 256 * 1024  # the library's largest has 5 kB
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")  # it stands in folder names and reports


class ScenarioError(ValueError):
    """A scenario that cannot be run. ``problems``: one line each, in order of the file."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        many = f"{len(problems)} problems:\n  " if len(problems) > 1 else ""
        super().__init__(many + "\n  ".join(problems))


def load(path: Path | str) -> Scenario:
    """Read and check a scenario file, with its store.

    Raises:
        ScenarioError: with every problem found.
    """
    path = Path(path)
    scenario = parse(_text(path), name=path.stem, file=str(path))
    return replace(scenario, store=_store(scenario.store, path.parent))


def parse(text: str, *, name: str, file: str = "") -> Scenario:
    """The checked scenario in a text. ``file``: how errors call it.

    Raises:
        ScenarioError: with every problem found.
    """
    file = file or f"{name}.toml"
    if not NAME.fullmatch(name):
        raise ScenarioError([f"{file}: a scenario's name has a-z, 0-9 and '-'; rename the file"])
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([_not_toml(file, error)]) from error
    lines = lines_of(text)
    reading = Reading()
    scenario = reading.table(Scenario, _spelled_out(document, reading), ())
    if reading.problems:
        raise ScenarioError(_explained(reading.problems, lines, file))
    scenario = replace(scenario, name=name)
    try:
        config = layout(_store(scenario.store, Path(file).parent))
    except LayoutError as error:
        found = [Problem(("store",), f"store: {line}") for line in str(error).splitlines()]
        raise ScenarioError(_explained(found, lines, file)) from error
    if found := problems(scenario, config):
        raise ScenarioError(_explained(found, lines, file))
    assert isinstance(scenario, Scenario)
    return scenario


def check(scenario: Scenario, config: StoreConfig) -> None:
    """Whether a scenario made by a program fits a store.

    Raises:
        ScenarioError: with every problem found; places are paths of keys, as there is no file.
    """
    if found := problems(scenario, config):
        raise ScenarioError(
            [f"{scenario.name}.toml: {_path(problem.path)}{problem.text}" for problem in found]
        )


def find(name_or_path: str | Path) -> Path:
    """The file of a scenario: one of the library by name, or a path.

    Raises:
        ScenarioError: there is none; says the nearest name.
    """
    name = str(name_or_path)
    path = Path(name)
    if name.endswith(".toml") or path.parent != Path():
        if path.is_file():
            return path
        raise ScenarioError([f"{name}: no such file; `walkout sim list` names the library"])
    if name not in names():
        raise ScenarioError([f"no scenario {name!r}; {nearest(name, names())}"])
    return SCENARIOS / f"{name}.toml"


def names() -> list[str]:
    """Names of the library, sorted."""
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def library() -> list[Scenario]:
    """Every scenario of the library, sorted by name."""
    return [load(SCENARIOS / f"{name}.toml") for name in names()]


# --- helpers ------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScenarioError([f"{path}: cannot be read: {reason}; correct the path"]) from error
    if len(data) > SCENARIO_BYTES_MAX:
        raise ScenarioError([f"{path}: {len(data)} bytes is no scenario; give another file"])
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ScenarioError([f"{path}:{line}: is not UTF-8; save the file as UTF-8"]) from error


def _not_toml(file: str, error: tomllib.TOMLDecodeError) -> str:
    found = re.search(r"\(at line (\d+), column \d+\)", str(error))
    place = f"{file}:{found.group(1)}" if found else file
    return f"{place}: not TOML: {error}; see docs/SCENARIOS.md for the format"


def _spelled_out(document: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """Parties that have ``do`` of their own are parties of one member who does it."""
    rows = document.get("party")
    if not isinstance(rows, list):
        return document
    return {**document, "party": [_one_member(r, i, reading) for i, r in enumerate(rows)]}


def _one_member(row: Any, index: int, reading: Reading) -> Any:
    if not isinstance(row, dict) or "do" not in row:
        return row
    rest = {key: value for key, value in row.items() if key != "do"}
    if "member" in row:
        text = "do: this party has members; move it into one of its [[party.member]]"
        reading.problems.append(Problem(("party", index, "do"), text))
        return rest
    return {**rest, "member": [{"do": row["do"]}]}


def _store(store: str, folder: Path) -> str:
    """A layout's name as it is; a file's path from the scenario's folder."""
    return str(folder / store) if store.endswith(".toml") else store


def _explained(found: Iterable[Problem], lines: dict[Place, int], file: str) -> list[str]:
    placed = sorted(((_line(p.path, lines), p.text) for p in found), key=lambda row: row[0])
    return list(dict.fromkeys(f"{file}:{line}: {text}" for line, text in placed))


def _line(path: Place, lines: dict[Place, int]) -> int:
    """The line of a place, or of the nearest thing around it that stands in the file."""
    for length in range(len(path), 0, -1):
        here = path[:length]
        for form in (here, here[:2] + here[4:] if here[2:4] == ("member", 0) else here):
            if form in lines:
                return lines[form]
    return 1


def _path(path: Place) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).lstrip(".") + ": " if parts else ""
