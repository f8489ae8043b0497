-- Transfers that wait together are written together: one statement a table instead of one a transfer.
-- What is not plain - a key or a transfer that came before, a floor that holds, an account with a
-- floor to be credited, the same account debited twice in one batch - goes through transfer(), which
-- alone says what is right; both ways write the same rows.

CREATE OR REPLACE FUNCTION transfers(
  p_tenant TEXT[], p_path TEXT[], p_key TEXT[], p_digest BYTEA[], p_grp TEXT[],
  p_sequence BIGINT[], p_attempt BIGINT[], p_now_s BIGINT[], p_forget_s BIGINT[],
  p_transfer TEXT[], p_debit TEXT[], p_debit_floor BIGINT[], p_credit TEXT[],
  p_credit_floor BIGINT[], p_amount BIGINT[], p_currency TEXT[], p_body BYTEA[], p_declined BYTEA
) RETURNS TABLE (status BIGINT, body BYTEA, replayed BOOLEAN) LANGUAGE plpgsql
-- By the indexes, however small the tables are when the plans are made.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  size INT := cardinality(p_key);
  i INT;
  plain BOOLEAN[];    -- may be written together with the others
  numbers BIGINT[];   -- of their journals
  bodies BYTEA[];
  claimed TEXT[];     -- keys
BEGIN
  PERFORM 1 FROM ledger_account l
  WHERE (l.account, l.currency) IN (SELECT * FROM unnest(p_debit || p_credit, p_currency || p_currency))
  ORDER BY l.account, l.currency FOR UPDATE;

  -- The first of each key, transfer and debited account, crediting no floor, unknown so far, and paid.
  SELECT array_agg(c.plain AND c.known IS NULL AND c.paid ORDER BY c.n) INTO plain FROM (
    SELECT a.n, a.credit_floor IS NULL
      AND row_number() OVER (PARTITION BY a.key ORDER BY a.n) = 1
      AND row_number() OVER (PARTITION BY a.transfer ORDER BY a.n) = 1
      AND (a.debit_floor IS NULL
        OR row_number() OVER (PARTITION BY a.debit, a.currency ORDER BY a.n) = 1) AS plain,
      (SELECT j.journal FROM journal j WHERE j.kind = 'transfer' AND j.reference = a.transfer) AS known,
      a.debit_floor IS NULL OR COALESCE((SELECT l.balance_minor - l.held_minor - a.amount >= l.floor_minor
        FROM ledger_account l WHERE l.account = a.debit AND l.currency = a.currency), FALSE) AS paid
    FROM unnest(p_key, p_transfer, p_debit, p_debit_floor, p_credit_floor, p_amount, p_currency)
      WITH ORDINALITY AS a (key, transfer, debit, debit_floor, credit_floor, amount, currency, n)
  ) c;
  SELECT array_agg(CASE WHEN a.plain THEN nextval('journal_journal_seq') END ORDER BY a.n) INTO numbers
  FROM unnest(plain) WITH ORDINALITY AS a (plain, n);
  SELECT array_agg(a.head || convert_to(a.number::TEXT || '}', 'UTF8') ORDER BY a.n) INTO bodies
  FROM unnest(p_body, numbers) WITH ORDINALITY AS a (head, number, n);

  -- Claims come first: whoever has a key already keeps it.
  WITH made AS (
    INSERT INTO answer
    SELECT a.tenant, a.path, a.key, a.digest, 201, a.body, a.now_s, a.grp, a.sequence, a.attempt
    FROM unnest(p_tenant, p_path, p_key, p_digest, bodies, p_now_s, p_grp, p_sequence, p_attempt, plain)
      AS a (tenant, path, key, digest, body, now_s, grp, sequence, attempt, plain)
    WHERE a.plain ORDER BY a.tenant, a.path, a.key
    ON CONFLICT (tenant, path, key) DO NOTHING RETURNING key
  ) SELECT array_agg(key) INTO claimed FROM made;
  SELECT array_agg(a.plain AND a.key = ANY (claimed) ORDER BY a.n) INTO plain
  FROM unnest(plain, p_key) WITH ORDINALITY AS a (plain, key, n);

  UPDATE ledger_account l SET balance_minor = l.balance_minor - a.amount
  FROM unnest(plain, p_debit, p_debit_floor, p_amount, p_currency)
    AS a (plain, debit, debit_floor, amount, currency)
  WHERE a.plain AND a.debit_floor IS NOT NULL AND l.account = a.debit AND l.currency = a.currency;
  INSERT INTO journal OVERRIDING SYSTEM VALUE
  SELECT a.number, 'transfer', a.transfer, a.now_s
  FROM unnest(plain, numbers, p_transfer, p_now_s) AS a (plain, number, transfer, now_s)
  WHERE a.plain;
  INSERT INTO posting
  SELECT a.number, 0, a.debit, a.amount, a.currency
  FROM unnest(plain, numbers, p_debit, p_amount, p_currency)
    AS a (plain, number, debit, amount, currency) WHERE a.plain
  UNION ALL
  SELECT a.number, 1, a.credit, -a.amount, a.currency
  FROM unnest(plain, numbers, p_credit, p_amount, p_currency)
    AS a (plain, number, credit, amount, currency) WHERE a.plain;
  INSERT INTO outbox
  SELECT a.number FROM unnest(plain, numbers) AS a (plain, number) WHERE a.plain;

  FOR i IN 1 .. size LOOP
    IF plain[i] THEN
      status := 201; body := bodies[i]; replayed := FALSE;
    ELSE
      SELECT t.status, t.body, t.replayed INTO status, body, replayed FROM transfer(
        p_tenant[i], p_path[i], p_key[i], p_digest[i], p_grp[i], p_sequence[i], p_attempt[i],
        p_now_s[i], p_forget_s[i], p_transfer[i], p_debit[i], p_debit_floor[i], p_credit[i],
        p_credit_floor[i], p_amount[i], p_currency[i], p_body[i], p_declined) t;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
