"""Entry tokens as a gate would check them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pyseto
import pytest

from broker import keys
from broker.credentials import TOKEN_VALIDITY_S, SigningKeyError, issue, rfc3339, signing_key
from messages.contract import CredentialRequest

REQUEST = CredentialRequest(account="anna", store="lab", party_size=3)


def test_token_says_who_where_how_many_and_until_when(tmp_path: Path) -> None:
    key = keys.signing_keys(tmp_path)[0]
    issued = issue(REQUEST, key, jti="abc", now_s=1_800_000_000)
    public = pyseto.Key.from_asymmetric_key_params(4, x=key.public_key)
    token = pyseto.decode(public, issued.token)
    claims = json.loads(token.payload)
    assert json.loads(token.footer) == {"kid": key.kid}
    assert claims == {
        "jti": "abc",
        "store": "lab",
        "acct": "anna",
        "party": 3,
        "kind": "shopper",
        "iat": "2027-01-15T08:00:00Z",
        "exp": "2027-01-15T08:01:00Z",
    }
    lives = datetime.fromisoformat(claims["exp"]) - datetime.fromisoformat(claims["iat"])
    assert lives.total_seconds() == TOKEN_VALIDITY_S <= 60
    assert issued.expires_at == claims["exp"] == rfc3339(1_800_000_000 + TOKEN_VALIDITY_S)


def test_token_of_another_key_or_with_a_changed_letter_is_refused(tmp_path: Path) -> None:
    key, other = (keys.signing_keys(tmp_path / name)[0] for name in _made(tmp_path, "a", "b"))
    token = issue(REQUEST, key, jti="abc", now_s=1_800_000_000).token
    with pytest.raises(pyseto.VerifyError):
        pyseto.decode(pyseto.Key.from_asymmetric_key_params(4, x=other.public_key), token)
    middle = len("v4.public.") + 20
    changed = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    with pytest.raises(pyseto.VerifyError):
        pyseto.decode(pyseto.Key.from_asymmetric_key_params(4, x=key.public_key), changed)


def test_renamed_signing_key_is_still_published_after_rotation(tmp_path: Path) -> None:
    before = keys.signing_keys(tmp_path)
    assert keys.signing_keys(tmp_path) == before
    (tmp_path / "signing.key").rename(tmp_path / "signing-2026.key")
    after = keys.signing_keys(tmp_path)
    assert len(after) == 2
    assert after[0].kid != before[0].kid
    assert after[1] == before[0]


def test_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keys.api_keys(tmp_path)
    for name in ("store.key", "app.key", "admin.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    (tmp_path / "store.key").chmod(0o644)
    with pytest.raises(keys.SecretFileError, match=r"store\.key"):
        keys.api_keys(tmp_path)


def test_key_file_without_an_ed25519_key_is_refused() -> None:
    with pytest.raises(SigningKeyError):
        signing_key(b"no key at all")


def _made(tmp_path: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        (tmp_path / name).mkdir()
    return names
