"""The reference retailer's goods: forty grocery SKUs, and ``catalogue.toml``.

One list for both sides of the counter: the retailer prices it, the simulator fills its shelves
with it. Masses are those of one full package; ``mass_sd_g`` is the spread from piece to piece: a
filling machine keeps within about one per cent, fresh goods vary by ten to twenty.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from cloud_sync.wall_time import unix_ns
from messages.money import EXPONENT

CURRENCY = "EUR"
PRICE_MINOR_MAX = 1_000_000  # 10,000.00 a piece; a grocery above it is a typing error
GTIN_PATTERN = re.compile(r"\d{8}|\d{12}|\d{13}|\d{14}")
PROMOTION_PATTERN = re.compile(r"([1-9]\d?) for ([1-9]\d?)|([1-9]\d?)% off")


class CatalogueError(ValueError):
    """A catalogue that cannot be sold from; says which item and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One SKU. ``promotion``: "", "3 for 2" (pay two of three) or "20% off"; price with tax.

    ``unit``: "piece", or "gram" with the price per kilogram. ``changed_at`` (RFC 3339): until then
    it cost ``former_price_minor``, which is what a line that was taken before is charged.
    """

    id: str
    name: str
    gtin: str
    price_minor: int
    tax_permille: int  # value added tax within the price, parts per thousand
    promotion: str = ""
    mass_g: float = 0.0
    mass_sd_g: float = 0.0
    unit: str = "piece"
    former_price_minor: int = 0
    changed_at: str = ""

    def price_at(self, taken_ns: int) -> int:
        """The price that held when it was taken."""
        if self.changed_at and taken_ns < unix_ns(self.changed_at):
            return self.former_price_minor
        return self.price_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a store sells, in one currency."""

    items: Mapping[str, Item]
    currency: str = CURRENCY


def gtin_check_digit(body: str) -> int:
    """The last digit of a GTIN: weights 3, 1, 3 ... from the right (GS1 General Specifications)."""
    total = sum(int(digit) * (3, 1)[i % 2] for i, digit in enumerate(reversed(body)))
    return -total % 10


def check(item: Item) -> Item:
    """The item itself when it can be sold.

    Raises:
        CatalogueError: a wrong check digit, price, tax rate or promotion.
    """
    gtin_ok = GTIN_PATTERN.fullmatch(item.gtin)
    if not gtin_ok or gtin_check_digit(item.gtin[:-1]) != int(item.gtin[-1]):
        raise CatalogueError(f"{item.id}: {item.gtin!r} is not a GTIN with its check digit")
    if type(item.price_minor) is not int or not 0 <= item.price_minor <= PRICE_MINOR_MAX:
        raise CatalogueError(f"{item.id}: price {item.price_minor!r} is out of bounds")
    if type(item.tax_permille) is not int or not 0 <= item.tax_permille <= 1000:
        raise CatalogueError(f"{item.id}: tax rate {item.tax_permille!r} is out of bounds")
    _check_change(item)
    if item.unit not in ("piece", "gram") or (item.unit == "gram" and item.promotion):
        raise CatalogueError(f"{item.id}: unit {item.unit!r} is not piece, or gram unpromoted")
    if item.promotion and not _promotion_is_sound(item.promotion):
        raise CatalogueError(f"{item.id}: promotion {item.promotion!r} is not understood")
    return item


def _check_change(item: Item) -> None:
    former = item.former_price_minor
    if type(former) is not int or not 0 <= former <= PRICE_MINOR_MAX:
        raise CatalogueError(f"{item.id}: former price {former!r} is out of bounds")
    if not item.changed_at:
        return
    try:
        unix_ns(item.changed_at)
    except ValueError as error:
        raise CatalogueError(f"{item.id}: changed_at {error}") from None


def with_test_goods(catalogue: Catalogue) -> Catalogue:
    """The same catalogue with the goods of the retailers' test plan beside its own."""
    return Catalogue(items={**TEST_GOODS, **catalogue.items}, currency=catalogue.currency)


def catalogue_of(items: Iterable[Item], currency: str = CURRENCY) -> Catalogue:
    """A checked catalogue.

    Raises:
        CatalogueError: an unsound item, a repeated SKU or an unknown currency.
    """
    table: dict[str, Item] = {}
    for item in items:
        if item.id in table:
            raise CatalogueError(f"{item.id}: listed twice")
        table[item.id] = check(item)
    if currency not in EXPONENT:
        raise CatalogueError(f"unknown currency {currency!r}")
    return Catalogue(items=table, currency=currency)


