"""State machines of the systems are tables ``(state, signal) -> state``; this asks them.

What is not in a table is refused with 409 ``wrong-state``: it never happens, whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from broker.problems import ProblemError

State = TypeVar("State", bound=StrEnum)
Signal = TypeVar("Signal", bound=StrEnum)


def advance(
    table: Mapping[tuple[State, Signal], State], state: State, signal: Signal, what: str
) -> State:
    """The state after a signal. ``what``: the thing, for the refusal.

    Raises:
        ProblemError: 409.
    """
    after = table.get((state, signal))
    if after is None:
        detail = f"the {what} is {state.value}; it cannot take {signal.value}"
        raise ProblemError(409, "wrong-state", detail)
    return after


def diagram(table: Mapping[tuple[State, Signal], State], first: State) -> str:
    """The table as a Mermaid picture, for the handbook."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_word(first)}"]
    lines += [
        f"    {_word(state)} --> {_word(after)}: {signal.value}"
        for (state, signal), after in table.items()
        if state != after
    ]
    return "\n".join([*lines, "```"])


def _word(state: StrEnum) -> str:
    return state.value.replace("-", "_")
