"""Invoices and credit notes as UBL 2.1, as EN 16931 binds it (CEN/TS 16931-3-2).

What the standard wants and no more. Prices are told per whole line (a base quantity), so that a net
line amount never depends on a rounded price. ``en16931.py`` reads it back and computes it anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from broker.systems.micro_parties import Party
from broker.systems.vat import Amounts, NetLine
from messages.money import EXPONENT

INVOICE, CREDIT_NOTE = "380", "381"  # UNCL 1001
PIECES = "C62"  # UN/ECE recommendation 20: one
ON_ACCOUNT = "57"  # UNCL 4461: standing agreement
CUSTOMIZATION = "urn:cen.eu:en16931:2017"
# What XML 1.0 cannot hold, however it is written; it is left out.
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NAMESPACE = "urn:oasis:names:specification:ubl:schema:xsd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """``about``: the invoice that a credit note corrects, "" for an invoice."""

    number: str
    issued_on: str  # 2027-01-31
    currency: str
    seller: Party
    buyer: Party
    amounts: Amounts
    note: str
    about: str = ""
    about_issued_on: str = ""


def write(document: Document) -> str:
    """The document as XML."""
    credit = bool(document.about)
    root = "CreditNote" if credit else "Invoice"
    code = CREDIT_NOTE if credit else INVOICE
    parts = [
        _text("CustomizationID", CUSTOMIZATION),
        _text("ID", document.number),
        _text("IssueDate", document.issued_on),
        _text(f"{root}TypeCode", code),
        _text("DocumentCurrencyCode", document.currency),
        _about(document) if credit else "",
        _party("AccountingSupplierParty", document.seller),
        _party("AccountingCustomerParty", document.buyer),
        _group("PaymentMeans", _text("PaymentMeansCode", ON_ACCOUNT)),
        _group("PaymentTerms", _text("Note", document.note)),
        _taxes(document),
        _totals(document),
        *(_line(document, place, line) for place, line in enumerate(document.amounts.lines, 1)),
    ]
    spaces = (
        f'xmlns="{NAMESPACE}:{root}-2" xmlns:cac="{NAMESPACE}:CommonAggregateComponents-2"'
        f' xmlns:cbc="{NAMESPACE}:CommonBasicComponents-2"'
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} {spaces}>{"".join(parts)}</{root}>\n'


def decimal(minor: int, currency: str) -> str:
    """1299 EUR -> 12.99; no currency of ours has more than three digits."""
    digits = EXPONENT[currency]
    sign, amount = ("-" if minor < 0 else ""), abs(minor)
    whole, part = divmod(amount, 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}" if digits else f"{sign}{whole}"


def percent(vat_bp: int) -> str:
    """1900 -> 19.00."""
    return f"{vat_bp // 100}.{vat_bp % 100:02d}"


def _about(document: Document) -> str:
    inner = _text("ID", document.about) + _text("IssueDate", document.about_issued_on)
    return _group("BillingReference", _group("InvoiceDocumentReference", inner))


def _party(tag: str, party: Party) -> str:
    address = (
        _text("StreetName", party.street)
        + _text("CityName", party.city)
        + _text("PostalZone", party.postcode)
        + _group("Country", _text("IdentificationCode", party.country))
    )
    scheme = _group("TaxScheme", _text("ID", "VAT"))
    tax = _group("PartyTaxScheme", _text("CompanyID", party.vat_id) + scheme)
    legal = _group("PartyLegalEntity", _text("RegistrationName", party.name))
    inner = _group("PostalAddress", address) + (tax if party.vat_id else "") + legal
    return _group(tag, _group("Party", inner))


def _taxes(document: Document) -> str:
    subtotals = "".join(
        _group(
            "TaxSubtotal",
            _amount(document, "TaxableAmount", rate.taxable_minor)
            + _amount(document, "TaxAmount", rate.vat_minor)
            + _category("TaxCategory", rate.category, rate.vat_bp),
        )
        for rate in document.amounts.rates
    )
    return _group(
        "TaxTotal", _amount(document, "TaxAmount", document.amounts.vat_minor) + subtotals
    )


def _totals(document: Document) -> str:
    amounts = document.amounts
    given = [
        ("LineExtensionAmount", amounts.net_minor),
        ("TaxExclusiveAmount", amounts.net_minor),
        ("TaxInclusiveAmount", amounts.net_minor + amounts.vat_minor),
        *([("PayableRoundingAmount", amounts.rounding_minor)] if amounts.rounding_minor else []),
        ("PayableAmount", amounts.payable_minor),
    ]
    inner = "".join(_amount(document, tag, minor) for tag, minor in given)
    return _group("LegalMonetaryTotal", inner)


def _line(document: Document, place: int, line: NetLine) -> str:
    tag = "CreditNoteLine" if document.about else "InvoiceLine"
    counted = "CreditedQuantity" if document.about else "InvoicedQuantity"
    category = "S" if line.vat_bp else "Z"
    item = _text("Name", line.name) + _category("ClassifiedTaxCategory", category, line.vat_bp)
    price = _amount(document, "PriceAmount", line.net_minor) + _quantity("BaseQuantity", line)
    inner = (
        _text("ID", str(place))
        + _quantity(counted, line)
        + _amount(document, "LineExtensionAmount", line.net_minor)
        + _group("Item", item)
        + _group("Price", price)
    )
    return _group(tag, inner)


def _category(tag: str, category: str, vat_bp: int) -> str:
    scheme = _group("TaxScheme", _text("ID", "VAT"))
    return _group(tag, _text("ID", category) + _text("Percent", percent(vat_bp)) + scheme)


def _quantity(tag: str, line: NetLine) -> str:
    return f'<cbc:{tag} unitCode="{PIECES}">{line.quantity}</cbc:{tag}>'


def _amount(document: Document, tag: str, minor: int) -> str:
    money = decimal(minor, document.currency)
    return f'<cbc:{tag} currencyID="{document.currency}">{money}</cbc:{tag}>'


def _text(tag: str, text: str) -> str:
    return f"<cbc:{tag}>{escape(NO_XML.sub('', text))}</cbc:{tag}>" if text else ""


def _group(tag: str, inner: str) -> str:
    return f"<cac:{tag}>{inner}</cac:{tag}>" if inner else ""
