"""What must hold of system J, as queries that count what breaks it (invariant 22 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "the condition held on the kept visits when it was judged": """
        SELECT COUNT(*) FROM association a
        LEFT JOIN association_rule r ON r.merchant = a.merchant AND r.version = a.rule_version
        WHERE a.state IN ('proposed', 'active') AND (r.merchant IS NULL
            OR r.min_trips > (SELECT COUNT(*) FROM association_evidence e
                WHERE e.account = a.account AND e.merchant = a.merchant)
            OR r.min_minor > (SELECT COALESCE(SUM(amount_minor), 0) FROM association_evidence e
                WHERE e.account = a.account AND e.merchant = a.merchant))""",
    "each kept visit was settled, in the window, and not refunded then": """
        SELECT COUNT(*) FROM association_evidence e
        JOIN association a ON a.account = e.account AND a.merchant = e.merchant
        JOIN association_rule r ON r.merchant = a.merchant AND r.version = a.rule_version
        LEFT JOIN capture c ON c.capture = e.capture
        LEFT JOIN journal j ON j.journal = c.journal
        WHERE c.capture IS NULL OR c.account <> e.account OR c.merchant <> e.merchant
            OR c.amount_minor <> e.amount_minor OR c.currency <> r.currency
            OR j.at_s > a.judged_s OR j.at_s < a.judged_s - r.window_days * 86400
            OR EXISTS (SELECT 1 FROM refund f JOIN journal b ON b.journal = f.journal
                WHERE f.capture = e.capture AND b.at_s < a.judged_s)""",
    "no kept visit has sensitive or excluded goods": """
        SELECT COUNT(*) FROM association_evidence e
        JOIN association a ON a.account = e.account AND a.merchant = e.merchant
        LEFT JOIN interaction i ON i.capture = e.capture
        WHERE i.capture IS NULL OR i.sensitive = 1 OR EXISTS (
            SELECT 1 FROM interaction_category g JOIN association_exclusion x
                ON x.category = g.category
            WHERE g.capture = e.capture AND x.merchant = a.merchant
                AND x.version = a.rule_version)""",
    "what was removed keeps nothing but the mark": """
        SELECT COUNT(*) FROM association a WHERE a.state = 'removed' AND EXISTS (
            SELECT 1 FROM association_evidence e
            WHERE e.account = a.account AND e.merchant = a.merchant)""",
    "nobody is joined who belonged to the merchant": """
        SELECT COUNT(*) FROM association a
        JOIN merchant_insider m ON m.account = a.account AND m.merchant = a.merchant
        WHERE a.state = 'active' AND m.created_s <= a.judged_s""",
}
