"""What must hold of system H, as queries that count what breaks it (invariants 7 and 20)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "what was done was told: orders, bids, redemptions, disputes and debts": """
        SELECT (SELECT COUNT(*) FROM merchant_notice n WHERE NOT EXISTS (SELECT 1 FROM event e
                WHERE e.party = 'merchant:' || n.merchant AND e.kind = n.kind
                AND e.about = n.about)
                AND n.at_s > (SELECT since_s FROM event_kept))
            + (SELECT COUNT(*) FROM sponsor_notice n WHERE NOT EXISTS (SELECT 1 FROM event e
                WHERE e.kind = 'redemption.fulfilled' AND e.about = n.redemption)
                AND n.at_s > (SELECT since_s FROM event_kept))""",
    "a message stands at one place of its group, and its event is handed on": """
        SELECT COUNT(*) FROM webhook_message m LEFT JOIN webhook_group g ON g.grp = m.grp
        LEFT JOIN event_due d ON d.event = m.event
        WHERE g.grp IS NULL OR m.place >= g.next_place OR d.event IS NOT NULL
            OR g.endpoint <> m.endpoint""",
    "the head is the first that waits, and nothing waits without a head": """
        SELECT COUNT(*) FROM webhook_group g WHERE g.head <> COALESCE((SELECT m.message
            FROM webhook_message m WHERE m.grp = g.grp AND m.state = 'queued'
            ORDER BY m.place LIMIT 1), '')""",
    "in a group nothing was answered before what stands before it": """
        SELECT COUNT(*) FROM webhook_message m JOIN webhook_message before
            ON before.grp = m.grp AND before.place < m.place
        WHERE m.state = 'done' AND before.state = 'queued'""",
    "a group that holds nothing is neither parked nor sending": """
        SELECT COUNT(*) FROM webhook_group WHERE head = '' AND state <> 'ready'""",
}
