-- The hot path of one-time codes (system I): shown and paid with claim, answer and audit row in one
-- call, many a commit. Only the plain case: whatever is unusual gives NULL with nothing done (but
-- expiries written down), and the effect in payment_codes.py or code_payments.py says what is right. Both write the same rows. By the
-- indexes, however small the tables are when the plans are made.

-- The wallet's currency when the code is held, else NULL.
CREATE FUNCTION show_code(
  p_request TEXT, p_wallet TEXT, p_merchant TEXT, p_max BIGINT, p_code_hash TEXT, p_kid TEXT,
  p_hold TEXT, p_now_s BIGINT, p_expires_s BIGINT
) RETURNS TEXT LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  p_account TEXT := 'wallet:' || p_wallet;
  p_currency TEXT;
BEGIN
  SELECT w.currency INTO p_currency FROM wallet w WHERE w.wallet = p_wallet;
  PERFORM 1 FROM ledger_account l WHERE l.account = p_account AND l.currency = p_currency FOR UPDATE;
  IF NOT FOUND THEN RETURN NULL; END IF;
  PERFORM expire_due(p_account, p_currency, p_now_s);
  PERFORM 1 FROM wallet w WHERE w.wallet = p_wallet AND w.status = 'open'
    AND NOT EXISTS (SELECT 1 FROM payment_request p WHERE p.payment_request = p_request)
    AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.hold = p_hold);
  IF NOT FOUND THEN RETURN NULL; END IF;
  UPDATE ledger_account l SET held_minor = l.held_minor + p_max
  WHERE l.account = p_account AND l.currency = p_currency
    AND l.balance_minor - l.held_minor - p_max >= l.floor_minor;
  IF NOT FOUND THEN RETURN NULL; END IF;
  INSERT INTO hold VALUES
    (p_hold, p_account, '', '', '', p_max, p_currency, p_now_s, p_expires_s, 'held', 0, '');
  INSERT INTO payment_request VALUES
    (p_request, p_wallet, p_merchant, p_max, p_code_hash, p_kid, p_hold, 0, p_now_s);
  RETURN p_currency;
END $$;

-- The payment request that was paid, else NULL.
CREATE FUNCTION pay_code(
  p_txn TEXT, p_code_hash TEXT, p_merchant TEXT, p_payable TEXT, p_amount BIGINT, p_currency TEXT,
  p_purchase TEXT, p_capture TEXT, p_now_s BIGINT
) RETURNS TEXT LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  code payment_request%ROWTYPE;
  p_account TEXT;
  held BIGINT;
  number BIGINT;
BEGIN
  SELECT * INTO code FROM payment_request p WHERE p.code_hash = p_code_hash;
  p_account := 'wallet:' || code.wallet;
  PERFORM 1 FROM ledger_account l WHERE l.account = p_account AND l.currency = p_currency FOR UPDATE;
  IF NOT FOUND THEN RETURN NULL; END IF;
  PERFORM expire_due(p_account, p_currency, p_now_s);
  SELECT h.amount_minor INTO held
  FROM payment_request p JOIN hold h ON h.hold = p.hold JOIN wallet w ON w.wallet = p.wallet
  WHERE p.payment_request = code.payment_request AND p.merchant IN ('', p_merchant)
    AND p_amount <= p.max_amount_minor AND p_amount <= h.amount_minor AND h.status = 'held'
    AND w.currency = p_currency AND p_amount <= w.confirm_above_minor
    AND NOT EXISTS (SELECT 1 FROM code_payment c
      WHERE c.txn = p_txn OR c.payment_request = p.payment_request)
    AND NOT EXISTS (SELECT 1 FROM capture c WHERE c.capture = p_capture);
  IF NOT FOUND THEN RETURN NULL; END IF;
  UPDATE hold SET status = 'captured', captured_minor = p_amount WHERE hold = code.hold;
  UPDATE ledger_account l SET held_minor = l.held_minor - held, balance_minor = l.balance_minor - p_amount
  WHERE l.account = p_account AND l.currency = p_currency;
  INSERT INTO journal (kind, reference, at_s) VALUES ('capture', p_capture, p_now_s)
  RETURNING journal INTO number;
  INSERT INTO posting VALUES
    (number, 0, p_account, p_amount, p_currency), (number, 1, p_payable, -p_amount, p_currency);
  INSERT INTO outbox VALUES (number);
  INSERT INTO capture VALUES
    (p_capture, code.hold, p_account, p_merchant, p_purchase, p_amount, p_currency, number);
  INSERT INTO code_payment VALUES
    (p_txn, code.payment_request, p_merchant, p_amount, p_currency, p_purchase, 'settled', 0, p_now_s);
  RETURN code.payment_request;
END $$;

-- The answer of each command, or NULL: its key was used before, or it is not plain.
CREATE FUNCTION hot_commands(
  p_tenant TEXT[], p_path TEXT[], p_key TEXT[], p_digest BYTEA[], p_grp TEXT[], p_sequence BIGINT[],
  p_attempt BIGINT[], p_now_s BIGINT[], p_actor TEXT[], p_action TEXT[], p_function TEXT[],
  p_arguments TEXT[], p_head BYTEA[], p_tail BYTEA[]
) RETURNS TABLE (body BYTEA) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  a JSONB;
  given TEXT;
BEGIN
  FOR i IN 1 .. cardinality(p_key) LOOP
    given := NULL; body := NULL; a := p_arguments[i];
    PERFORM 1 FROM answer w
    WHERE w.tenant = p_tenant[i] AND w.path = p_path[i] AND w.key = p_key[i];
    IF NOT FOUND AND p_function[i] = 'show_code' THEN
      given := show_code(a->>'request', a->>'wallet', a->>'merchant', (a->>'max')::BIGINT,
        a->>'code_hash', a->>'kid', a->>'hold', (a->>'now_s')::BIGINT, (a->>'expires_s')::BIGINT);
    ELSIF NOT FOUND AND p_function[i] = 'pay_code' THEN
      given := pay_code(a->>'txn', a->>'code_hash', a->>'merchant', a->>'payable',
        (a->>'amount')::BIGINT, a->>'currency', a->>'purchase', a->>'capture', (a->>'now_s')::BIGINT);
    END IF;
    IF given IS NOT NULL THEN
      body := p_head[i] || convert_to(to_json(given)::TEXT, 'UTF8') || p_tail[i];
      INSERT INTO answer VALUES (p_tenant[i], p_path[i], p_key[i], p_digest[i], 201, body,
        p_now_s[i], p_grp[i], p_sequence[i], p_attempt[i]);
      INSERT INTO audit (at_s, actor, action, object, status, times)
      VALUES (p_now_s[i], p_actor[i], p_action[i], '', 201, 1);
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
