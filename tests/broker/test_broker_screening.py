"""Card numbers in all their dresses, and what only looks like one."""

from __future__ import annotations

import uuid
from random import Random

import pytest

from broker.screening import card_number_at, has_card_number, luhn_valid

# Numbers that payment providers publish for tests.
CARDS = (
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "30569309025904",
    "6011111111111117",
    "3530111333300000",
    "4222222222222",
)


@pytest.mark.parametrize("card", CARDS)
def test_card_number_is_found_in_one_run_whatever_stands_around_it(card: str) -> None:
    assert luhn_valid(card)
    for text in (card, f"card{card}", f"x_{card}_y", f"pan={card};", f"{card}\n", f"00-{card}"):
        assert has_card_number(text), text


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111.1111.1111.1111",
        "pay 4111 1111 1111 1111 123 now",
        "2026 4111 1111 1111 1111",
        "3782 822463 10005",
        "3056 930902 5904",
        "4222 222 222 222",
        "\u0664\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661",
    ],
)
def test_card_number_is_found_in_printed_groups(text: str) -> None:
    assert has_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # wrong check digit
        "411111111111",  # too short
        "41111111111111111111",  # too long
        "2026-11-22 10:15:00",
        "hold-lab-v1",
        "49 30 1234567 89 01",
        "a3f04111111111111111c9d2e8b74f60",  # a digest
        "",
    ],
)
def test_other_numbers_pass(text: str) -> None:
    assert not has_card_number(text)


def test_uuids_are_never_taken_for_cards() -> None:
    rng = Random(7)
    for _ in range(20_000):
        made = uuid.UUID(int=rng.getrandbits(128), version=4)
        assert not has_card_number(str(made))
        assert not has_card_number(f"visit:{made.hex}")


def test_the_path_names_the_field_and_not_the_value() -> None:
    card = 4111111111111111
    assert card_number_at({"a": [{"b": "fine"}, {"c": str(card)}]}) == "$.a[1].c"
    assert card_number_at({"amount": card}) == "$.amount"
    assert card_number_at({"amount": float(card)}) == "$.amount"
    assert card_number_at({str(card): 1}) == "$"
    assert card_number_at({"a": [1, 2.5, None, True, "x"]}) is None
