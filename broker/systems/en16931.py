"""Read an invoice back and compute it anew: what EN 16931 asks of the documents that we write.

The official rules let VAT be off by up to one unit of currency (BR-CO-17); this check does not.
It is for our own documents: the parser takes no input from strangers.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from xml.etree import ElementTree

from broker.systems.ubl import NAMESPACE
from broker.systems.vat import vat_of
from messages.money import EXPONENT

CAC = f"{{{NAMESPACE}:CommonAggregateComponents-2}}"
CBC = f"{{{NAMESPACE}:CommonBasicComponents-2}}"

# Rule -> where it looks; each must be there and not empty.
NEEDED = {
    "BR-01 specification": "cbc:CustomizationID",
    "BR-02 number": "cbc:ID",
    "BR-03 issue date": "cbc:IssueDate",
    "BR-05 currency": "cbc:DocumentCurrencyCode",
    "BR-06 seller's name": "cac:AccountingSupplierParty//cbc:RegistrationName",
    "BR-07 buyer's name": "cac:AccountingCustomerParty//cbc:RegistrationName",
    "BR-09 seller's country": "cac:AccountingSupplierParty//cbc:IdentificationCode",
    "BR-11 buyer's country": "cac:AccountingCustomerParty//cbc:IdentificationCode",
    "BR-S-02 seller's VAT id": "cac:AccountingSupplierParty//cac:PartyTaxScheme/cbc:CompanyID",
    "BR-CO-25 terms": "cac:PaymentTerms/cbc:Note",
}
SPACES = {"cac": CAC[1:-1], "cbc": CBC[1:-1]}


def faults(text: str) -> list[str]:
    """What is wrong with a document; empty when nothing is."""
    root = ElementTree.fromstring(text)  # noqa: S314
    currency = _text(root, "cbc:DocumentCurrencyCode")
    found = [rule for rule, path in NEEDED.items() if not _text(root, path)]
    if currency not in EXPONENT:
        return [*found, "BR-05 currency is unknown"]
    try:
        return [*found, *_sums(root, EXPONENT[currency]), *_rates(root, EXPONENT[currency])]
    except (InvalidOperation, ValueError) as error:
        return [*found, f"BR-DEC {error}"]


def _sums(root: ElementTree.Element, digits: int) -> Iterator[str]:
    lines = _lines(root)
    total = "cac:LegalMonetaryTotal/cbc:"
    net = sum(_minor(line, "cbc:LineExtensionAmount", digits) for line in lines)
    taxes = _minors(root, "cac:TaxTotal/cac:TaxSubtotal/cbc:TaxAmount", digits)
    vat = _minor(root, "cac:TaxTotal/cbc:TaxAmount", digits)
    line_sum = _minor(root, f"{total}LineExtensionAmount", digits)
    exclusive = _minor(root, f"{total}TaxExclusiveAmount", digits)
    inclusive = _minor(root, f"{total}TaxInclusiveAmount", digits)
    rounding = _minor(root, f"{total}PayableRoundingAmount", digits, default="0")
    payable = _minor(root, f"{total}PayableAmount", digits)
    checks = {
        "BR-16 no line": bool(lines),
        "BR-CO-10 sum of lines": net == line_sum,
        "BR-CO-13 total without VAT": exclusive == line_sum,
        "BR-CO-14 sum of VAT": vat == sum(taxes),
        "BR-CO-15 total with VAT": inclusive == exclusive + vat,
        "BR-CO-16 amount due": payable == inclusive + rounding,
        "rounding beyond a minor unit a rate": abs(rounding) <= len(taxes),
    }
    yield from (rule for rule, holds in checks.items() if not holds)
    if any(not _text(line, "cac:Item/cbc:Name") for line in lines):
        yield "BR-25 item's name"


def _rates(root: ElementTree.Element, digits: int) -> Iterator[str]:
    by_rate = dict[int, int]()
    for line in _lines(root):
        bp = _bp(line, "cac:Item/cac:ClassifiedTaxCategory/cbc:Percent")
        by_rate[bp] = by_rate.get(bp, 0) + _minor(line, "cbc:LineExtensionAmount", digits)
    seen = list[int]()
    for part in root.findall("cac:TaxTotal/cac:TaxSubtotal", SPACES):
        bp = _bp(part, "cac:TaxCategory/cbc:Percent")
        taxable = _minor(part, "cbc:TaxableAmount", digits)
        seen.append(bp)
        if taxable != by_rate.get(bp):
            yield f"BR-S-08 taxable amount at {bp / 100:g} %"
        if _minor(part, "cbc:TaxAmount", digits) != vat_of(taxable, bp):
            yield f"VAT at {bp / 100:g} % is not exact"
    if sorted(seen) != sorted(by_rate):
        yield "BR-CO-18 VAT breakdown"


def _lines(root: ElementTree.Element) -> list[ElementTree.Element]:
    return root.findall("cac:InvoiceLine", SPACES) + root.findall("cac:CreditNoteLine", SPACES)


def _minors(root: ElementTree.Element, path: str, digits: int) -> list[int]:
    return [_whole(one.text or "", digits) for one in root.findall(path, SPACES)]


def _minor(root: ElementTree.Element, path: str, digits: int, default: str | None = None) -> int:
    return _whole(_text(root, path) or default or "", digits)


def _bp(root: ElementTree.Element, path: str) -> int:
    return _whole(_text(root, path), 2)


def _whole(text: str, digits: int) -> int:
    """An amount in minor units; raises ValueError for more digits than the currency has."""
    scaled = Decimal(text).scaleb(digits)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{text} has too many decimals")
    return int(scaled)


def _text(root: ElementTree.Element, path: str) -> str:
    return (root.findtext(path, default="", namespaces=SPACES) or "").strip()
