-- The hot path: one request's claim, floors, journal, postings, outbox row and answer, with no round
-- trip in between. The same rules as effects in transfers.py; both pass the same tests.

CREATE FUNCTION expire_due(p_account TEXT, p_currency TEXT, p_now_s BIGINT) RETURNS BIGINT
LANGUAGE plpgsql AS $$
DECLARE freed BIGINT;
BEGIN
  WITH due AS (
    UPDATE hold SET status = 'expired'
    WHERE account = p_account AND currency = p_currency AND status = 'held' AND expires_s <= p_now_s
    RETURNING amount_minor
  ) SELECT COALESCE(SUM(amount_minor), 0) INTO freed FROM due;
  IF freed > 0 THEN
    UPDATE ledger_account SET held_minor = held_minor - freed
    WHERE account = p_account AND currency = p_currency;
  END IF;
  RETURN freed;
END $$;

-- Postings of one journal: what a debit takes from an account with a floor. False = the floor holds.
CREATE FUNCTION take(p_account TEXT, p_currency TEXT, p_amount BIGINT, p_now_s BIGINT)
RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
  UPDATE ledger_account SET balance_minor = balance_minor - p_amount
  WHERE account = p_account AND currency = p_currency
    AND balance_minor - held_minor - p_amount >= floor_minor;
  IF FOUND THEN RETURN TRUE; END IF;
  PERFORM 1 FROM ledger_account WHERE account = p_account AND currency = p_currency FOR UPDATE;
  IF NOT FOUND OR expire_due(p_account, p_currency, p_now_s) = 0 THEN RETURN FALSE; END IF;
  UPDATE ledger_account SET balance_minor = balance_minor - p_amount
  WHERE account = p_account AND currency = p_currency
    AND balance_minor - held_minor - p_amount >= floor_minor;
  RETURN FOUND;
END $$;

-- status 0: this key came before with another body; 409: this transfer came before otherwise.
CREATE FUNCTION transfer(
  p_tenant TEXT, p_path TEXT, p_key TEXT, p_digest BYTEA, p_grp TEXT, p_sequence BIGINT,
  p_attempt BIGINT, p_now_s BIGINT, p_forget_s BIGINT, p_transfer TEXT, p_debit TEXT,
  p_debit_floor BIGINT, p_credit TEXT, p_credit_floor BIGINT, p_amount BIGINT, p_currency TEXT,
  p_body BYTEA, p_declined BYTEA,
  OUT status BIGINT, OUT body BYTEA, OUT replayed BOOLEAN
) LANGUAGE plpgsql AS $$
DECLARE
  number BIGINT := nextval(pg_get_serial_sequence('journal', 'journal'));
  claimed_digest BYTEA;
  found_journal BIGINT;
BEGIN
  status := 201; replayed := FALSE;
  body := p_body || convert_to(number::TEXT || '}', 'UTF8');
  INSERT INTO answer AS a
    VALUES (p_tenant, p_path, p_key, p_digest, 201, body, p_now_s, p_grp, p_sequence, p_attempt)
    ON CONFLICT (tenant, path, key) DO UPDATE
    SET digest = excluded.digest, status = excluded.status, body = excluded.body,
        created_s = excluded.created_s, grp = excluded.grp, sequence = excluded.sequence,
        attempt = excluded.attempt
    WHERE a.created_s <= p_forget_s;
  IF NOT FOUND THEN
    SELECT a.digest, a.status, a.body INTO claimed_digest, status, body FROM answer a
    WHERE a.tenant = p_tenant AND a.path = p_path AND a.key = p_key;
    replayed := TRUE;
    IF claimed_digest <> p_digest THEN status := 0; END IF;
    RETURN;
  END IF;

  SELECT j.journal INTO found_journal FROM journal j
  WHERE j.kind = 'transfer' AND j.reference = p_transfer;
  IF FOUND THEN
    IF (SELECT COUNT(*) FROM posting p WHERE p.journal = found_journal AND p.currency = p_currency
        AND ((p.line = 0 AND p.account = p_debit AND p.amount_minor = p_amount)
          OR (p.line = 1 AND p.account = p_credit AND p.amount_minor = -p_amount))) = 2 THEN
      body := p_body || convert_to(found_journal::TEXT || '}', 'UTF8'); replayed := TRUE;
      UPDATE answer a SET body = transfer.body
      WHERE a.tenant = p_tenant AND a.path = p_path AND a.key = p_key;
    ELSE
      status := 409;
      DELETE FROM answer a WHERE a.tenant = p_tenant AND a.path = p_path AND a.key = p_key;
    END IF;
    RETURN;
  END IF;

  IF p_debit_floor IS NOT NULL AND NOT take(p_debit, p_currency, p_amount, p_now_s) THEN
    status := 402; body := p_declined;
    UPDATE answer a SET status = 402, body = p_declined
    WHERE a.tenant = p_tenant AND a.path = p_path AND a.key = p_key;
    RETURN;
  END IF;
  IF p_credit_floor IS NOT NULL THEN
    INSERT INTO ledger_account AS l VALUES (p_credit, p_currency, p_credit_floor, p_amount, 0)
    ON CONFLICT (account, currency) DO UPDATE SET balance_minor = l.balance_minor + p_amount;
  END IF;
  INSERT INTO journal OVERRIDING SYSTEM VALUE VALUES (number, 'transfer', p_transfer, p_now_s);
  INSERT INTO posting VALUES
    (number, 0, p_debit, p_amount, p_currency), (number, 1, p_credit, -p_amount, p_currency);
  INSERT INTO outbox VALUES (number);
END $$;

-- Many transfers in one transaction, in the order given. Accounts are locked first and sorted, so
-- that two brokers never wait for each other in a circle.
CREATE FUNCTION transfers(
  p_tenant TEXT[], p_path TEXT[], p_key TEXT[], p_digest BYTEA[], p_grp TEXT[],
  p_sequence BIGINT[], p_attempt BIGINT[], p_now_s BIGINT[], p_forget_s BIGINT[],
  p_transfer TEXT[], p_debit TEXT[], p_debit_floor BIGINT[], p_credit TEXT[],
  p_credit_floor BIGINT[], p_amount BIGINT[], p_currency TEXT[], p_body BYTEA[], p_declined BYTEA
) RETURNS TABLE (status BIGINT, body BYTEA, replayed BOOLEAN) LANGUAGE plpgsql AS $$
DECLARE
  i INT;
BEGIN
  PERFORM 1 FROM ledger_account l
  WHERE (l.account, l.currency) IN (SELECT * FROM unnest(p_debit || p_credit, p_currency || p_currency))
  ORDER BY l.account, l.currency FOR UPDATE;
  FOR i IN 1 .. cardinality(p_key) LOOP
    SELECT t.status, t.body, t.replayed INTO status, body, replayed FROM transfer(
      p_tenant[i], p_path[i], p_key[i], p_digest[i], p_grp[i], p_sequence[i], p_attempt[i],
      p_now_s[i], p_forget_s[i], p_transfer[i], p_debit[i], p_debit_floor[i], p_credit[i],
      p_credit_floor[i], p_amount[i], p_currency[i], p_body[i], p_declined) t;
    RETURN NEXT;
  END LOOP;
END $$;
