"""Keys that are bound to one merchant: which rows they may use at all.

Such a key sees and does its merchant's part alone. Rows named in ``but`` look at the merchant
themselves (``merchants.check_party``); every other row of the topic is the operator's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from broker.database import Transaction
from broker.idempotency import Answer
from broker.routes import AtOnce, Call, Command, Question, Route
from broker.systems.merchants import check_operator


def operators(routes: Iterable[Route], but: Collection[str] = ()) -> tuple[Route, ...]:
    """The rows, closed to merchants' keys, but for those that look at the merchant themselves.

    Raises:
        ValueError: ``but`` names a row that is not there.
    """
    rows = tuple(routes)
    unknown = set(but) - {_name(row) for row in rows}
    if unknown:
        raise ValueError(f"no such rows: {sorted(unknown)}")
    return tuple(row if _name(row) in but else _closed(row) for row in rows)


def _name(row: Route) -> str:
    return f"{row.method} {row.path}"


def _closed(row: Route) -> Route:
    if isinstance(row, Command):
        closed = replace(row, effect=_closed_effect(row.effect))
        if row.at_once is None:
            return closed
        return replace(closed, at_once=replace(row.at_once, values=_closed_at_once(row.at_once)))
    return replace(row, ask=_closed_ask(row))


def _closed_effect(
    effect: Callable[[Transaction, Call, Any], Awaitable[Answer]],
) -> Callable[[Transaction, Call, Any], Awaitable[Answer]]:
    async def operators_alone(db: Transaction, call: Call, asked: Any) -> Answer:
        check_operator(call)
        return await effect(db, call, asked)

    return operators_alone


def _closed_at_once(
    row: AtOnce,
) -> Callable[[Call, Any], tuple[Mapping[str, object], object]]:
    def operators_alone(call: Call, asked: Any) -> tuple[Mapping[str, object], object]:
        check_operator(call)
        return row.values(call, asked)

    return operators_alone


def _closed_ask(row: Question) -> Callable[[Call], Callable[[Transaction], Awaitable[Any]]]:
    def operators_alone(call: Call) -> Callable[[Transaction], Awaitable[Any]]:
        check_operator(call)
        return row.ask(call)

    return operators_alone
