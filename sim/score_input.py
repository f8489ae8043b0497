"""What scorers read: the files of a run's folder, strictly, and the folders below a folder.

``truth.json`` and ``receipts.json`` may come from other tools; the formats are in docs/SCORES.md.
Every complaint names the file, the field (``$.visits[3].lines[0].quantity``) and a remedy. What is
odd but can be scored without guessing is counted as a *finding* instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

TRUTH_FILE, RECEIPTS_FILE, RUN_FILE = "truth.json", "receipts.json", "run.json"
REFEREE_FILE, TIMING_FILE = "referee.json", "timing.json"
FILE_BYTES_MAX = 256 * 2**20  # a day of 6,000 visits is 10 MB; more is another kind of file
RUNS_MAX = 100_000  # folders below the ones given; beyond, somebody named the wrong folder

Name = Annotated[str, Meta(min_length=1)]
Units = Annotated[int, Meta(ge=0, le=10**9)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Role = Literal["shopper", "staff"]
T = TypeVar("T")


class ScoreError(ValueError):
    """Something that cannot be scored: which file, which field, and what to do."""


class TruthLine(Struct, frozen=True, kw_only=True):
    sku: Name
    quantity: Units


class TruthVisit(Struct, frozen=True, kw_only=True):
    """``credential`` "" or null: came in without one, so no receipt can be theirs."""

    visit: Name
    credential: str | None
    entered_at_s: float | None
    exited_at_s: float | None
    lines: list[TruthLine]
    kind: Role = "shopper"


class TruthAction(Struct, frozen=True, kw_only=True):
    t_s: float
    kind: Literal["take", "return", "hand_over"]
    visit: Name
    sku: Name
    quantity: Units
    to_visit: str | None = None
    facing: str | None = None


class Truth(Struct, frozen=True, kw_only=True):
    visits: list[TruthVisit]
    actions: list[TruthAction] = []


class ReceiptLine(Struct, frozen=True, kw_only=True):
    sku: Name
    quantity: Units
    probability: Probability
    state: Literal["charged", "review"]


class Receipt(Struct, frozen=True, kw_only=True):
    """``entered_at_s`` is optional: it settles which of one credential's visits came first."""

    visit: Name
    credential: str | None
    state: Literal["closed", "review"]
    lines: list[ReceiptLine]
    closed_at_s: float | None
    entered_at_s: float | None = None
    kind: Role = "shopper"


class RunFile(Struct, frozen=True, kw_only=True):
    scenario: str = ""
    kind: str = ""
    hard_cases: list[str] = []
    title: str = ""
    seed: int | None = None
    version: str = ""
    crashed: str | None = None


class Timing(Struct, frozen=True, kw_only=True):
    wall_s: Annotated[float, Meta(ge=0.0)]
    store_s: Annotated[float, Meta(ge=0.0)]


class BreachRow(Struct, frozen=True, kw_only=True):
    kind: str
    at_s: float
    visit: str | None = None
    text: str = ""


class RefereeFile(Struct, frozen=True, kw_only=True):
    breaches: list[BreachRow]


class RunFiles(Struct, frozen=True, kw_only=True):
    """One run's folder, read. ``truth`` None: it crashed before there was one."""

    folder: Path
    truth: Truth | None
    receipts: list[Receipt]
    run: RunFile
    breaches: list[BreachRow]
    timing: Timing | None


REMEDY = {
    TRUTH_FILE: "mend the file: docs/SCORES.md has the format of a truth",
    RECEIPTS_FILE: "write it anew with `walkout replay`; docs/SCORES.md has the format",
    RUN_FILE: "delete the file, or run the scenario again",
    REFEREE_FILE: "delete the file, or run the scenario again",
    TIMING_FILE: "delete the file: only the real-time factor needs it",
}


