"""What choosing a slate costs: shortlist 20, 32 features, slate 5; CPU time, scoring included."""

import time
from typing import Any, Final

import numpy as np

from streams.contract.policies import EpsilonGreedy, LinUCB, SquareCB, Thompson
from streams.core.policies.kinds import new_policy
from streams.core.policies.models import RewardModel

_SHORTLIST: Final = 20
_FEATURES: Final = 32
_SLATE: Final = 5


def measure_choosing(quick: bool) -> dict[str, Any]:
    """Returns microseconds a decision, by kind, for one alone and in a batch of 256; the best of five rounds."""
    random = np.random.default_rng(0)
    factor = np.tril(random.normal(0.0, 0.02, (_FEATURES, _FEATURES)))
    model = RewardModel(random.normal(0.0, 0.05, _FEATURES), factor, 1000.0)
    found: dict[str, Any] = {}
    for name, configuration in {
        "squarecb": SquareCB(),
        "thompson": Thompson(),
        "linucb": LinUCB(),
        "epsilon_greedy": EpsilonGreedy(),
    }.items():
        policy = new_policy(configuration)
        for n in (1, 256):
            features = random.random((n, _SHORTLIST, _FEATURES))
            n_items, uniforms = np.full(n, _SHORTLIST), random.random((n, _SLATE))
            times = []
            rounds = (20 if quick else 200) if n == 1 else (2 if quick else 10)
            for _ in range(5):
                begun_ns = time.process_time_ns()
                for _ in range(rounds):
                    estimates = model.estimate(features, deviations=policy.needs_deviations)
                    policy.choose(estimates, n_items, uniforms)
                times.append((time.process_time_ns() - begun_ns) / rounds / n / 1000.0)
            found[f"{name}_{'alone' if n == 1 else 'of_256'}_us"] = round(min(times), 1)
    return found
