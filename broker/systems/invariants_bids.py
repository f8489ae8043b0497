"""What must hold of system F, as queries that count what breaks it (invariant 18 of the facts).

That a winner follows from the log is computed, not queried: ``bids.misjudged``.
"""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "no bid is late": """
        SELECT COUNT(*) FROM bid b JOIN bid_request r ON r.request = b.request
        WHERE b.received_s >= r.closes_s OR b.received_s < r.opened_s""",
    "a customer pays the price that was quoted": """
        SELECT COUNT(*) FROM display_sale s LEFT JOIN bid_quote q ON q.request = s.request
        WHERE s.price_minor <> (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                WHERE p.journal = s.journal AND p.account = 'shopper_receivable:' || s.account)
            OR (q.quote IS NOT NULL AND (q.price_minor <> s.price_minor
                OR q.state <> 'accepted'))""",
    "an accepted quote is a sale, and every sale before bids has one": """
        SELECT (SELECT COUNT(*) FROM bid_quote q LEFT JOIN display_sale s
            ON s.request = q.request WHERE (q.state = 'accepted') <> (s.sale IS NOT NULL))
        + (SELECT COUNT(*) FROM display_sale s JOIN bid_request r ON r.request = s.request
            LEFT JOIN bid_quote q ON q.request = s.request
            WHERE (r.mode = 'before') <> (q.quote IS NOT NULL))""",
    "after the sale: it is recorded before any bid is opened": """
        SELECT COUNT(*) FROM bid_request r LEFT JOIN display_sale s ON s.request = r.request
        WHERE r.mode = 'after' AND (s.sale IS NULL OR s.sold_s > r.opened_s)""",
    "one award counts, those before it are defaults": """
        SELECT COUNT(*) FROM award a WHERE a.state <> 'defaulted'
            AND EXISTS (SELECT 1 FROM award b WHERE b.request = a.request AND b.rank > a.rank)""",
    "a delivered award is paid its bid, nothing else is": """
        SELECT COUNT(*) FROM award a WHERE (a.state = 'fulfilled') <> (a.journal IS NOT NULL)
            OR (a.journal IS NOT NULL AND a.total_minor <> (
                SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                WHERE p.journal = a.journal AND p.account = 'bid_margin'))""",
    "a default never costs the customer": """
        SELECT COUNT(*) FROM display_sale s WHERE (s.state = 'refunded'
            AND s.price_minor <> (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                WHERE p.journal = s.refund_journal AND p.account = 'bid_margin'))
            OR (s.state <> 'refunded' AND s.refund_journal IS NOT NULL)""",
    "a sale ends as its award does": """
        SELECT COUNT(*) FROM display_sale s JOIN bid_request r ON r.request = s.request
        WHERE (s.state = 'fulfilled') <> EXISTS (SELECT 1 FROM award a
                WHERE a.request = s.request AND a.state = 'fulfilled')
            OR (s.state = 'refunded') <> (r.state = 'failed')""",
}
