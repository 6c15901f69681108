"""Study of policies in a world: hyper-parameters tuned on other seeds, regret with intervals."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from streams.contract.errors import ConfigurationError
from streams.contract.settings.policies import POLICY_TYPES, Learned, Policy
from streams.core.policies.q_agent import N_ACTIONS
from streams.core.policies.registry import new_policy
from streams.core.retrieval.shortlist import SOURCE_NAMES
from streams.evaluation.laboratory import funnel
from streams.evaluation.laboratory.run import run
from streams.evaluation.laboratory.worlds import WORLDS, Drift

Float64Array = NDArray[np.float64]

FUNNEL: Final = "funnel"
WORLD_NAMES: Final = (*WORLDS, FUNNEL)
FUNNEL_POLICIES: Final = ("q", "q-myopic", "fixed")
TUNING_SEEDS: Final = 5
_FIRST_TUNING_SEED: Final = 10_000
_POINTS: Final = 50
_WINDOW: Final = 500
GRIDS: Final[dict[str, tuple[str, tuple[float, ...]]]] = {
    "epsilon-greedy": ("epsilon", (0.0, 0.01, 0.02, 0.05, 0.1)),
    "squarecb": ("exploration", (16.0, 64.0, 256.0, 1024.0, 4096.0)),
    "linucb": ("alpha", (0.05, 0.1, 0.2, 0.4, 0.8)),
    "thompson": ("scale", (0.025, 0.05, 0.1, 0.2, 0.4)),
}
"""Kind of policy to its tuned hyper-parameter and the candidate values."""
_Q_EPSILON: Final = 0.1
_Q_LEARNING_RATE: Final = 0.05
_Q_GAMMA: Final = 0.9


class Contender(NamedTuple):
    """A policy as named on the command line: ``kind``, ``kind:value`` or ``kind@discount``.

    Attributes:
        value: Value of its hyper-parameter; ``None`` to tune it.
    """

    name: str
    kind: str
    value: float | None
    discount: float


class Study(NamedTuple):
    """Definition of a study.

    Attributes:
        delay: Decisions whose rewards are learned together, after the last of them; 0 is at once.
    """

    contenders: Sequence[Contender]
    world: str
    drift: Drift
    seeds: int
    n_decisions: int
    delay: int = 0

    @property
    def n_plays(self) -> int:
        """Decisions of all runs together."""
        if self.world == FUNNEL:
            runs = [(N_ACTIONS if each.kind == "fixed" else 1) * self.seeds for each in self.contenders]
        else:
            runs = [self.seeds + TUNING_SEEDS * len(_tried(each)) for each in self.contenders]
        return sum(runs) * (self.n_decisions // 500 * 500)


def read_contenders(text: str, world: str) -> list[Contender]:
    """Parses text such as ``squarecb,epsilon-greedy:0.05,squarecb@0.998``.

    Raises:
        ConfigurationError: A policy does not exist in this world, is named twice, or has a wrong number.
    """
    known = FUNNEL_POLICIES if world == FUNNEL else tuple(POLICY_TYPES)
    contenders = [_read(name.strip(), known, world) for name in text.split(",")]
    if len({each.name for each in contenders}) < len(contenders):
        raise ConfigurationError(f"--policies names a policy twice: {text}")
    return contenders


def _read(name: str, known: Sequence[str], world: str) -> Contender:
    rest, _, discount = name.partition("@")
    kind, _, value = rest.partition(":")
    if kind not in known:
        raise ConfigurationError(f"--policies: there is no policy {kind!r} in world {world}; known: {', '.join(known)}")
    if value and kind not in GRIDS:
        raise ConfigurationError(f"--policies: {kind} takes no number")
    if discount and world == FUNNEL:
        raise ConfigurationError(f"--policies: {name!r} has a discount; leave it out in world {FUNNEL}")
    try:
        contender = Contender(name, kind, float(value) if value else None, float(discount) if discount else 1.0)
    except ValueError as error:
        raise ConfigurationError(f"--policies: {name!r} has a wrong number: {error}") from error
    if not 0.0 < contender.discount <= 1.0 or not (contender.value or 0.0) >= 0.0:
        raise ConfigurationError(f"--policies: {name!r}: a discount must be in (0, 1], a value must not be negative")
    return contender


def play(study: Study, advance: Callable[[int], None]) -> dict[str, Any]:
    """Runs every policy on the same seeds; returns plain values."""
    regrets, chosen = {}, {}
    for each in study.contenders:
        if study.world == FUNNEL:
            regrets[each.name], chosen[each.name] = _play_funnel(study, each, advance)
        else:
            regrets[each.name], chosen[each.name] = _tune_and_play(study, each, advance)
    first = next(iter(regrets.values())).sum(axis=1)
    return {
        "world": study.world,
        "drift": study.drift,
        "seeds": study.seeds,
        "decisions": study.n_decisions,
        "delay": study.delay,
        "policies": {
            name: chosen[name] | _summary(regret, first, study.drift == "abrupt") for name, regret in regrets.items()
        },
    }


def _tried(contender: Contender) -> tuple[float, ...]:
    return GRIDS[contender.kind][1] if contender.kind in GRIDS and contender.value is None else ()


def _tune_and_play(
    study: Study, contender: Contender, advance: Callable[[int], None]
) -> tuple[Float64Array, dict[str, Any]]:
    def regret(value: float | None, seeds: range) -> Float64Array:
        world = WORLDS[study.world](seeds, study.n_decisions, study.drift)
        policy = new_policy(_configured(contender, value))
        return run(world, policy, contender.discount, seeds.start, advance, study.delay).regret

    tuning = range(_FIRST_TUNING_SEED, _FIRST_TUNING_SEED + TUNING_SEEDS)
    tried = {value: float(regret(value, tuning).sum(axis=1).mean()) for value in _tried(contender)}
    value = min(tried, key=tried.__getitem__) if tried else contender.value
    details = {"kind": contender.kind, "discount": contender.discount, "floor": _configured(contender, value).floor}
    if value is not None:
        details[GRIDS[contender.kind][0]] = value
        details["tried"] = {str(each): round(total, 1) for each, total in tried.items()}
        if tried and is_end_of_grid(contender.kind, value):
            details["end_of_grid"] = f"{GRIDS[contender.kind][0]} {value:g}"
    return regret(value, range(study.seeds)), details


def is_end_of_grid(kind: str, value: float) -> bool:
    """Returns whether a best value lies at an end of its grid, so that a better one may lie beyond it.

    Epsilon and the like cannot be below 0, so a best of 0 is no such sign.
    """
    values = GRIDS[kind][1]
    return value != 0.0 and value in (values[0], values[-1])


def configuration(kind: str, value: float | None, **given: Any) -> Policy:
    """Returns a kind of policy with a value of its tuned hyper-parameter; ``None`` leaves the one that ships."""
    own: dict[str, Any] = {} if value is None else {GRIDS[kind][0]: value}
    return POLICY_TYPES[kind](**own, **given)


def _configured(contender: Contender, value: float | None) -> Policy:
    """Returns the policy's configuration; greedy has no floor here: it is the example of a policy that fails."""
    given: dict[str, Any] = {}
    if issubclass(POLICY_TYPES[contender.kind], Learned):
        given["discount"] = contender.discount
    if contender.kind == "greedy":
        given["floor"] = 0.0
    return configuration(contender.kind, value, **given)


