"""Long forms of the fault tests: ``make soak``, or ``python -m tests.soak --seconds 600``.

Stories take turns, each time with a new seed, until the time is over; a failure prints the story
and its seed, with which ``--only`` and ``--seed`` tell it again. Loopback and temporary files only.
Some stories need more than Python and say so where they cannot run: system calls (strace), power
cuts (root and loop-mounted ext4).
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cloud_sync"), str(ROOT)]

from tests.soak.stories import STORIES, CannotRun  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="Fault stories, over and over.")
    parser.add_argument("--seconds", type=float, default=600.0, help="then no new story begins")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--only", choices=sorted(STORIES), action="append", help="repeatable")
    given = parser.parse_args()
    logging.disable()  # servers of the tests tell of every line that is cut
    return soak(given.only or list(STORIES), given.seed, given.seconds)


def soak(names: list[str], seed: int, seconds: float) -> int:
    until, told, failed = time.monotonic() + seconds, Counter[str](), Counter[str]()
    left = list(names)
    while left and time.monotonic() < until:
        for name in list(left):
            if time.monotonic() >= until:
                break
            began = time.monotonic()
            try:
                with tempfile.TemporaryDirectory(prefix="walkout-soak-") as folder:
                    wrong = STORIES[name](Path(folder), seed)
            except CannotRun as error:
                print(f"{name}: not run, {error}", flush=True)
                left.remove(name)
                continue
            except Exception:
                wrong = [traceback.format_exc()]
            told[name] += 1
            failed[name] += bool(wrong)
            mark = "FAILED" if wrong else "good"
            print(f"{name} seed {seed}: {mark} in {time.monotonic() - began:.1f} s", flush=True)
            for one in wrong[:5]:
                print(f"    {one}", flush=True)
        seed += 1
    print({name: f"{told[name] - failed[name]} of {told[name]} good" for name in told})
    return 1 if any(failed.values()) or not told else 0


if __name__ == "__main__":
    sys.exit(main())
