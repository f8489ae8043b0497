"""The official EN 16931 rules (CEN's schematron, compiled) over what our writer writes.

``en16931/`` has the rules with their licence (EUPL 1.2) and where they come from. They are run by
Saxon; our own check runs beside them, and is stricter about VAT.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from saxonche import PySaxonProcessor

from broker.systems import en16931, ubl, vat
from broker.systems.micro_parties import Party
from broker.systems.ubl import Document
from broker.systems.vat import GrossLine

RULES = Path(__file__).parent / "en16931" / "CEN-EN16931-UBL.xslt.gz"
FAILED = re.compile(r'failed-assert[^>]*?\bid="([^"]+)"')

LINES = [GrossLine(name=f"Coffee {i}", quantity=1 + i % 3, gross_minor=131 + 7 * i, vat_bp=bp)
         for i, bp in enumerate([1_900, 700, 0] * 13)]  # fmt: skip
INVOICE = Document(
    number="KIOSK-000001",
    issued_on="2027-01-31",
    currency="EUR",
    seller=Party(name="Kiosk <Nord> & Co", country="DE", city="Berlin", vat_id="DE123456789"),
    buyer=Party(name="A Household", country="AT"),
    amounts=vat.amounts(LINES, "EUR"),
    note="Charged to the stored account",
)
CREDIT_NOTE = replace(INVOICE, number="KIOSK-000002", about="KIOSK-000001",
                      about_issued_on="2027-01-31")  # fmt: skip

Judge = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def official() -> Iterator[Judge]:
    """Which official rules a document breaks."""
    with PySaxonProcessor(license=False) as saxon:
        rules = gzip.decompress(RULES.read_bytes()).decode()
        sheet = saxon.new_xslt30_processor().compile_stylesheet(stylesheet_text=rules)

        def judge(text: str) -> list[str]:
            report = sheet.transform_to_string(xdm_node=saxon.parse_xml(xml_text=text))
            assert "fired-rule" in report  # it looked at the document
            return sorted(set(FAILED.findall(report)))

        yield judge


@pytest.mark.parametrize("document", [INVOICE, CREDIT_NOTE], ids=["invoice", "credit note"])
def test_official_rules_accept_what_we_write(official: Judge, document: Document) -> None:
    text = ubl.write(document)
    assert official(text) == []
    assert en16931.faults(text) == []


def off(tag: str, minor: int) -> Callable[[str], str]:
    """The first amount of a tag, wrong by some minor units."""

    def change(text: str) -> str:
        found = re.search(rf'(<cbc:{tag} currencyID="EUR">)(-?\d+)\.(\d\d)<', text)
        assert found is not None
        wrong = int(found[2] + found[3]) + minor
        return text.replace(found[0], f"{found[1]}{wrong // 100}.{wrong % 100:02d}<", 1)

    return change


def without(pattern: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert re.search(pattern, text)
        return re.sub(pattern, "", text, count=1)

    return change


PLANTED = {
    "sum of lines": (off("LineExtensionAmount", 1), "BR-CO-10"),
    "total with VAT": (off("TaxInclusiveAmount", 1), "BR-CO-15"),
    "amount due": (off("PayableAmount", 1), "BR-CO-16"),
    "a line is lost": (without(r"<cac:InvoiceLine>.*?</cac:InvoiceLine>"), "BR-CO-10"),
    "buyer's name": (
        without(r"<cac:PartyLegalEntity><cbc:RegistrationName>A H.*?</cac:PartyLegalEntity>"),
        "BR-07",
    ),
    "seller's VAT id": (without(r"<cac:PartyTaxScheme>.*?</cac:PartyTaxScheme>"), "BR-S-02"),
    "terms": (without(r"<cac:PaymentTerms>.*?</cac:PaymentTerms>"), "BR-CO-25"),
}


@pytest.mark.parametrize("fault", sorted(PLANTED))
def test_planted_fault_is_refused_by_the_official_rules_and_by_ours(
    official: Judge, fault: str
) -> None:
    change, rule = PLANTED[fault]
    text = change(ubl.write(INVOICE))
    assert rule in official(text)
    assert en16931.faults(text) != []


def test_wrong_vat_that_the_official_rules_let_pass_is_found_by_ours(official: Judge) -> None:
    text = ubl.write(INVOICE)
    rate = INVOICE.amounts.rates[0]
    wrong = replace(rate, vat_minor=rate.vat_minor + 50)
    made = INVOICE.amounts
    consistent = replace(
        INVOICE,
        amounts=replace(
            made, rates=(wrong, *made.rates[1:]), payable_minor=made.payable_minor + 50
        ),
    )
    assert ubl.write(consistent) != text
    assert official(ubl.write(consistent)) == []  # BR-CO-17 tolerates a unit of currency
    assert en16931.faults(ubl.write(consistent)) == ["VAT at 19 % is not exact"]
