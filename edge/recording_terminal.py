"""A long command in a terminal: a line that is renewed, and signals that end it properly."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

EVERY_S = 0.5  # of a line that is renewed
EVERY_LOGGED_S = 10.0  # where the output is no terminal

T = TypeVar("T")


@contextmanager
def stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT make the given function true; a second one ends the process as usual."""
    asked = threading.Event()
    before: dict[int, Any] = {}

    def ask(number: int, _: object) -> None:
        asked.set()
        signal.signal(number, before[number])

    for one in (signal.SIGTERM, signal.SIGINT):
        before[one] = signal.signal(one, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def told(line: Callable[[T], str], *, quiet: bool) -> Iterator[Callable[[T], None]]:
    """A function that shows a state on standard error: renewed in place, or a line now and then."""
    terminal = sys.stderr.isatty()
    every_s = EVERY_S if terminal else EVERY_LOGGED_S
    due_s, shown = time.monotonic(), False

    def show(state: T) -> None:
        nonlocal due_s, shown
        if quiet or time.monotonic() < due_s:
            return
        due_s, shown = time.monotonic() + every_s, True
        text = f"\r\x1b[2K{line(state)}" if terminal else f"{line(state)}\n"
        sys.stderr.write(text)
        sys.stderr.flush()

    try:
        yield show
    finally:
        if shown and terminal:
            sys.stderr.write("\n")
