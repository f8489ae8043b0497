"""Money: integer minor units with an ISO 4217 currency. No float ever."""

from __future__ import annotations

from dataclasses import dataclass

# Digits after the point, ISO 4217; currencies not listed are refused rather than guessed.
EXPONENT = {"EUR": 2, "USD": 2, "GBP": 2, "CHF": 2, "SEK": 2, "PLN": 2, "JPY": 0, "KWD": 3}
MINOR_MAX = 2**53 - 1  # what every JSON reader holds exactly


class MoneyError(ValueError):
    """An amount that is no exact integer, too large, or in an unknown or other currency."""


@dataclass(frozen=True, slots=True, kw_only=True, order=False)
class Money:
    """An amount: ``Money(minor=1299, currency="EUR")`` is 12.99 EUR.

    Raises:
        MoneyError: minor is not an int, beyond +-2**53, or the currency is unknown.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int or abs(self.minor) > MINOR_MAX:
            raise MoneyError(f"amount {self.minor!r} is not an integer of minor units")
        if self.currency not in EXPONENT:
            known = ", ".join(sorted(EXPONENT))
            raise MoneyError(f"unknown currency {self.currency!r}; known: {known}")

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(minor=self.minor + other.minor, currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(minor=self.minor - other.minor, currency=self.currency)

    def __str__(self) -> str:
        digits = EXPONENT[self.currency]
        sign = "-" if self.minor < 0 else ""
        whole, part = divmod(abs(self.minor), 10**digits)
        return f"{sign}{whole}" + (f".{part:0{digits}d}" if digits else "") + f" {self.currency}"

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise MoneyError(f"cannot add {other.currency} to {self.currency}")


def allocate(total: Money, shares: list[int]) -> list[Money]:
    """Split an amount in proportion to integer shares; the parts add up exactly.

    Largest remainder method: each part is rounded down, the units left over go to the largest
    remainders, ties to the earlier part.

    Raises:
        MoneyError: no positive share, or a negative one.
    """
    whole = sum(shares)
    if whole <= 0 or min(shares) < 0:
        raise MoneyError(f"cannot split by shares {shares}")
    sign = -1 if total.minor < 0 else 1
    amount = abs(total.minor)
    parts = [amount * share // whole for share in shares]
    remainder = [amount * share % whole for share in shares]
    order = sorted(range(len(shares)), key=lambda i: (-remainder[i], i))
    for i in order[: amount - sum(parts)]:
        parts[i] += 1
    return [Money(minor=sign * part, currency=total.currency) for part in parts]
