"""What must hold of system A, as queries that count what breaks it (invariants 10, 11 and 12)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "a trip costs what its lines cost, and that is captured or owed": """
        SELECT COUNT(*) FROM trip t LEFT JOIN capture c ON c.capture = t.capture
        LEFT JOIN trip_debt d ON d.trip = t.trip
        WHERE t.purchase <> '' AND (
            t.total_minor <> (SELECT COALESCE(SUM(total_minor), 0) FROM trip_line l
                WHERE l.trip = t.trip)
            OR t.captured_minor <> COALESCE(c.amount_minor, 0)
            OR t.total_minor <> t.captured_minor + COALESCE(d.amount_minor, 0)
            OR (c.capture IS NOT NULL AND (c.purchase <> t.purchase OR c.merchant <> t.merchant
                OR c.hold <> t.hold)))""",
    "a trip that has ended holds nothing, and a free one took nothing": """
        SELECT COUNT(*) FROM trip t JOIN hold h ON h.hold = t.hold
        WHERE (t.state IN ('captured', 'debt', 'void') AND h.status = 'held')
            OR (t.state = 'void' AND (t.total_minor <> 0 OR h.captured_minor <> 0))
            OR (t.state IN ('open', 'exited') AND t.purchase <> '')
            OR (t.state = 'captured'
                AND (t.total_minor = 0 OR t.captured_minor <> t.total_minor))""",
    "every trip ends within a day of its hold": """
        SELECT COUNT(*) FROM trip WHERE state IN ('open', 'exited')
            AND due_s + 86400 < (SELECT COALESCE(MAX(at_s), 0) FROM journal)""",
    "a code opened one entry, and an entry is of one trip": """
        SELECT (SELECT COUNT(*) FROM (SELECT credential FROM entry WHERE kind = 'code'
                AND decision <> 'deny' GROUP BY credential HAVING COUNT(*) > 1) AS twice)
            + (SELECT COUNT(*) FROM entry e LEFT JOIN trip t ON t.trip = e.trip
                WHERE e.trip IS NOT NULL AND (t.trip IS NULL OR t.merchant <> e.merchant))""",
    "a debt is what was recovered, forgiven and is left": """
        SELECT COUNT(*) FROM trip_debt d WHERE recovered_minor <> (
                SELECT COALESCE(SUM(r.amount_minor), 0) FROM debt_recovery r
                JOIN journal j ON j.journal = r.journal AND j.kind = 'debt-recovery'
                WHERE r.trip = d.trip)
            OR (state = 'recovered') <> (recovered_minor + forgiven_minor = amount_minor)""",
    "who owes a visit is on the deny list, and who does not is not": """
        SELECT (SELECT COUNT(*) FROM trip_debt d WHERE state <> 'recovered' AND NOT EXISTS
                (SELECT 1 FROM denied n WHERE n.account = d.account
                AND n.cause = 'debt:' || d.trip))
            + (SELECT COUNT(*) FROM denied n WHERE cause LIKE 'debt:%' AND NOT EXISTS
                (SELECT 1 FROM trip_debt d WHERE 'debt:' || d.trip = n.cause
                AND d.state <> 'recovered'))""",
    "a dispute gave back what was upheld, once": """
        SELECT COUNT(*) FROM dispute d LEFT JOIN refund r ON r.refund = d.refund
        WHERE upheld_minor <> (SELECT COALESCE(SUM(total_minor), 0) FROM dispute_line l
                WHERE l.dispute = d.dispute AND upheld = 1)
            OR asked_minor <> (SELECT COALESCE(SUM(total_minor), 0) FROM dispute_line l
                WHERE l.dispute = d.dispute)
            OR upheld_minor <> forgiven_minor + COALESCE(r.amount_minor, 0)
            OR (d.refund IS NOT NULL AND (r.refund IS NULL OR r.capture <> d.capture))
            OR (d.state = 'refunded') <> (upheld_minor > 0)""",
}
