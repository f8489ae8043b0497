"""CSV files of an import as columns of numbers; every mistake has a file, a line and a remedy.

Columns may stand in any order and are named with their units. Rows are read in blocks, so that a
million rows take tens of megabytes. Time may step back within one source by no more than real
clocks do (``BACKWARD_S``); rows of different sources may stand in any order.
"""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

import numpy as np

from messages.arrays import Bools, Floats, Ints

ROWS_MAX = 50_000_000  # of one file: 40 minutes of 350 plates at 60 Hz
BLOCK_ROWS = 65_536
BACKWARD_S = 0.020  # real shelf clocks step back by up to 4.7 ms; more is another order
TIME_MAX_S = 1e11  # the year 5138; above, t_s is in milliseconds or nanoseconds
SHOWN_CHARS = 60


class CsvError(ValueError):
    """Files that cannot be imported: ``FILE:LINE: what; remedy``."""


def fault(path: Path, line: int | None, what: str, remedy: str) -> CsvError:
    place = f"{path}:{line}" if line else str(path)
    return CsvError(f"{place}: {what}; {remedy}")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of one file: ``numbers`` by name, (n,); ``names`` (n,): indices into ``ids``;
    ``texts``: the rest; ``line`` (n,): where each row stands."""

    path: Path
    numbers: dict[str, Floats]
    names: Ints
    ids: tuple[str, ...]
    texts: dict[str, list[str]]
    line: Ints

    def __len__(self) -> int:
        return len(self.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What a file must look like. ``id``: the column of a plate, camera or gate."""

    id: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()  # texts that may be missing

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.numbers[0], self.id, *self.numbers[1:], *self.texts)


def read(path: Path, formats: Sequence[Format], known: Sequence[str] | None) -> Table:
    """The table of a file that has one of the formats.

    Args:
        known: ids that the format's id column may name; None: any, in order of appearance.

    Raises:
        CsvError: the first thing that is wrong.
    """
    with _opened(path) as file:
        rows = csv.reader(file, strict=True)
        header = [name.strip() for name in next(rows, [])]
        format_ = _format(path, header, formats)
        return _columns(path, header, format_, rows, known)


def stream(
    path: Path,
    format_: Format,
    known: Sequence[str],
    bytes_read: Callable[[int], None] = lambda count: None,
) -> Iterator[Table]:
    """The table of a file without texts, block by block: memory does not grow with the file.

    Raises:
        CsvError: the first thing that is wrong, when the blocks before it have been given.
    """
    index = {name: i for i, name in enumerate(known)}
    with _opened(path) as file:
        rows = csv.reader(file, strict=True)
        header = [name.strip() for name in next(rows, [])]
        at = {name: header.index(name) for name in _format(path, header, [format_]).columns}
        for lines, block in _blocks(path, rows, len(header)):
            columns = list(zip(*block, strict=True))
            bytes_read(os.lseek(file.fileno(), 0, os.SEEK_CUR))
            yield Table(
                path=path,
                numbers={n: _numbers(path, n, columns[at[n]], lines) for n in format_.numbers},
                names=_indices(path, format_.id, columns[at[format_.id]], lines, index, known),
                ids=tuple(index),
                texts={},
                line=lines,
            )


