"""What each answer means, how long to wait, which addresses and keys are used."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cloud_sync.http_sender import EndpointError, checked_url, read_secret, retry_after_s
from cloud_sync.outcomes import (
    WEBHOOK_WAITS_S,
    Answer,
    Verdict,
    backoff_s,
    judge,
    judge_webhook,
    wait_ns,
    webhook_wait_s,
)

NOW_NS = 1_790_000_000_000_000_000


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ANSWERED),
        (201, Verdict.ANSWERED),
        (204, Verdict.ANSWERED),
        (None, Verdict.UNKNOWN),
        (408, Verdict.UNKNOWN),
        (425, Verdict.UNKNOWN),
        (429, Verdict.UNKNOWN),
        (500, Verdict.UNKNOWN),
        (503, Verdict.UNKNOWN),
        (301, Verdict.BARRED),
        (307, Verdict.BARRED),
        (401, Verdict.BARRED),
        (403, Verdict.BARRED),
        (400, Verdict.REFUSED),
        (402, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (409, Verdict.REFUSED),
        (422, Verdict.REFUSED),
    ],
)
def test_each_status_has_one_meaning(status: int | None, verdict: Verdict) -> None:
    assert judge(Answer(status=status)) is verdict


def test_a_decline_is_an_answer_where_money_is_asked_for() -> None:
    assert judge(Answer(status=402), declines=True) is Verdict.ANSWERED


def test_a_conflict_with_a_wait_is_still_under_way_over_there() -> None:
    assert judge(Answer(status=409, retry_after_s=1.0)) is Verdict.UNKNOWN


def test_a_webhook_is_tried_for_three_days_then_parks() -> None:
    assert judge_webhook(Answer(status=404), 0) is Verdict.UNKNOWN
    assert judge_webhook(Answer(status=410), 0) is Verdict.GONE
    assert judge_webhook(Answer(status=None), len(WEBHOOK_WAITS_S) - 1) is Verdict.UNKNOWN
    assert judge_webhook(Answer(status=500), len(WEBHOOK_WAITS_S)) is Verdict.REFUSED
    assert 72 * 3600 <= sum(WEBHOOK_WAITS_S) <= 76 * 3600
    waits = [webhook_wait_s(failures, 0.5, 0.5) for failures in range(9)]
    assert waits == list(WEBHOOK_WAITS_S)
    assert webhook_wait_s(0, 0.05, 0.5) == pytest.approx(0.5)


def test_back_off_grows_to_its_bound_and_is_spread_fully() -> None:
    assert [backoff_s(n, 0.5, 60.0, 1.0) for n in (0, 1, 2, 20, 10_000)] == [0.5, 1, 2, 60, 60]
    chance = random.Random(7)
    spread = [backoff_s(3, 0.5, 60.0, chance.random()) for _ in range(2000)]
    assert min(spread) < 0.1
    assert max(spread) > 3.9


def test_a_wait_asked_for_is_honoured_within_the_hour() -> None:
    assert wait_ns(Answer(status=429, retry_after_s=7.0), 0.25) == 7_250_000_000
    assert wait_ns(Answer(status=429, retry_after_s=1e9), 0.0) == 3600 * 10**9
    assert wait_ns(Answer(status=500), 0.25) == 250_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("", None),
        ("-3", None),
        ("soon", None),
        ("1e5", None),
        ("9" * 30, None),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60.0),
        ("Mon, 21 Sep 2020 14:14:20 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text: str, seconds: float | None) -> None:
    assert retry_after_s(text, NOW_NS) == seconds


@pytest.mark.parametrize(
    "url",
    [
        "http://broker.example",
        "ftp://broker.example",
        "https://user:pass@broker.example",
        "https://",
        "",
        "broker.example",
        "http://127.0.0.1.evil.example",
        "https://x/#y",
    ],
)
def test_an_address_that_leaks_is_refused(url: str) -> None:
    with pytest.raises(EndpointError) as refused:
        checked_url("broker", url)
    assert "pass" not in str(refused.value).replace("password", "")


def test_https_and_this_host_are_accepted() -> None:
    assert checked_url("broker", "https://broker.example/x") == ("https://broker.example/x", "")
    assert checked_url("broker", "http://[::1]:80")[0] == "http://[::1]:80"
    assert checked_url("broker", "http://localhost:1")[1] == ""
    assert checked_url("broker", "unix:/run/b.sock") == ("http://localhost", "/run/b.sock")


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"a\nb", b"\xff\xfe"])
def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(EndpointError):
        read_secret("broker", str(tmp_path / "key"))
    with pytest.raises(EndpointError, match="cannot be read"):
        read_secret("broker", str(tmp_path / "none"))
