"""Does the bandit beat the control? Demos over several seeds, and the same with a bandit that only draws uniformly."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import orjson

SEEDS: Final = 10
EVENTS: Final = 25_000
_SHARES: Final = "{control = 0.2, bandit = 0.5, q = 0.3}"
_UNIFORM: Final = "{bandit = {kind = 'uniform'}, filling = {kind = 'squarecb'}}"
"""Policies of which the bandit draws uniformly: it is a second control, and no lift must show."""


def measure_lift(quick: bool) -> dict[str, Any]:
    """Runs the demo once a seed, then once more a seed as an A/A test.

    Returns:
        By experiment: the seeds in which the bandit's click rate was above the control's, the lifts as measured and as
        the simulator knows them to be true, in how many seeds the interval for one look and the bound for any time left
        out no lift at all, and in how many the bound held the true lift.
    """
    seeds, events = (2, EVENTS // 4) if quick else (SEEDS, EVENTS)
    shares = {"HEADRACE_DECISIONS__SHARES": _SHARES}
    uniform = {**shares, "HEADRACE_DECISIONS__POLICIES": _UNIFORM, "HEADRACE_DECISIONS__Q_FILLED_BY": "filling"}
    return {
        "events_per_seed": events,
        "bandit_against_control": _compare(seeds, events, shares),
        "uniform_against_control": _compare(seeds, events, uniform),
    }


def _compare(seeds: int, events: int, environment: dict[str, str]) -> dict[str, Any]:
    lifts, true_lifts, ahead = [], [], 0
    outside_interval = outside_bound = covered = 0
    for seed in range(1, seeds + 1):
        policies = _demo(seed, events, environment)["policies"]
        bandit, control = policies["bandit"], policies["control"]
        lifts.append(round(bandit["ctr"] / control["ctr"] - 1, 4))
        true_lifts.append(round(bandit["true_ctr"] / control["true_ctr"] - 1, 4))
        ahead += bandit["ctr"] > control["ctr"]
        outside_interval += not _holds(bandit["lift_ci95"], 0.0)
        outside_bound += not _holds(bandit["lift_anytime95"], 0.0)
        covered += _holds(bandit["lift_anytime95"], true_lifts[-1])
        print(f"seed {seed}: lift {lifts[-1]:+.1%}, true {true_lifts[-1]:+.1%}", file=sys.stderr, flush=True)
    return {
        "seeds": seeds,
        "ahead": ahead,
        "outside_the_interval": outside_interval,
        "outside_the_anytime_bound": outside_bound,
        "true_lift_within_the_anytime_bound": covered,
        "mean_lift": round(sum(lifts) / seeds, 4),
        "mean_true_lift": round(sum(true_lifts) / seeds, 4),
        "lifts": lifts,
        "true_lifts": true_lifts,
    }


def _holds(bounds: list[float] | None, lift: float) -> bool:
    return bounds is None or bounds[0] <= lift <= bounds[1]


def _demo(seed: int, events: int, environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        arguments = ["demo", "--events", str(events), "--seed", str(seed), "--headless", "--report", str(report)]
        subprocess.run(
            [sys.executable, "-m", "streams.ops.cli", *arguments],
            env={**os.environ, **environment},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return dict(orjson.loads(report.read_bytes()))