@contextmanager
def _opened(path: Path) -> Iterator[TextIOWrapper]:
    """The file as text; what the system or the encoding says against it becomes a CsvError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise fault(path, None, f"byte {error.start} is not UTF-8", "save it as UTF-8") from error
    except OSError as error:
        raise fault(path, None, f"cannot be read: {error.strerror}", "check the folder") from error


def nearest(name: str, known: Iterable[str], what: str) -> str:
    """A remedy: the id that was probably meant, or the ids that there are."""
    ids = list(known)
    near = difflib.get_close_matches(name, ids, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    shown = ", ".join(ids[:8]) + (", ..." if len(ids) > 8 else "")
    return f"store.toml has the {what}s {shown}" if ids else f"store.toml has no {what}"


def _format(path: Path, header: list[str], formats: Sequence[Format]) -> Format:
    """The format that fits, or the error that helps most."""
    wanted = " or ".join(",".join(one.columns) for one in formats)
    if not header:
        raise fault(path, None, "is empty", f"its first line must be {wanted}")
    for one in formats:
        if set(one.columns) <= set(header) <= {*one.columns, *one.optional}:
            if len(set(header)) < len(header):
                raise fault(path, 1, "names a column twice", f"write {wanted}")
            return one
    every = {column for one in formats for column in (*one.columns, *one.optional)}
    for name in header:
        if name not in every:
            near = difflib.get_close_matches(name, sorted(every), n=1, cutoff=0.4)
            remedy = f"did you mean {near[0]}? Write {wanted}" if near else f"write {wanted}"
            raise fault(path, 1, f"unknown column {name[:SHOWN_CHARS]!r}", remedy)
    best = max(formats, key=lambda one: len(set(one.columns) & set(header)))
    missing = [column for column in best.columns if column not in header]
    text = f"lacks the column {', '.join(missing)}" if missing else "mixes two forms"
    raise fault(path, 1, text, f"write {wanted}")


def _columns(
    path: Path,
    header: list[str],
    format_: Format,
    rows: Iterator[list[str]],
    known: Sequence[str] | None,
) -> Table:
    at = {name: header.index(name) for name in header}
    index: dict[str, int] = {name: i for i, name in enumerate(known or ())}
    blocks: list[tuple[dict[str, Floats], Ints, Ints]] = []
    texts: dict[str, list[str]] = {name: [] for name in (*format_.texts, *format_.optional)}
    count = 0
    for lines, block in _blocks(path, rows, len(header)):
        columns = list(zip(*block, strict=True))
        numbers = {name: _numbers(path, name, columns[at[name]], lines) for name in format_.numbers}
        ids = _indices(path, format_.id, columns[at[format_.id]], lines, index, known)
        for name, column in texts.items():
            found = columns[at[name]] if name in at else [""] * len(ids)
            column += [text.strip() for text in found]
        blocks.append((numbers, ids, lines))
        count += len(block)
        if count > ROWS_MAX:
            raise fault(path, None, f"has more than {ROWS_MAX} rows", "import it in pieces")
    none = np.zeros(0, dtype=np.int64)
    return Table(
        path=path,
        numbers={
            name: np.concatenate([np.zeros(0), *(numbers[name] for numbers, _, _ in blocks)])
            for name in format_.numbers
        },
        names=np.concatenate([none, *(ids for _, ids, _ in blocks)]),
        ids=tuple(index),
        texts=texts,
        line=np.concatenate([none, *(lines for _, _, lines in blocks)]),
    )


def _blocks(
    path: Path, rows: Iterator[list[str]], width: int
) -> Iterator[tuple[Ints, list[list[str]]]]:
    """Rows in blocks, each with its lines, counted from 1; empty lines are passed over."""
    block: list[list[str]] = []
    lines: list[int] = []
    line = 1
    try:
        for row in rows:
            line += 1
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if len(row) != width:
                what = f"has {len(row)} fields, the first line names {width}"
                raise fault(path, line, what, "write one value for each column")
            block.append(row)
            lines.append(line)
            if len(block) >= BLOCK_ROWS:
                yield np.array(lines), block
                block, lines = [], []
    except csv.Error as error:
        raise fault(path, line + 1, f"is no CSV: {error}", "write plain lines") from error
    if block:
        yield np.array(lines), block


def _numbers(path: Path, name: str, texts: Sequence[str], lines: Ints) -> Floats:
    """A column of finite numbers."""
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        for text, line in zip(texts, lines.tolist(), strict=True):
            if not _is_number(text):
                shown = text.strip()[:SHOWN_CHARS]
                what = f"{name} = {shown!r} is no number" if shown else f"{name} is empty"
                raise fault(path, line, what, "write a decimal number") from None
        raise
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        k = int(bad[0])
        remedy = "leave the row out where the value is unknown"
        raise fault(path, int(lines[k]), f"{name} = {texts[k].strip()} is not finite", remedy)
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _indices(
    path: Path,
    column: str,
    texts: Sequence[str],
    lines: Ints,
    index: dict[str, int],
    known: Sequence[str] | None,
) -> Ints:
    """Each id's place among the known ones; those of an open set are added."""
    stripped = [text.strip() for text in texts]
    if known is None:
        for text in stripped:
            index.setdefault(text, len(index))
    try:
        return np.array([index[text] for text in stripped], dtype=np.int64)
    except KeyError as error:
        name = str(error.args[0])
        line = int(lines[stripped.index(name)])
        what = f"unknown {column} {name[:SHOWN_CHARS]!r}"
        raise fault(path, line, what, nearest(name, index, column)) from None


def times_ns(table: Table, base_s: float) -> Ints:
    """``t_s`` in nanoseconds from ``base_s``.

    Raises:
        CsvError: out of range, or backwards within one plate, camera or gate.
    """
    t_s = table.numbers["t_s"]
    wrong = np.flatnonzero(np.abs(t_s) > TIME_MAX_S)
    if len(wrong):
        k = int(wrong[0])
        what = f"t_s = {t_s[k]:g} is no time in seconds"
        raise fault(table.path, int(table.line[k]), what, "divide by 1e3 or 1e9")
    order = np.argsort(table.names, kind="stable")
    same = np.diff(table.names[order]) == 0
    newest_s = _newest(t_s[order], same)
    back = np.flatnonzero(same & (t_s[order][1:] < newest_s[:-1] - BACKWARD_S))
    if len(back):
        k = int(order[1:][back[0]])
        who = table.ids[int(table.names[k])]
        what = f"t_s = {t_s[k]:.6f} of {who!r} lies before an earlier row of it"
        raise fault(table.path, int(table.line[k]), what, "sort the rows by t_s")
    return np.rint((t_s - base_s) * 1e9).astype(np.int64)


def _newest(t_s: Floats, same: Bools) -> Floats:
    """The latest instant so far within each run of one id; ``same``: row k + 1 has that of k."""
    newest = t_s.copy()
    starts = [0, *(np.flatnonzero(~same) + 1).tolist(), len(t_s)]
    for first, last in pairwise(starts):
        np.maximum.accumulate(newest[first:last], out=newest[first:last])
    return newest
