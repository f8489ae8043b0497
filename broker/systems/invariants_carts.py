"""What must hold of system D, as queries that count what breaks it (invariant 16 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "splits are the charge, to the cent": """
        SELECT COUNT(*) FROM market_cart c WHERE c.state = 'paid' AND (
            c.total_minor <> (SELECT COALESCE(SUM(s.amount_minor), 0) FROM market_split s
                WHERE s.cart = c.cart)
            OR c.total_minor <> (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                WHERE p.journal = c.journal AND p.account = 'shopper_receivable:' || c.account))""",
    "each merchant is credited its split less the fee": """
        SELECT COUNT(*) FROM market_split s JOIN market_cart c ON c.cart = s.cart
        WHERE s.amount_minor - s.fee_minor <> (SELECT COALESCE(-SUM(p.amount_minor), 0)
            FROM posting p WHERE p.journal = c.journal
            AND p.account = 'merchant_payable:' || s.merchant)""",
    "a split is its part's lines, and only confirmed parts have one": """
        SELECT COUNT(*) FROM market_split s
        LEFT JOIN market_part p ON p.cart = s.cart AND p.merchant = s.merchant
        WHERE p.cart IS NULL OR p.state <> 'confirmed' OR s.amount_minor <> (
            SELECT COALESCE(SUM(l.total_minor), 0) FROM market_line l
            WHERE l.cart = s.cart AND l.merchant = s.merchant)""",
    "nothing is split or charged before the purchase": """
        SELECT COUNT(*) FROM market_cart c WHERE c.state <> 'paid' AND (c.journal IS NOT NULL
            OR EXISTS (SELECT 1 FROM market_split s WHERE s.cart = c.cart))""",
    "a refund touches its own split and no more than is left of it": """
        SELECT (SELECT COUNT(*) FROM market_split s WHERE s.amount_minor < (
            SELECT COALESCE(SUM(r.amount_minor), 0) FROM market_refund r
            WHERE r.cart = s.cart AND r.merchant = s.merchant))
        + (SELECT COUNT(*) FROM market_refund r JOIN posting p ON p.journal = r.journal
            WHERE p.account LIKE 'merchant_payable:%'
            AND p.account <> 'merchant_payable:' || r.merchant)
        + (SELECT COUNT(*) FROM market_refund r LEFT JOIN market_split s
            ON s.cart = r.cart AND s.merchant = r.merchant WHERE s.cart IS NULL)""",
    "a shared line is bought once, by a cart that paid for it": """
        SELECT COUNT(*) FROM market_line l
        LEFT JOIN market_cart b ON b.cart = l.taken_by AND b.state = 'paid'
        LEFT JOIN market_line m ON m.cart = l.taken_by AND m.merchant = l.merchant
            AND m.line_id = l.line_id AND m.total_minor = l.total_minor
        WHERE l.taken_by <> '' AND (b.cart IS NULL OR m.cart IS NULL)""",
}
