"""What must hold of system B, as queries that count what breaks it (invariant 14 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "an invitation was claimed by one consumer at most": """
        SELECT COUNT(*) FROM invitation i LEFT JOIN item_grant g ON g.invitation = i.invitation
        WHERE (i.state = 'claimed' AND g.item_grant IS NULL)
            OR (i.state IN ('issued', 'expired') AND g.item_grant IS NOT NULL)
            OR (i.state = 'revoked' AND g.active = 1)""",
    "the budget is what came in less what was spent": """
        SELECT COUNT(*) FROM item_store s JOIN ledger_account l
            ON l.account = 'sponsor_budget:' || s.item_store AND l.currency = s.currency
        WHERE l.balance_minor <>
            (SELECT COALESCE(SUM(amount_minor), 0) FROM item_store_funding f
                WHERE f.item_store = s.item_store)
            - (SELECT COALESCE(SUM(amount_minor), 0) FROM capture c WHERE c.account = l.account)
            - (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                JOIN journal j ON j.journal = p.journal
                WHERE j.kind IN ('transfer', 'sponsor-return', 'refund')
                AND p.account = l.account AND p.currency = l.currency)""",
    "each line is covered within itself, and the parts add up": """
        SELECT COUNT(*) FROM redemption r WHERE
            r.sponsor_minor <> (SELECT COALESCE(SUM(covered_minor), 0) FROM redemption_line l
                WHERE l.redemption = r.redemption)
            OR r.sponsor_minor + r.consumer_minor <> (SELECT COALESCE(SUM(total_minor), 0)
                FROM redemption_line l WHERE l.redemption = r.redemption)""",
    "a redemption is paid exactly when it is fulfilled, and then exactly": """
        SELECT COUNT(*) FROM redemption r LEFT JOIN hold h ON h.hold = r.hold
        LEFT JOIN capture c ON c.hold = r.hold
        WHERE (r.state = 'fulfilled') <> (c.capture IS NOT NULL)
            OR c.amount_minor <> r.sponsor_minor
            OR (r.state = 'reserved' AND h.status NOT IN ('held', 'expired'))
            OR (r.state = 'released' AND h.status NOT IN ('void', 'expired'))
            OR (r.state = 'refused' AND (r.hold IS NOT NULL OR r.sponsor_minor <> 0))
            OR (h.hold IS NOT NULL AND h.amount_minor <> r.sponsor_minor)""",
    "each fulfilled redemption is told to its sponsor once": """
        SELECT COUNT(*) FROM redemption r
        LEFT JOIN sponsor_notice n ON n.redemption = r.redemption
        LEFT JOIN capture c ON c.hold = r.hold
        WHERE (r.state = 'fulfilled') <> (n.redemption IS NOT NULL) OR n.journal <> c.journal""",
}
