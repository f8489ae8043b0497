"""Invariant 24: no card number stands in any column, whichever way it came there.

Requests are screened at the door (``screening.py``); this looks at what is stored: every text of
every table, and the stored answers. Bar codes are where bar codes belong. ``walkout broker check``
asks it; it reads the tables whole, up to a bound, so it is no question of the API.
"""

from __future__ import annotations

import json
import re

from broker import schema
from broker.database import Transaction
from broker.screening import card_number_at, gtin_valid, has_card_number

LENGTH_MIN = 13  # a card number is no shorter
VALUES_MAX = 500_000  # of one column; longer ones are asked by their newest backup, off line
_TABLE = re.compile(r"\s*CREATE TABLE (\w+) (.*)", re.DOTALL)
_COLUMN = re.compile(r"(?:^|,|\()\s*(\w+) TEXT\b")


def text_columns() -> dict[str, tuple[str, ...]]:
    """Every table's text columns, read from the migrations."""
    script = "\n".join(one.script for one in schema.migrations("sqlite"))
    made = map(_TABLE.match, re.sub(r"--[^\n]*", "", script).split(";"))
    found = {one[1]: tuple(_COLUMN.findall(one[2])) for one in made if one}
    return {table: columns for table, columns in found.items() if columns}


async def breaches(db: Transaction) -> dict[str, int]:
    """Columns that hold what could be a card number, and how many values; empty in sound tables."""
    found = dict[str, int]()
    for table, columns in text_columns().items():
        for column in columns:
            if count := await _count(db, table, column):
                found[f"no card number in {table}.{column}"] = count
    if count := await _answers(db):
        found["no card number in answer.body"] = count
    return found


async def _count(db: Transaction, table: str, column: str) -> int:
    rows = await db.all(
        f"SELECT {column} FROM {table} WHERE length({column}) >= {LENGTH_MIN} LIMIT {VALUES_MAX}"
    )
    return sum(_wrong(column, text) for (text,) in rows)


async def _answers(db: Transaction) -> int:
    rows = await db.all(f"SELECT body FROM answer WHERE status <> 0 LIMIT {VALUES_MAX}")
    return sum(_wrong("body", bytes(body).decode("utf-8", "replace")) for (body,) in rows)


def _wrong(column: str, text: str) -> bool:
    if not has_card_number(text) or (column == "gtin" and gtin_valid(text)):
        return False
    if text[:1] not in "{[":
        return True
    try:
        return card_number_at(json.loads(text)) is not None
    except ValueError:
        return True