def write_catalogue(path: Path, items: Iterable[Item], currency: str = CURRENCY) -> None:
    """Write ``catalogue.toml``; what is written reads back equal."""
    catalogue = catalogue_of(items, currency)
    rows = [asdict(item) for item in catalogue.items.values()]
    path.write_text(tomli_w.dumps({"currency": catalogue.currency, "item": rows}))


def read_catalogue(path: Path) -> Catalogue:
    """Read ``catalogue.toml``.

    Raises:
        CatalogueError: no TOML, an unknown or missing key, or an item that cannot be sold.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path.name}: {error}") from error
    unknown = sorted(set(document) - {"currency", "item"})
    if unknown:
        raise CatalogueError(f"{path.name}: unknown key {unknown[0]!r}; known: currency, item")
    items = [_item(row) for row in document.get("item", [])]
    return catalogue_of(items, document.get("currency", CURRENCY))


def _item(row: dict[str, Any]) -> Item:
    known = {field.name for field in fields(Item)}
    unknown = sorted(set(row) - known)
    if unknown:
        raise CatalogueError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    try:
        return Item(**row)
    except TypeError as error:
        raise CatalogueError(f"{row.get('id', 'item')}: {error}") from error


def _promotion_is_sound(promotion: str) -> bool:
    match = PROMOTION_PATTERN.fullmatch(promotion)
    if match is None:
        return False
    return match[3] is not None or int(match[2]) < int(match[1])


FOOD, OTHER = 70, 190  # German value added tax: reduced rate for food, full rate for the rest

# The GTINs lie in GS1's restricted range 20-29, which no maker owns.
# id, name, item reference of the GTIN, price, tax, promotion, mass, spread
_ROWS: tuple[tuple[str, str, int, int, int, str, float, float], ...] = (
    ("milk-1l", "Whole milk 1 l", 1, 129, FOOD, "", 1068.0, 6.0),
    ("milk-oat-1l", "Oat drink 1 l", 2, 199, FOOD, "", 1064.0, 6.0),
    ("water-500ml", "Still water 0.5 l", 3, 69, OTHER, "3 for 2", 522.0, 3.0),
    ("water-sparkling-500ml", "Sparkling water 0.5 l", 4, 69, OTHER, "3 for 2", 525.0, 3.0),
    ("cola-330ml", "Cola 0.33 l can", 5, 99, OTHER, "", 350.0, 2.0),
    ("cola-zero-330ml", "Cola without sugar 0.33 l can", 6, 99, OTHER, "", 346.0, 2.0),
    ("orange-juice-1l", "Orange juice 1 l", 7, 249, OTHER, "", 1102.0, 7.0),
    ("iced-tea-500ml", "Iced tea peach 0.5 l", 8, 149, OTHER, "", 539.0, 3.5),
    ("beer-500ml", "Lager 0.5 l bottle", 9, 119, OTHER, "", 872.0, 8.0),
    ("wine-red-750ml", "Red wine 0.75 l", 10, 699, OTHER, "10% off", 1210.0, 12.0),
    ("yoghurt-plain-150g", "Plain yoghurt 150 g", 11, 59, FOOD, "", 159.0, 1.5),
    ("yoghurt-cherry-150g", "Cherry yoghurt 150 g", 12, 59, FOOD, "3 for 2", 161.0, 1.5),
    ("butter-250g", "Butter 250 g", 13, 229, FOOD, "", 253.0, 1.0),
    ("cheese-gouda-200g", "Gouda slices 200 g", 14, 219, FOOD, "", 214.0, 2.0),
    ("cheese-brie-200g", "Brie 200 g", 15, 259, FOOD, "", 218.0, 2.5),
    ("eggs-10", "Ten eggs", 16, 329, FOOD, "", 655.0, 18.0),
    ("ham-100g", "Cooked ham 100 g", 17, 199, FOOD, "", 112.0, 2.0),
    ("hummus-200g", "Hummus 200 g", 18, 189, FOOD, "20% off", 223.0, 2.0),
    ("pasta-500g", "Spaghetti 500 g", 19, 99, FOOD, "", 506.0, 2.5),
    ("rice-1kg", "Basmati rice 1 kg", 20, 289, FOOD, "", 1012.0, 4.0),
    ("flour-1kg", "Wheat flour 1 kg", 21, 89, FOOD, "", 1009.0, 4.0),
    ("tomatoes-tin-400g", "Chopped tomatoes 400 g tin", 22, 109, FOOD, "", 465.0, 3.0),
    ("beans-tin-400g", "Kidney beans 400 g tin", 23, 119, FOOD, "", 461.0, 3.0),
    ("olive-oil-500ml", "Olive oil 0.5 l", 24, 899, FOOD, "", 930.0, 9.0),
    ("detergent-1500g", "Washing powder 1.4 kg", 25, 549, OTHER, "", 1490.0, 10.0),
    ("coffee-500g", "Ground coffee 500 g", 26, 599, FOOD, "", 517.0, 2.0),
    ("tea-black-25", "Black tea, 25 bags", 27, 179, FOOD, "", 62.0, 0.8),
    ("chocolate-100g", "Milk chocolate 100 g", 28, 129, FOOD, "3 for 2", 104.0, 0.8),
    ("chocolate-dark-100g", "Dark chocolate 100 g", 29, 149, FOOD, "", 105.0, 0.8),
    ("crisps-175g", "Salted crisps 175 g", 30, 179, FOOD, "", 187.0, 2.0),
    ("bar-muesli-25g", "Muesli bar 25 g", 31, 69, FOOD, "", 26.5, 0.5),
    ("gum-mint", "Chewing gum mint", 32, 89, FOOD, "", 20.0, 0.3),
    ("sandwich-cheese", "Cheese sandwich", 33, 349, FOOD, "", 182.0, 9.0),
    ("salad-bowl", "Green salad bowl", 34, 429, FOOD, "", 246.0, 14.0),
    ("croissant", "Butter croissant", 35, 119, FOOD, "", 64.0, 7.0),
    ("banana", "Banana", 36, 35, FOOD, "", 178.0, 30.0),
    ("apple", "Apple", 37, 55, FOOD, "", 185.0, 24.0),
    ("avocado", "Avocado", 38, 149, FOOD, "", 210.0, 32.0),
    ("bell-pepper", "Red bell pepper", 39, 99, FOOD, "", 190.0, 28.0),
    ("batteries-aa-4", "Batteries AA, four", 40, 449, OTHER, "", 98.0, 0.6),
)
_MAKER = "2900435"  # restricted range 29; then five digits of item reference


def _row_item(row: tuple[str, str, int, int, int, str, float, float]) -> Item:
    sku, name, reference, price_minor, tax_permille, promotion, mass_g, mass_sd_g = row
    body = f"{_MAKER}{reference * 11:05d}"  # this step: no GTIN passes for a card number (Luhn)
    return Item(
        id=sku,
        name=name,
        gtin=f"{body}{gtin_check_digit(body)}",
        price_minor=price_minor,
        tax_permille=tax_permille,
        promotion=promotion,
        mass_g=mass_g,
        mass_sd_g=mass_sd_g,
    )


CATALOGUE: tuple[Item, ...] = tuple(_row_item(row) for row in _ROWS)

# What `walkout retailer check` asks for; docs/retailer-guide.md tells retailers to set these up.
_TEST_ROWS: tuple[tuple[str, str, int, int, int, str, float, float], ...] = (
    ("walkout-check-1", "Test item 1", 81, 199, FOOD, "", 0.0, 0.0),
    ("walkout-check-2", "Test item 2", 82, 349, OTHER, "3 for 2", 0.0, 0.0),
    ("walkout-check-loose", "Test item by weight", 83, 1999, FOOD, "", 0.0, 0.0),
    ("walkout-check-changed", "Test item with a new price", 84, 259, FOOD, "", 0.0, 0.0),
)
_TEST_CHANGES: dict[str, dict[str, Any]] = {
    "walkout-check-loose": {"unit": "gram"},
    "walkout-check-changed": {"former_price_minor": 229, "changed_at": "2026-01-01T00:00:00Z"},
}
TEST_GOODS: dict[str, Item] = {
    item.id: check(replace(item, **_TEST_CHANGES.get(item.id, {})))
    for item in map(_row_item, _TEST_ROWS)
}