def _play_funnel(
    study: Study, contender: Contender, advance: Callable[[int], None]
) -> tuple[Float64Array, dict[str, Any]]:
    seeds, best = range(study.seeds), funnel.best_rate()
    if contender.kind == "fixed":
        earned = [funnel.run_fixed(seeds, study.n_decisions, action, advance) for action in range(N_ACTIONS)]
        action = max(range(N_ACTIONS), key=lambda number: float(earned[number].mean()))
        name = SOURCE_NAMES[action] if action < len(SOURCE_NAMES) else "nothing"
        return best - earned[action], {"kind": "fixed", "shows": name}
    gamma = 0.0 if contender.kind == "q-myopic" else _Q_GAMMA
    details = {"kind": "q", "gamma": gamma, "epsilon": _Q_EPSILON, "learning_rate": _Q_LEARNING_RATE}
    return best - funnel.run_q(seeds, study.n_decisions, gamma, _Q_EPSILON, _Q_LEARNING_RATE, advance), details


def _summary(regret: Float64Array, first: Float64Array, breaks: bool) -> dict[str, Any]:
    totals = regret.sum(axis=1)
    ends = np.unique(np.linspace(regret.shape[1] / _POINTS, regret.shape[1], _POINTS).astype(int))
    curves = regret.cumsum(axis=1)[:, ends - 1]
    half = half_width(curves)
    ratio = float(totals.mean() / first.mean())
    # The delta method, on the pairs of runs with the same seed.
    spread = float(half_width((totals - ratio * first)[:, None])[0]) / float(first.mean())
    return {
        "regret": round(float(totals.mean()), 1),
        "regret_ci95": _rounded(totals.mean() + float(half[-1]) * np.array([-1.0, 1.0])),
        "regret_by_seed": _rounded(totals),
        "ratio_to_first": round(ratio, 4),
        "ratio_to_first_ci95": [round(ratio - spread, 4), round(ratio + spread, 4)],
        **({"decisions_to_adapt": _time_to_adapt(regret.mean(axis=0))} if breaks else {}),
        "curve": {
            "decisions": ends.tolist(),
            "regret": _rounded(curves.mean(axis=0)),
            "low": _rounded(curves.mean(axis=0) - half),
            "high": _rounded(curves.mean(axis=0) + half),
        },
    }


def half_width(values: Float64Array) -> Float64Array:
    """Returns half the width of a 95 % interval of the mean over the rows; NaN for one row."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1], np.nan)
    return np.asarray(student.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n), np.float64)


def _rounded(values: Float64Array) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 1) for value in values]


def _time_to_adapt(regret: Float64Array) -> int | None:
    """Returns the decisions after the change until a window's regret is at most 20 % above that before the change."""
    half = len(regret) // 2
    window = min(_WINDOW, half)
    before = float(regret[half - window : half].mean())
    for end in range(half + window, len(regret) + 1, max(window // 10, 1)):
        if regret[end - window : end].mean() <= 1.2 * before:
            return end - half
    return None
