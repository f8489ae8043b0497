"""What must hold of system G, as queries that count what breaks it (invariant 19 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "a total is the sum of what it is made of": """
        SELECT COUNT(*) FROM checkout WHERE total_minor <> lines_minor + way_minor
            + extras_minor + tax_minor - discount_minor""",
    "a completed checkout has one order, every other none": """
        SELECT COUNT(*) FROM checkout c LEFT JOIN shop_order o ON o.checkout = c.checkout
        WHERE (c.state = 'completed') <> (o.checkout IS NOT NULL)""",
    "what is authorised is the total that was shown": """
        SELECT COUNT(*) FROM shop_order o JOIN checkout c ON c.checkout = o.checkout
        WHERE o.authorised_minor <> c.total_minor OR o.totals_hash <> c.totals_hash
            OR o.totals_hash = ''""",
    "captures and what is still held are within what was authorised": """
        SELECT COUNT(*) FROM shop_order o JOIN hold h ON h.hold = o.hold
        WHERE o.captured_minor <> (SELECT COALESCE(SUM(s.amount_minor), 0) FROM shipment s
                WHERE s.order_id = o.order_id)
            OR o.captured_minor + CASE WHEN h.status = 'held' THEN h.amount_minor ELSE 0 END
                > o.authorised_minor""",
    "a shipment is charged to its shopper, to the cent": """
        SELECT COUNT(*) FROM shipment s JOIN shop_order o ON o.order_id = s.order_id
        WHERE s.amount_minor <> (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                WHERE p.journal = s.journal AND p.account = 'shopper_receivable:' || o.account)
            OR (s.state = 'packed' AND s.amount_minor <> 0)
            OR (s.state = 'returned' AND s.amount_minor <> (
                SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                WHERE p.journal = s.returned_journal
                AND p.account = 'merchant_payable:' || o.merchant))""",
    "an order that is over holds nothing": """
        SELECT COUNT(*) FROM shop_order o JOIN hold h ON h.hold = o.hold
        WHERE o.state IN ('fulfilled', 'canceled', 'closed') AND h.status = 'held'""",
    "a canceled order captured nothing, a fulfilled one all of it": """
        SELECT COUNT(*) FROM shop_order WHERE (state = 'canceled' AND captured_minor <> 0)
            OR (state = 'fulfilled' AND captured_minor <> authorised_minor)""",
}
