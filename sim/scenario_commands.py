"""``walkout sim list | show | check | schema``: the library of scenarios on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from sim.layouts import layout
from sim.scenario import ScenarioError, find, library, load, names
from sim.scenario_schema import schema
from sim.scenario_show import floor_plan, legend, story
from sim.script import Scenario


def list_main(pattern: str, json_output: bool) -> int:
    """The library, or the part of it whose names match."""
    found = [s for s in library() if fnmatch(s.name, pattern)]
    if not found:
        raise ScenarioError([f"no scenario matches {pattern!r}; there are: {', '.join(names())}"])
    if json_output:
        print(json.dumps([_row(s) for s in found]))
        return 0
    wide = max(len(s.name) for s in found)
    console = Console(highlight=False)
    for scenario in found:
        day = "  [dim](a day: on request)[/dim]" if scenario.long else ""
        line = f"[bold]{scenario.name:{wide}}[/bold]  {scenario.kind:11}  {scenario.title}{day}"
        console.print(line, soft_wrap=True)
    return 0


def _row(scenario: Scenario) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "kind": scenario.kind.value,
        "title": scenario.title,
        "hard_cases": list(scenario.hard_cases),
        "store": scenario.store,
        "duration_s": scenario.duration_s,
        "long": scenario.long,
    }


def show_main(name: str, json_output: bool) -> int:
    """One scenario: who does what, and where."""
    path = find(name)
    scenario = load(path)
    if json_output:
        print(json.dumps({**asdict(scenario), "file": str(path)}))
        return 0
    console = Console()
    console.print(f"[bold]{scenario.name}[/bold]  {scenario.title}")
    tags = f", hard cases: {', '.join(scenario.hard_cases)}" if scenario.hard_cases else ""
    lasts = f"doors open for {scenario.duration_s:g} s"
    console.print(f"{scenario.kind}, store '{scenario.store}', {lasts}{tags}\n")
    plan = floor_plan(layout(scenario.store), scenario, columns_max=console.width - 2)
    console.print(Text("\n".join(plan)), soft_wrap=True, highlight=False)
    key = "   ".join([*legend(scenario), "# fixture", "= shelf", "* camera"])
    console.print(f"[dim]{key}[/dim]\n")
    _parties(console, scenario)
    _rest(console, scenario)
    console.print(f"[dim]{path}[/dim]")
    return 0


def _parties(console: Console, scenario: Scenario) -> None:
    for party in scenario.parties:
        low, high = party.arrives_s
        when = f"{low:g}" if low == high else f"{low:g}-{high:g}"
        staff = ", staff" if party.staff else ""
        behind = f", slips in behind {party.tailgates}" if party.tailgates else ""
        lines = []
        for index, member in enumerate(party.members):
            who = f"{party.name}/{index}" + (" (child)" if member.child else "")
            acts = [f"  {i + 1}. {story(do)}" for i, do in enumerate(member.do)]
            lines += [*([who] if len(party.members) > 1 else []), *(acts or ["  comes along"])]
        title = f"{party.name}: arrives at {when} s{staff}{behind}"
        console.print(Panel(Text("\n".join(lines)), title=title, title_align="left"))


def _rest(console: Console, scenario: Scenario) -> None:
    background = scenario.background
    if background.every_s:
        sly = f", {background.adversary_share:.0%} of actions confuse"
        console.print(
            f"others: one every {background.every_s:g} s, at most {background.people_max}"
            + (sly if background.adversary_share else "")
        )
    for fault in scenario.faults:
        amount = f", {fault.amount:g}" if fault.amount else ""
        low, high = fault.at_s
        console.print(f"fails: {fault.kind} of {fault.device} at {low:g}-{high:g} s{amount}")
    for wrong in scenario.planogram:
        console.print(f"books are wrong: {wrong.facing} holds {wrong.holds}")


def check_main(files: Sequence[Path], json_output: bool) -> int:
    """Say everything that is wrong with scenario files; status 2 when something is."""
    problems: dict[str, list[str]] = {}
    for file in files:
        try:
            load(file)
            problems[str(file)] = []
        except ScenarioError as error:
            problems[str(file)] = error.problems
    if json_output:
        print(json.dumps(problems))
    else:
        for name, found in problems.items():
            print("\n".join(found) if found else f"{name}: is fine")
    return 2 if any(problems.values()) else 0


def schema_main() -> int:
    """The format as a JSON Schema."""
    print(json.dumps(schema(), indent=1))
    return 0
