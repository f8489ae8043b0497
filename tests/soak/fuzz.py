"""Coverage-guided fuzzing of every parser: ``python -m tests.soak.fuzz --seconds 600``.

The first byte of an input chooses the parser, the rest is what it reads; anything but its value or
its named errors ends the run with status 77, and the input lies in ``--out``. The corpus begins
with the whole examples of ``tests/cloud_sync/parsers.py``. With atheris (libFuzzer) new branches of
our modules lead the way; where it is not installed the same harness mutates the examples blindly,
and says so. ``--planted`` adds a parser with a hole behind four bytes: a checker of the checker.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cloud_sync"), str(ROOT)]
OURS = ["cloud_sync", "edge.control", "edge.config", "edge.gate", "hardware.protocol", "messages"]
FOUND = 77  # libFuzzer's own status
INPUT_BYTES_MAX = 4096

try:
    import atheris
except ImportError:
    atheris = None

if atheris is None:
    from parsers import PARSERS, PIECES, WHOLE
else:
    with atheris.instrument_imports(include=OURS):
        from parsers import PARSERS, PIECES, WHOLE


def hole(body: bytes) -> None:
    """The planted bug: found byte by byte, or never."""
    if body[:1] == b"w" and body[1:2] == b"a" and body[2:3] == b"l" and body[3:4] == b"k":
        raise KeyError("a hole")


def main() -> int:
    parser = argparse.ArgumentParser(description="Bytes for every parser.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="inputs; -1: until the time is over")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(PARSERS), action="append")
    parser.add_argument("--planted", action="store_true", help="the hole alone")
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    given = parser.parse_args()
    names = ["planted"] if given.planted else given.only or list(PARSERS)
    corpus = written_corpus(given.out / "corpus", len(names))
    engine = blind if atheris is None else guided
    print(
        f"{'blind' if atheris is None else 'guided by coverage'}: {len(names)} parsers", flush=True
    )
    return engine(Reader(names), given, corpus)


def written_corpus(folder: Path, parsers: int) -> Path:
    """Every example for every parser: a byte that chooses, then the example."""
    folder.mkdir(parents=True)
    for number in range(parsers):
        for example, body in enumerate(WHOLE):
            (folder / f"{number}-{example}").write_bytes(bytes([number]) + body)
    return folder


class Reader:
    """One input to the parser that it chooses."""

    def __init__(self, names: list[str]) -> None:
        self.parsers = [(hole, ()) if name == "planted" else PARSERS[name] for name in names]

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        parse, named = self.parsers[data[0] % len(self.parsers)]
        try:
            parse(data[1:])
        except named:
            return


def guided(reader: Reader, given: argparse.Namespace, corpus: Path) -> int:
    if given.planted:
        reader.parsers = [(atheris.instrument_func(hole), ())]
    options = [
        f"-runs={given.runs}",
        f"-max_total_time={given.seconds}",
        f"-seed={given.seed}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={given.out}/",
        "-print_final_stats=1",
        "-rss_limit_mb=2048",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], reader)
    atheris.Fuzz()  # ends the process
    return 0


def blind(reader: Reader, given: argparse.Namespace, corpus: Path) -> int:
    """The same without coverage: examples, cut, doubled, flipped and with pieces put in."""
    chance, until = random.Random(given.seed), time.monotonic() + given.seconds
    bodies = [file.read_bytes() for file in sorted(corpus.iterdir())]
    pieces = [*PIECES, b"walk"] if given.planted else PIECES  # blind, it would never be found
    done = 0
    while time.monotonic() < until and (given.runs < 0 or done < given.runs):
        data = mutated(chance.choice(bodies), chance, pieces)
        try:
            reader(data)
        except Exception:
            traceback.print_exc()
            (given.out / "crash").write_bytes(data)
            return FOUND
        done += 1
    print(f"{done} inputs")
    return 0


def mutated(body: bytes, chance: random.Random, pieces: list[bytes]) -> bytes:
    whole = bytearray(body)
    for _ in range(chance.randint(0, 4)):
        at = chance.randint(0, len(whole))
        match chance.randrange(4):
            case 0:
                del whole[at : at + chance.randint(1, 20)]
            case 1:
                whole[at:at] = whole[at : at + chance.randint(1, 20)]
            case 2 if at < len(whole):
                whole[at] = chance.randrange(256)
            case _:
                whole[at:at] = chance.choice(pieces)
    return bytes(whole[:INPUT_BYTES_MAX])


if __name__ == "__main__":
    sys.exit(main())
