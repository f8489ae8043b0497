"""The retailer's catalogue as the store keeps it: names and prices over time, from uploads.

The store never prices anything. It keeps prices so that a dispute can be answered: each charged
line remembers what its SKU cost when it was taken (``pick_price``), and a price above that raises a
warning. An upload is taken at once and read later; its report names what was refused, and what
stands on our shelves but in no catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiosqlite
import msgspec

from cloud_sync.purchase import charged_lines
from cloud_sync.wall_time import unix_ns
from messages.events import CartClosed, PricedLine
from messages.retailer_contract import (
    CatalogueItem,
    CatalogueUpload,
    IngestionReport,
    RefusedItem,
)

ITEMS_MAX = 5_000  # of one upload: about half of the largest command file
TEXT_MAX = 200
PRICE_MINOR_MAX = 10_000_000  # 100,000.00; above it a point slipped
REFUSED_MAX = 1_000  # named in one report
UNITS = ("piece", "gram")

SCHEMA = """
CREATE TABLE IF NOT EXISTS catalogue_price(
  sku TEXT NOT NULL, from_ns INTEGER NOT NULL, price_minor INTEGER NOT NULL,
  unit TEXT NOT NULL, name TEXT NOT NULL, gtin TEXT NOT NULL,
  PRIMARY KEY(sku, from_ns)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ingestion(
  id TEXT PRIMARY KEY, at_ns INTEGER NOT NULL, report BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pick_price(
  visit TEXT NOT NULL, line TEXT NOT NULL, sku TEXT NOT NULL, price_minor INTEGER NOT NULL,
  PRIMARY KEY(visit, line)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    sku: str
    from_ns: int
    price_minor: int
    unit: str
    name: str
    gtin: str


async def ingest(
    db: aiosqlite.Connection,
    ingestion: str,
    upload: CatalogueUpload,
    *,
    currency: str,
    shelved: Sequence[str],
    now_ns: int,
) -> IngestionReport:
    """(tx) Take an upload in, and keep its report."""
    rows, refused = list[_Row](), list[RefusedItem]()
    for index, item in enumerate(upload.items):
        why = trouble(item, currency)
        if why:
            refused.append(RefusedItem(index=index, item_sku=item.item_sku[:TEXT_MAX], reason=why))
        else:
            rows.append(_row(item, now_ns))
    await db.executemany(
        "INSERT OR REPLACE INTO catalogue_price VALUES(?,?,?,?,?,?)",
        [(r.sku, r.from_ns, r.price_minor, r.unit, r.name, r.gtin) for r in rows],
    )
    report = IngestionReport(
        ingestionId=ingestion,
        status="DONE",
        accepted=len(rows),
        refused=refused[:REFUSED_MAX],
        missing=await _missing(db, shelved),
    )
    await db.execute(
        "INSERT OR REPLACE INTO ingestion VALUES(?,?,?)",
        (ingestion, now_ns, msgspec.json.encode(report)),
    )
    return report


def trouble(item: CatalogueItem, currency: str) -> str:
    """Why an item cannot be taken; "" when it can."""
    price = item.standard_price
    if not 0 < len(item.item_sku) <= TEXT_MAX or not item.item_sku.isprintable():
        return f"item_sku is not 1 to {TEXT_MAX} printable characters"
    if not 0 < len(item.item_name) <= TEXT_MAX:
        return f"item_name is not 1 to {TEXT_MAX} characters"
    if price.currencyCode != currency:
        return (
            f"standard_price is in {price.currencyCode[:8]!r}, the store's currency is {currency}"
        )
    if not 0 <= price.amount <= PRICE_MINOR_MAX:
        return f"standard_price {price.amount} is out of bounds"
    if item.unit not in UNITS:
        return f"unit {item.unit[:20]!r} is neither piece nor gram"
    if item.external_product_id and not item.external_product_id.isdigit():
        return "external_product_id is no GTIN"
    try:
        unix_ns(item.valid_from or "1970-01-01")
    except (ValueError, OverflowError):
        return "valid_from is not an RFC 3339 instant"
    return ""


async def remember_picks(db: aiosqlite.Connection, carts: Iterable[CartClosed]) -> None:
    """(tx) What each charged line's SKU cost when it was taken, where the catalogue knows it."""
    for cart in carts:
        for line in charged_lines(cart):
            taken_ns = cart.ended_at_wall_ns - (cart.ended_at_ns - line.taken_at_ns)
            await db.execute(
                "INSERT OR IGNORE INTO pick_price SELECT ?,?,sku,price_minor FROM catalogue_price"
                " WHERE sku=? AND from_ns<=? ORDER BY from_ns DESC LIMIT 1",
                (cart.visit, line.line, line.sku, taken_ns),
            )


async def dearer(
    db: aiosqlite.Connection, visit: str, lines: Iterable[PricedLine]
) -> list[tuple[str, int, int]]:
    """(tx) SKU, price when taken and price charged, of lines that cost more than when taken."""
    query = "SELECT line, price_minor FROM pick_price WHERE visit=?"
    then = {line: price for line, price in await db.execute_fetchall(query, (visit,))}
    return [
        (line.sku, then[line.line], line.unit_price_minor)
        for line in lines
        if line.unit_price_minor > then.get(line.line, line.unit_price_minor)
    ]


async def _missing(db: aiosqlite.Connection, shelved: Sequence[str]) -> list[str]:
    known = {sku for (sku,) in await db.execute_fetchall("SELECT sku FROM catalogue_price")}
    return [sku for sku in shelved if sku not in known]


def _row(item: CatalogueItem, now_ns: int) -> _Row:
    return _Row(
        sku=item.item_sku,
        from_ns=unix_ns(item.valid_from) if item.valid_from else now_ns,
        price_minor=item.standard_price.amount,
        unit=item.unit,
        name=item.item_name,
        gtin=item.external_product_id,
    )
