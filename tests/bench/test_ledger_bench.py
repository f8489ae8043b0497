"""The ledger bench, shortened: it runs to its end, names its figures, and loses nothing."""

from __future__ import annotations

import json

import pytest

from bench import ledger, ledger_http
from bench.temporary_postgresql import WITHOUT, program

FIGURES = {
    "postgresql_ratio_to_naive_32",
    "postgresql_hot_to_spread",
    "postgresql_p99_ms_32",
    "cpu_ms_per_transfer",
    "sqlite_transfers_per_s_32",
    "http_transfers_per_s_32",
    "acknowledged_lost",
}


@pytest.mark.slow
def test_short_bench_gives_every_figure_and_a_crash_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if program("postgres") is None:
        pytest.skip(WITHOUT)
    for module, name, value in (
        (ledger, "CELL_S", 0.3),
        (ledger, "CRASH_S", 0.5),
        (ledger, "CRASH_ACKNOWLEDGED", 100),
        (ledger, "WALLETS", 64),
        (ledger, "SHOPS", 64),
        (ledger_http, "SECONDS", 0.5),
    ):
        monkeypatch.setattr(module, name, value)
    assert ledger.main(json_output=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bench"] == "ledger"
    assert set(found["figures"]) >= FIGURES
    assert found["figures"]["acknowledged_lost"] == 0
    assert found["figures"]["postgresql_ratio_to_naive_32"] > 1.5
    assert found["peers"]["naive"]["cpu_ms_per_transfer"] > 0
    assert found["machine"]["flushes_per_s"] > 0
