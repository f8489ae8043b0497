"""The options of ``walkout bench carts`` on the command line."""

from __future__ import annotations

from typer.testing import CliRunner

import walkout


def test_options_of_the_bench_are_refused_by_other_benches_and_wrong_ones_are_named() -> None:
    other = CliRunner().invoke(walkout.app, ["bench", "weights", "--seeds", "101"])
    assert other.exit_code == 2
    assert "are for the carts bench, not for weights" in other.output
    alone = CliRunner().invoke(walkout.app, ["bench", "carts", "--picture", "x.svg"])
    assert alone.exit_code == 2
    assert "add --sweep" in alone.output
    wrong = CliRunner().invoke(walkout.app, ["bench", "carts", "--scenarios", "hard-nothing"])
    assert wrong.exit_code == 2
    assert "no scenario fits 'hard-nothing'" in wrong.output
    seeds = CliRunner().invoke(walkout.app, ["bench", "carts", "--seeds", "a"])
    assert seeds.exit_code == 2
    assert "is not like 1-10" in seeds.output
