"""What must hold of system I, as queries that count what breaks it (invariant 21 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "a wallet's balance is what came in less what went out": """
        SELECT COUNT(*) FROM wallet w JOIN ledger_account l
            ON l.account = 'wallet:' || w.wallet AND l.currency = w.currency
        WHERE l.balance_minor <>
            (SELECT COALESCE(SUM(amount_minor), 0) FROM wallet_topup t WHERE t.wallet = w.wallet)
            - (SELECT COALESCE(SUM(amount_minor), 0) FROM wallet_payout p WHERE p.wallet = w.wallet)
            - (SELECT COALESCE(SUM(amount_minor), 0) FROM capture c WHERE c.account = l.account)
            + (SELECT COALESCE(SUM(r.amount_minor), 0) FROM refund r
                JOIN capture c ON c.capture = r.capture WHERE c.account = l.account)
            - (SELECT COALESCE(SUM(amount_minor), 0) FROM gift g WHERE g.wallet = w.wallet
                AND state IN ('sent', 'claimed'))
            + (SELECT COALESCE(SUM(amount_minor), 0) FROM gift g WHERE g.claimed_by = w.wallet
                AND state = 'claimed')
            - (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                JOIN journal j ON j.journal = p.journal
                WHERE j.kind = 'transfer' AND p.account = l.account AND p.currency = l.currency)""",
    "no wallet is below zero, holds counted": """
        SELECT COUNT(*) FROM wallet w JOIN ledger_account l
            ON l.account = 'wallet:' || w.wallet AND l.currency = w.currency
        WHERE l.balance_minor - l.held_minor < 0""",
    "the escrow is the sum of gifts that nobody has claimed": """
        SELECT COUNT(*) FROM (
            SELECT l.currency FROM ledger_account l WHERE l.account = 'gift_escrow'
            AND l.balance_minor <>
                (SELECT COALESCE(SUM(amount_minor), 0) FROM gift g
                    WHERE g.state = 'sent' AND g.currency = l.currency)
                - (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                    JOIN journal j ON j.journal = p.journal WHERE j.kind = 'transfer'
                    AND p.account = 'gift_escrow' AND p.currency = l.currency)) AS wrong""",
    "a gift leaves once and ends once, by its own journals": """
        SELECT COUNT(*) FROM gift g
        LEFT JOIN journal s ON s.journal = g.sent_journal
        LEFT JOIN journal e ON e.journal = g.ended_journal
        WHERE s.kind <> 'gift' OR s.reference <> g.gift
            OR (g.state = 'sent') <> (e.journal IS NULL)
            OR e.kind <> 'gift-' || g.state OR e.reference <> g.gift""",
    "a code pays once, its own merchant, within its maximum": """
        SELECT COUNT(*) FROM payment_request p JOIN capture c ON c.hold = p.hold
        WHERE c.amount_minor > p.max_amount_minor
            OR (p.merchant NOT IN ('', 'erased', c.merchant))
            OR NOT EXISTS (SELECT 1 FROM code_payment t
                WHERE t.payment_request = p.payment_request
                AND c.capture = 'transaction:' || t.txn AND t.amount_minor = c.amount_minor)""",
    "a transaction was paid exactly when it says so": """
        SELECT COUNT(*) FROM code_payment t
        LEFT JOIN capture c ON c.capture = 'transaction:' || t.txn
        WHERE (t.state = 'settled' AND c.capture IS NULL)
            OR (t.state IN ('refused', 'awaiting-confirmation') AND c.capture IS NOT NULL)
            OR (t.state = 'revoked' AND c.amount_minor <>
                (SELECT COALESCE(SUM(amount_minor), 0) FROM refund r
                    WHERE r.capture = c.capture))""",
}