def read_run(folder: Path) -> RunFiles:
    """All files of one run.

    Raises:
        ScoreError: a file is missing or broken. Of a crashed run, truth and receipts may miss.
    """
    run = _read(folder / RUN_FILE, RunFile) or RunFile()
    truth = _read(folder / TRUTH_FILE, Truth)
    receipts = _read(folder / RECEIPTS_FILE, list[Receipt])
    if run.crashed is None and truth is None:
        raise ScoreError(
            f"{folder / TRUTH_FILE}: there is no truth to compare with; score the folder of a "
            "simulated run, or write the truth beside the receipts"
        )
    if run.crashed is None and receipts is None:
        raise ScoreError(
            f"{folder / RECEIPTS_FILE}: there are no receipts; make them with "
            f"`walkout replay RECORDING --out {folder}`"
        )
    if truth is not None:
        _check_truth(folder / TRUTH_FILE, truth)
    referee = _read(folder / REFEREE_FILE, RefereeFile)
    return RunFiles(
        folder=folder,
        truth=truth,
        receipts=receipts or [],
        run=run,
        breaches=referee.breaches if referee else [],
        timing=_read(folder / TIMING_FILE, Timing),
    )


def run_folders(given: Sequence[Path]) -> list[tuple[Path, str]]:
    """Runs at and below the folders, each once, with their path relative to the given one.

    A folder with a truth, receipts or ``run.json`` is a run; what lies inside it is its own.

    Raises:
        ScoreError: a folder is missing, or holds no run.
    """
    found: dict[Path, tuple[Path, str]] = {}
    for root in given:
        if not root.is_dir():
            raise ScoreError(f"{root}: there is no such folder")
        before = len(found)
        for folder in _walk(root):
            found.setdefault(folder.resolve(), (folder, _relative(folder, root)))
            if len(found) > RUNS_MAX:
                raise ScoreError(f"{root}: more than {RUNS_MAX} runs; name a smaller folder")
        if len(found) == before and not any(True for _ in _walk(root)):
            raise ScoreError(
                f"{root}: no run in it or below; a run has {TRUTH_FILE} and {RECEIPTS_FILE}, "
                "as `walkout sim run` writes them"
            )
    return list(found.values())


def held(visits: Iterable[str], actions: Sequence[TruthAction]) -> dict[str, dict[str, int]]:
    """What each visit holds after all actions: SKU -> units, zeros left out."""
    units: dict[str, dict[str, int]] = {visit: {} for visit in visits}

    def add(visit: str | None, sku: str, quantity: int) -> None:
        if visit in units:
            units[visit][sku] = units[visit].get(sku, 0) + quantity

    for action in actions:
        add(action.visit, action.sku, action.quantity * (1 if action.kind == "take" else -1))
        if action.kind == "hand_over":
            add(action.to_visit, action.sku, action.quantity)
    return {v: {s: n for s, n in mine.items() if n} for v, mine in units.items()}


def _check_truth(path: Path, truth: Truth) -> None:
    seen: dict[str, int] = {}
    for i, visit in enumerate(truth.visits):
        where = f"{path}: $.visits[{i}]"
        if visit.visit in seen:
            raise ScoreError(
                f"{where}.visit: {visit.visit!r} stands at $.visits[{seen[visit.visit]}] too; "
                "give each visit its own id (one credential may have several visits)"
            )
        seen[visit.visit] = i
        entered, exited = visit.entered_at_s, visit.exited_at_s
        if entered is not None and exited is not None and exited < entered:
            raise ScoreError(
                f"{where}.exited_at_s: {exited} is before entered_at_s {entered}; "
                "write both in seconds of store time"
            )
    for i, action in enumerate(truth.actions):
        _check_action(f"{path}: $.actions[{i}]", action, seen)


def _check_action(where: str, action: TruthAction, known: dict[str, int]) -> None:
    if action.visit not in known:
        raise ScoreError(f"{where}.visit: {action.visit!r} is none of the visits; add the visit")
    if action.kind == "hand_over" and action.to_visit not in known:
        raise ScoreError(
            f"{where}.to_visit: {action.to_visit!r} is none of the visits; "
            "name the visit that got the goods"
        )


def _read(path: Path, kind: type[T]) -> T | None:
    """The file's content, or None where there is no file."""
    remedy = REMEDY[path.name]
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ScoreError(f"{path}: larger than {FILE_BYTES_MAX >> 20} MB; {remedy}")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.ValidationError as error:
        what, _, field = str(error).rpartition(" - at ")
        place = f"{field.strip('`')}: {what}" if what else field
        raise ScoreError(f"{path}: {place}; {remedy}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScoreError(f"{path}: not JSON ({error}); {remedy}") from None


def _walk(root: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(root):
        folders.sort()
        if not {TRUTH_FILE, RECEIPTS_FILE, RUN_FILE}.isdisjoint(files):
            folders.clear()
            yield Path(at)


def _relative(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix()
