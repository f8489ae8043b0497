"""The goods that the retailer sells and the simulator shelves."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from sim.retailer.catalogue import (
    CATALOGUE,
    CatalogueError,
    catalogue_of,
    check,
    gtin_check_digit,
    read_catalogue,
    write_catalogue,
)


def test_there_are_forty_goods_with_masses_that_a_shelf_can_tell_or_not() -> None:
    assert len(CATALOGUE) == len({item.id for item in CATALOGUE}) == 40
    assert all(20.0 <= item.mass_g <= 1500.0 for item in CATALOGUE)
    alike = [(a, b) for a, b in combinations(CATALOGUE, 2) if abs(a.mass_g - b.mass_g) <= 5.0]
    assert len(alike) >= 5
    fresh = [item for item in CATALOGUE if item.mass_sd_g >= 0.1 * item.mass_g]
    assert "banana" in {item.id for item in fresh}
    assert all(item.mass_sd_g <= 0.2 * item.mass_g for item in CATALOGUE)


def test_check_digit_follows_the_published_example() -> None:
    assert gtin_check_digit("629104150021") == 3  # GS1's own worked example, 6291041500213


def test_wrong_check_digit_price_or_promotion_is_refused() -> None:
    milk = CATALOGUE[0]
    wrong = milk.gtin[:-1] + str((int(milk.gtin[-1]) + 1) % 10)
    for broken in (
        replace(milk, gtin=wrong),
        replace(milk, gtin="12345"),
        replace(milk, price_minor=-1),
        replace(milk, price_minor=1.5),  # type: ignore[arg-type]
        replace(milk, promotion="2 for 3"),
        replace(milk, promotion="cheap"),
    ):
        with pytest.raises(CatalogueError, match="milk-1l"):
            check(broken)
    with pytest.raises(CatalogueError, match="twice"):
        catalogue_of([milk, milk])


def test_written_catalogue_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    write_catalogue(path, CATALOGUE)
    assert tuple(read_catalogue(path).items.values()) == CATALOGUE


def test_unknown_key_in_the_file_names_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    write_catalogue(path, CATALOGUE[:1])
    path.write_text(path.read_text().replace("price_minor", "price"))
    with pytest.raises(CatalogueError, match="price_minor"):
        read_catalogue(path)
