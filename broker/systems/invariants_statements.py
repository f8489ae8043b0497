"""What must hold of system C, as queries that count what breaks it (invariant 15 of the facts)."""

from __future__ import annotations

from collections.abc import Mapping

_UNPAID = "('open', 'closing', 'issued', 'dunning')"

INVARIANTS: Mapping[str, str] = {
    "a purchase is in one statement of its buyer and at most one payout of its seller": """
        SELECT COUNT(*) FROM micro_purchase p
        LEFT JOIN statement s ON s.statement = p.statement
        LEFT JOIN micro_payout o ON o.payout = p.payout
        WHERE s.account <> p.account OR (p.payout IS NOT NULL
            AND COALESCE(o.merchant, '') <> p.merchant)""",
    "a purchase is its capture, and its lines add up to it": """
        SELECT COUNT(*) FROM micro_purchase p JOIN capture c ON c.capture = p.capture
        WHERE p.amount_minor <> c.amount_minor OR p.merchant <> c.merchant
            OR p.account <> c.account OR p.amount_minor <>
            (SELECT COALESCE(SUM(gross_minor), 0) FROM micro_line l WHERE l.capture = p.capture)""",
    "an issued statement is the sum of its purchases, and of its invoices": """
        SELECT COUNT(*) FROM statement s WHERE s.state NOT IN ('open', 'closing') AND (
            s.total_minor <>
                (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_purchase p
                    WHERE p.statement = s.statement)
                - (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_refund r
                    WHERE r.statement = s.statement)
            OR s.total_minor <> (SELECT COALESCE(SUM(payable_minor), 0) FROM invoice i
                WHERE i.statement = s.statement AND i.about IS NULL))""",
    "a statement is paid in full, once, or given up by one journal": """
        SELECT COUNT(*) FROM statement s LEFT JOIN payment p ON p.payment = s.payment
        LEFT JOIN journal j ON j.kind = 'write-off' AND j.reference = s.statement
        WHERE (s.state = 'paid' AND COALESCE(p.amount_minor, 0) <> s.total_minor
                - (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_refund r
                    WHERE r.set_off = s.statement))
            OR (p.payment IS NOT NULL AND p.account <> s.account)
            OR (s.state <> 'paid' AND s.payment <> '')
            OR (s.state = 'written-off') <> (j.journal IS NOT NULL)""",
    "a buyer owes what is not paid: gathered, or captured and not gathered yet": f"""
        SELECT COUNT(*) FROM buyer b JOIN ledger_account l
            ON l.account = 'shopper_receivable:' || b.account AND l.currency = b.currency
        WHERE -l.balance_minor <>
            (SELECT COALESCE(SUM(p.amount_minor), 0) FROM micro_purchase p
                JOIN statement s ON s.statement = p.statement
                WHERE p.account = b.account AND s.state IN {_UNPAID})
            - (SELECT COALESCE(SUM(r.amount_minor - f.to_provider_minor), 0) FROM micro_refund r
                JOIN refund f ON f.refund = r.refund JOIN statement s ON s.statement = r.statement
                WHERE s.account = b.account AND s.state IN {_UNPAID})
            - (SELECT COALESCE(SUM(r.amount_minor - f.to_provider_minor), 0) FROM micro_refund r
                JOIN refund f ON f.refund = r.refund JOIN statement s ON s.statement = r.set_off
                WHERE s.account = b.account AND s.state IN {_UNPAID})
            + (SELECT COALESCE(SUM(c.amount_minor), 0) FROM capture c WHERE c.account = b.account
                AND NOT EXISTS (SELECT 1 FROM micro_purchase p WHERE p.capture = c.capture))
            - (SELECT COALESCE(SUM(f.amount_minor - f.to_provider_minor), 0) FROM refund f
                JOIN capture c ON c.capture = f.capture WHERE c.account = b.account
                AND NOT EXISTS (SELECT 1 FROM micro_purchase p WHERE p.capture = c.capture))
            - (SELECT COALESCE(SUM(y.amount_minor), 0) FROM payment y WHERE y.account = b.account
                AND NOT EXISTS (SELECT 1 FROM statement s WHERE s.payment = y.payment))""",
    "a payout is its sales less refunds and fee": """
        SELECT COUNT(*) FROM micro_payout o WHERE
            o.gross_minor <> (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_purchase p
                WHERE p.payout = o.payout)
            OR o.refunds_minor <> (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_refund r
                WHERE r.payout = o.payout)
            OR o.net_minor <> o.gross_minor - o.refunds_minor - o.fee_minor""",
    "a seller got what its sent payouts say": """
        SELECT COUNT(*) FROM seller s WHERE
            (SELECT COALESCE(SUM(p.amount_minor), 0) FROM posting p
                JOIN journal j ON j.journal = p.journal
                WHERE j.kind IN ('payout', 'payout-returned')
                AND p.account = 'merchant_payable:' || s.merchant)
            <> (SELECT COALESCE(SUM(net_minor), 0) FROM micro_payout o
                    WHERE o.merchant = s.merchant AND o.state IN ('sent', 'confirmed'))
            + (SELECT COALESCE(SUM(fee_minor), 0) FROM micro_payout o
                    WHERE o.merchant = s.merchant AND o.state <> 'due')""",
    "VAT is exact, to the minor unit": """
        SELECT COUNT(*) FROM invoice_vat
        WHERE vat_minor <> (2 * taxable_minor * vat_bp + 10000) / 20000""",
    "an invoice adds up, and its rounding is a minor unit a rate at most": """
        SELECT COUNT(*) FROM invoice i WHERE
            payable_minor <> net_minor + vat_minor + rounding_minor
            OR net_minor <> (SELECT COALESCE(SUM(taxable_minor), 0) FROM invoice_vat v
                WHERE v.invoice = i.invoice)
            OR vat_minor <> (SELECT COALESCE(SUM(vat_minor), 0) FROM invoice_vat v
                WHERE v.invoice = i.invoice)
            OR ABS(rounding_minor) > (SELECT COUNT(*) FROM invoice_vat v
                WHERE v.invoice = i.invoice)""",
    "a credit note is what came back of its invoice's purchase": """
        SELECT COUNT(*) FROM micro_refund r JOIN micro_purchase p ON p.capture = r.capture
        LEFT JOIN invoice n ON n.invoice = r.credit_note
        LEFT JOIN invoice i ON i.invoice = n.about
        WHERE r.credit_note IS NOT NULL AND (n.invoice IS NULL OR i.invoice IS NULL
            OR n.payable_minor <> r.amount_minor OR i.statement <> p.statement
            OR i.merchant <> p.merchant)""",
    "a seller's invoices are numbered without a gap": """
        SELECT COUNT(*) FROM seller s WHERE s.invoices <>
            (SELECT COUNT(*) FROM invoice i WHERE i.merchant = s.merchant)""",
}
