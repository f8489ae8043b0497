"""What must hold of system K, as queries that count what breaks it (invariant 23 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "a token is of one frame, which is what was signed over its campaign's terms": """
        SELECT COUNT(*) FROM frame f JOIN campaign c ON c.campaign = f.campaign
        WHERE f.terms_hash <> c.terms_hash OR f.frame_sig = ''""",
    "a token is redeemed once, and while it is locked its lock is open": """
        SELECT COUNT(*) FROM promo_token t LEFT JOIN coupon_lock l ON l.coupon_lock = t.coupon_lock
        WHERE (t.state = 'locked' AND COALESCE(l.state, '') <> 'locked')
            OR (t.state = 'redeemed' AND COALESCE(l.state, '') <> 'committed')
            OR (SELECT COUNT(*) FROM promo_event e WHERE e.token_id = t.token_id
                AND e.event = 'redeemed') <> (CASE WHEN t.state = 'redeemed' THEN 1 ELSE 0 END)""",
    "the allocations of a fund are its share, held or paid": """
        SELECT COUNT(*) FROM coupon_share s JOIN hold h ON h.hold = s.hold
        WHERE h.amount_minor <> (SELECT COALESCE(SUM(discount_minor), 0) FROM coupon_allocation a
            WHERE a.coupon_lock = s.coupon_lock AND a.campaign = s.campaign)""",
    "a fund pays exactly when the visit was paid": """
        SELECT COUNT(*) FROM coupon_share s JOIN coupon_lock l ON l.coupon_lock = s.coupon_lock
        LEFT JOIN capture c ON c.hold = s.hold
        WHERE (l.state = 'committed') <> (c.capture IS NOT NULL)""",
    "no line costs less than nothing": """
        SELECT COUNT(*) FROM (SELECT coupon_lock, line_id FROM coupon_allocation
            GROUP BY coupon_lock, line_id, total_minor
            HAVING SUM(discount_minor) > total_minor) AS over_discounted""",
    "the fund is what came in, less what it paid, and what came back": """
        SELECT COUNT(*) FROM campaign g JOIN ledger_account l
            ON l.account = 'promo_fund:' || g.campaign AND l.currency = g.currency
        WHERE l.balance_minor <>
            (SELECT COALESCE(SUM(amount_minor), 0) FROM campaign_funding f
                WHERE f.campaign = g.campaign)
            - (SELECT COALESCE(SUM(minor), 0) FROM promo_event e
                JOIN promo_token t ON t.token_id = e.token_id JOIN frame f ON f.frame = t.frame
                WHERE f.campaign = g.campaign AND e.event = 'redeemed')
            + (SELECT COALESCE(SUM(minor), 0) FROM promo_event e
                JOIN promo_token t ON t.token_id = e.token_id JOIN frame f ON f.frame = t.frame
                WHERE f.campaign = g.campaign AND e.event = 'returned')
            - (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                JOIN journal j ON j.journal = p.journal
                WHERE j.kind IN ('transfer', 'promo-return')
                AND p.account = l.account AND p.currency = l.currency)""",
    "what came back is within what was taken off": """
        SELECT COUNT(*) FROM coupon_lock l WHERE
            (SELECT COALESCE(SUM(discount_minor), 0) FROM coupon_return r
                WHERE r.coupon_lock = l.coupon_lock)
            > (SELECT COALESCE(SUM(discount_minor), 0) FROM coupon_allocation a
                WHERE a.coupon_lock = l.coupon_lock)""",
    "statistics are counts of events": """
        SELECT COUNT(*) FROM promo_token t WHERE 1 <> (SELECT COUNT(*) FROM promo_event e
            WHERE e.token_id = t.token_id AND e.event = 'issued')
        OR (SELECT COUNT(*) FROM promo_event e WHERE e.token_id = t.token_id AND e.event = 'locked')
            - (SELECT COUNT(*) FROM promo_event e WHERE e.token_id = t.token_id
                AND e.event IN ('released', 'redeemed'))
            <> (CASE WHEN t.state = 'locked' THEN 1 ELSE 0 END)""",
}
