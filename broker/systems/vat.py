"""VAT of an invoice whose prices were paid with VAT included: exact, to the minor unit.

For each rate: net = gross / (1 + rate), rounded half up; VAT = net x rate, rounded half up, as
EN 16931 recomputes it (BR-CO-17, whose tolerance of one unit of currency we do not use). Their sum
can miss the gross by a cent a rate; the difference is the invoice's rounding amount (BT-114), so
that what is payable is what was charged. Nets of lines are split by largest remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from messages.money import Money, allocate

BP = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GrossLine:
    name: str
    quantity: int
    gross_minor: int
    vat_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetLine:
    name: str
    quantity: int
    net_minor: int
    vat_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One line of the VAT breakdown (BG-23)."""

    vat_bp: int
    taxable_minor: int
    vat_minor: int

    @property
    def category(self) -> str:
        """UNCL 5305: S standard or reduced rate, Z zero rated."""
        return "S" if self.vat_bp else "Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """``payable_minor`` = nets + VAT + ``rounding_minor`` = what was charged."""

    lines: tuple[NetLine, ...]
    rates: tuple[Rate, ...]
    rounding_minor: int
    payable_minor: int

    @property
    def net_minor(self) -> int:
        return sum(rate.taxable_minor for rate in self.rates)

    @property
    def vat_minor(self) -> int:
        return sum(rate.vat_minor for rate in self.rates)


def vat_of(taxable_minor: int, vat_bp: int) -> int:
    """VAT on a net amount, rounded half up."""
    return (2 * taxable_minor * vat_bp + BP) // (2 * BP)


def net_of(gross_minor: int, vat_bp: int) -> int:
    """The net amount in a gross one, rounded half up."""
    whole = BP + vat_bp
    return (2 * gross_minor * BP + whole) // (2 * whole)


def amounts(lines: Sequence[GrossLine], currency: str) -> Amounts:
    """An invoice's amounts; lines that cost nothing stay in it."""
    nets, rates = dict[int, NetLine](), list[Rate]()
    for vat_bp in sorted({line.vat_bp for line in lines}, reverse=True):
        places = [place for place, line in enumerate(lines) if line.vat_bp == vat_bp]
        gross = [lines[place].gross_minor for place in places]
        taxable_minor = net_of(sum(gross), vat_bp)
        rates.append(
            Rate(
                vat_bp=vat_bp,
                taxable_minor=taxable_minor,
                vat_minor=vat_of(taxable_minor, vat_bp),
            )
        )
        for place, net_minor in zip(places, _split(taxable_minor, gross, currency), strict=True):
            nets[place] = _net(lines[place], net_minor)
    payable_minor = sum(line.gross_minor for line in lines)
    summed = sum(rate.taxable_minor + rate.vat_minor for rate in rates)
    return Amounts(
        lines=tuple(nets[place] for place in range(len(lines))),
        rates=tuple(rates),
        rounding_minor=payable_minor - summed,
        payable_minor=payable_minor,
    )


def _split(taxable_minor: int, gross: Sequence[int], currency: str) -> list[int]:
    if not any(gross):
        return [0] * len(gross)
    total = Money(minor=taxable_minor, currency=currency)
    return [part.minor for part in allocate(total, list(gross))]


def _net(line: GrossLine, net_minor: int) -> NetLine:
    return NetLine(name=line.name, quantity=line.quantity, net_minor=net_minor, vat_bp=line.vat_bp)
