"""Money is exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.money import Money, MoneyError, allocate


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(1299, "EUR", "12.99 EUR"), (-5, "EUR", "-0.05 EUR"), (100, "JPY", "100 JPY")],
)
def test_money_reads_as_people_write_it(minor, currency, text):
    assert str(Money(minor=minor, currency=currency)) == text


@pytest.mark.parametrize("minor", [1.0, "1", True, 2**53, None])
def test_an_amount_that_is_no_exact_integer_is_refused(minor):
    with pytest.raises(MoneyError):
        Money(minor=minor, currency="EUR")


def test_currencies_do_not_mix_and_unknown_ones_are_refused():
    with pytest.raises(MoneyError, match="USD"):
        Money(minor=1, currency="EUR") + Money(minor=1, currency="USD")
    with pytest.raises(MoneyError, match="ZZZ"):
        Money(minor=1, currency="ZZZ")


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any),
)
def test_parts_of_an_amount_add_up_and_differ_by_at_most_one_from_exact(minor, shares):
    parts = allocate(Money(minor=minor, currency="EUR"), shares)
    assert sum(part.minor for part in parts) == minor
    for part, share in zip(parts, shares, strict=True):
        assert abs(part.minor - minor * share / sum(shares)) < 1


def test_an_amount_cannot_be_split_by_nothing():
    with pytest.raises(MoneyError):
        allocate(Money(minor=1, currency="EUR"), [0, 0])
