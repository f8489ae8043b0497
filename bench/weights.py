"""Weight steps beside two published rules: recall, precision, delay, and speed on one core.

Shelves are simulated beforehand: hard and ordinary scenarios of the library, a drill of gestures
that overlap on purpose, all with several multiples of real noise, and a full store of 350 plates at
60 Hz for the speed. Truth is what hands really did to the plates (``bench.weight_runs``); a report
matches a change by shelf, time and sign of mass (``bench.weight_match``). ``SEEDS`` were not used
to tune anything; ``TUNING_SEEDS`` were.

The delay of a step counts from the moment that the first 200 ms of samples after its release have
been received, to the first report of its mass, provisional or final, in the engine's steps of
100 ms; changes below five sigma of the noise are left out of it, as are those never found or
weighed wrong. The release is the instant after which nothing loads the plates for 200 ms.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.measured import in_child, machine, on_one_core, print_table
from bench.weight_match import MASS_OFF_G, MASS_OFF_PART, Report, Tally, tally
from bench.weight_rules import VARIANCE, WINNER, Detector, Rule
from bench.weight_runs import NS, STEP_NS, Shelves, busy_store, drill, scenario_run
from edge.sensors.weight_steps import WeightSensing, WeightSteps

TUNING_SEEDS = (1, 2)
SEEDS = (101, 102, 103)
SCENARIOS = (
    "hard-long-hold",
    "hard-one-of-two-lifted",
    "hard-arm-on-shelf",
    "hard-bag-on-shelf",
    "hard-knocked-gondola",
    "hard-three-at-one-shelf",
    "hard-same-item-same-second",
    "hard-quick-picks-put-back",
    "hard-light-items",
    "hard-heavy-items",
    "hard-fresh-mass-spread",
    "adversarial-mix",
    "ordinary-usual-hour",
    "staff-restock-beside-shopper",
)
NOISES = (0.5, 1.0, 2.0)  # times that of a real store
PLATES, PEOPLE, BUSY_S = 350, 10, 60.0
RUNS = 3  # the median counts: the machine may have been busy once
METHODS = ("ours", "variance_rule", "winner_rule")
RULES = {"variance_rule": VARIANCE, "winner_rule": WINNER}


def main(json_output: bool) -> int:
    """Run and print: one JSON object, or a table."""
    found = run()
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run() -> dict[str, Any]:
    """All figures; some four minutes on a laptop, most of it the simulation beforehand."""
    found = in_child("bench.weights", "quality")
    speed = in_child("bench.weights", "speed")
    ours = found.pop("ours")
    peers = {name: {**figures, "realtime_factor": speed[name]} for name, figures in found.items()}
    return {
        "bench": "weights",
        "figures": {
            **ours,
            "realtime_factor": speed["ours"],
            "plates": PLATES,
            "scenarios": len(SCENARIOS) + 1,
            "seeds": list(SEEDS),
            "noise_multipliers": list(NOISES),
        },
        "peers": peers,
        "where_time_goes": {"sensing": 1.0},
        "machine": machine(),
    }


def runs(seeds: Sequence[int], noises: Sequence[float]) -> Iterator[Shelves]:
    """Every scenario and the drill, with each seed and noise."""
    for seed in seeds:
        for noise in noises:
            yield drill(seed, noise)
            for name in SCENARIOS:
                yield scenario_run(name, seed, noise)


def reports(run: Shelves) -> tuple[list[Report], list[Report]]:
    """Our final steps, and the first report of each, in steps of the engine."""
    sensing = WeightSensing(run.config)
    final: list[Report] = []
    first_told: list[Report] = []
    showing: list[Report] = []
    k = 0
    for now_ns in range(STEP_NS, run.ended_ns + STEP_NS, STEP_NS):
        begin = k
        while k < len(run.batches) and run.batches[k].received_at_ns <= now_ns:
            k += 1
        final += reported(sensing.step(now_ns, run.batches[begin:k]), now_ns)
        shown = reported(sensing.provisional(), now_ns)
        first_told += [one for one in shown if not any(same(one, other) for other in showing)]
        showing = shown
    return final, first_told


def same(one: Report, other: Report) -> bool:
    """A provisional report that is still the one of the step before."""
    off_g = abs(one.mass_g - other.mass_g)
    near = off_g < max(MASS_OFF_G, MASS_OFF_PART * abs(other.mass_g))
    return near and one.shelf == other.shelf and abs(one.plate - other.plate) <= 1


def reported(steps: WeightSteps, now_ns: int) -> list[Report]:
    return [
        Report(
            shelf=int(steps.shelf[i]),
            plate=int(np.abs(steps.plate_mass_g[i]).argmax()),
            from_ns=int(steps.started_at_ns[i]),
            to_ns=int(steps.ended_at_ns[i]),
            mass_g=float(steps.mass_g[i]),
            at_ns=now_ns,
            mass_sd_g=float(steps.mass_sd_g[i]),
        )
        for i in range(len(steps))
    ]


# --- the child ------------------------------------------------------------------------------------


def quality(seeds: Sequence[int] = SEEDS, noises: Sequence[float] = NOISES) -> dict[str, Any]:
    """Figures of each method over all runs."""
    tallies = {name: Tally() for name in METHODS}
    for run in runs(seeds, noises):
        final, provisional = reports(run)
        tally(tallies["ours"], run, final, provisional)
        for name, rule in RULES.items():
            tally(tallies[name], run, Detector(run.config, rule).run(run.batches))
    return {name: one.figures() for name, one in tallies.items()}


def speed() -> dict[str, float]:
    """Seconds of the store over seconds of one core, for each method, on the same batches."""
    run = busy_store(7, PLATES, PEOPLE, BUSY_S)
    gc.freeze()
    store_s = (run.batches[-1].received_at_ns - run.batches[0].received_at_ns) / NS
    factors = {"ours": _factor(store_s, lambda: reports(run))}
    for name, rule in RULES.items():
        factors[name] = _factor(store_s, lambda rule=rule: _detect(run, rule))
    return factors


def _detect(run: Shelves, rule: Rule) -> list[Report]:
    return Detector(run.config, rule).run(run.batches)


def _factor(store_s: float, call: Any) -> float:
    """The median of ``RUNS``."""
    spent_s = []
    for _ in range(RUNS):
        began = time.process_time()
        call()
        spent_s.append(time.process_time() - began)
    return round(store_s / sorted(spent_s)[len(spent_s) // 2], 1)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--child":
        on_one_core()
        sys.stdout.write(json.dumps(quality() if sys.argv[2] == "quality" else speed()) + "\n")
        sys.exit(0)
    sys.exit(main("--json" in sys.argv))
