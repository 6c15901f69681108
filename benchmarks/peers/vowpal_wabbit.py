"""Vowpal Wabbit in the worlds of the laboratory: the same contexts, rewards, random numbers and delays.

The package ``vowpalwabbit`` is of the dependency group ``peers``. Without it the bake-off goes without Vowpal Wabbit.

References:
    Bietti, Agarwal and Langford (2021), "A contextual bandit bake-off", JMLR 22, for what is worth tuning.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from streams.evaluation.laboratory.run import Played
from streams.evaluation.laboratory.worlds import Float64Array, World

Example = list[Any]
"""A decision as Vowpal Wabbit parsed it: one line for each arm, behind one for the context if arms share it."""

EXPLORATIONS: Final[dict[str, tuple[str, tuple[float, ...]]]] = {
    "squarecb": ("--squarecb --gamma_scale", (30.0, 100.0, 300.0, 1000.0, 3000.0)),
    "epsilon": ("--epsilon", (0.0, 0.01, 0.05)),
    "regcb": ("--regcb --mellowness", (0.0001, 0.001, 0.01)),
}
"""Way to explore to its option and the candidate values."""
LEARNING_RATE: Final = 2.0
"""Value of ``-l`` with which the ways to explore are compared. Its default, 0.5, is worse in most of these worlds."""
OTHER_LEARNING_RATES: Final = (0.5, 8.0)
"""Tried with the best of them."""


def is_installed() -> bool:
    try:
        import vowpalwabbit  # noqa: F401, PLC0415 # only in the group of the peers
    except ImportError:
        return False
    return True


def decision_lines(features: Float64Array, names: Sequence[str] | None) -> list[str]:
    """Writes a decision in Vowpal Wabbit's text format.

    Args:
        features: Of each arm, the first a constant that Vowpal Wabbit adds itself, ``(n_arms, n_features)``.
        names: Of the arms where each has parameters of its own: the features are then the context's, in every row.

    >>> decision_lines(np.array([[1.0, 0.5], [1.0, 0.25]]), None)
    ['|f 1:0.5', '|f 1:0.25']
    >>> decision_lines(np.array([[1.0, 0.5], [1.0, 0.5]]), ["red", "blue"])
    ['shared |c 1:0.5', '|a red', '|a blue']
    """
    template = " ".join(f"{number}:%.5g" for number in range(1, features.shape[1]))
    if names is None:
        return [f"|f {template % tuple(row[1:])}" for row in features.tolist()]
    return [f"shared |c {template % tuple(features[0, 1:].tolist())}", *(f"|a {name}" for name in names)]


class Bandit:
    """One Vowpal Wabbit, with what it decided and did not learn yet.

    Args:
        arguments: Its way to explore, and other options.
        disjoint: Whether each arm has parameters of its own: context and arm are then crossed.
        least: Least cost; the most is 0.
    """

    def __init__(self, arguments: str, *, disjoint: bool, least: float) -> None:
        from vowpalwabbit import Workspace  # noqa: PLC0415 # only in the group of the peers

        crossed = " -q ca" if disjoint else ""
        costs = f" --cb_min_cost {least:g} --cb_max_cost 0" if "regcb" in arguments else ""
        self._workspace = Workspace(f"--cb_explore_adf --quiet -b 13 {arguments}{crossed}{costs}")
        self._n_before_arms = int(disjoint)
        self._waiting: list[Example] = []

    def choose(self, lines: list[str], uniform: float) -> tuple[Example, int, Float64Array]:
        """Draws an arm; returns the decision, the arm and the probabilities of all arms."""
        example = self._workspace.parse(lines)
        probabilities = np.array(self._workspace.predict(example))
        probabilities /= probabilities.sum()
        arm = min(int((probabilities.cumsum() <= uniform).sum()), len(probabilities) - 1)
        return example, arm, probabilities

    def wait(self, example: Example, arm: int, probabilities: Float64Array, reward: float | None) -> None:
        """Keeps a decision until :meth:`learn`; without a reward there is nothing to learn."""
        if reward is None:
            self._workspace.finish_example(example)
            return
        example[arm + self._n_before_arms].set_label_string(f"0:{-reward:.6g}:{probabilities[arm]:.6g}")
        self._waiting.append(example)

    def learn(self) -> None:
        """Learns all that waits, in order."""
        for example in self._waiting:
            self._workspace.learn(example)
            self._workspace.finish_example(example)
        self._waiting.clear()

    def close(self) -> None:
        self.learn()
        self._workspace.finish()


def run(world: World, arguments: str, seed: int, delay: int) -> Played:
    """Plays as :func:`streams.evaluation.laboratory.run.run` does, one Vowpal Wabbit in each world.

    The effective size is that of the expected weights, since RegCB gives arms a probability of 0, which no drawn arm
    shows: its log is then worth nothing for the uniform policy.
    """
    n_worlds, n_decisions = world.n_worlds, world.n_decisions
    bandits = [
        Bandit(arguments, disjoint=world.disjoint, least=-3.0 if world.disjoint else -1.0) for _ in range(n_worlds)
    ]
    draws = np.random.default_rng([seed, 3]).random((n_decisions, n_worlds, 1))
    regret, squares = np.empty((n_worlds, n_decisions)), np.empty((n_worlds, n_decisions))
    names = [str(arm) for arm in range(world.n_arms)]
    n_waiting = 0
    for number in range(n_decisions):
        if (replaced := world.replaced(number)) is not None:
            # The name is new, so that the new arm's parameters begin anew.
            names[replaced] = f"{replaced}-{number}"
        if replaced is not None or n_waiting >= max(delay, 1):
            for bandit in bandits:
                bandit.learn()
            n_waiting = 0
        features, expected, there = world.features(number), world.expected(number), world.visited().copy()
        chosen = [
            bandit.choose(decision_lines(features[place], names if world.disjoint else None), draws[number, place, 0])
            for place, bandit in enumerate(bandits)
        ]
        arms = np.array([arm for _, arm, _ in chosen])
        probabilities = np.stack([each for *_, each in chosen])
        shown = expected[np.arange(n_worlds), arms]
        rewards = world.rewards(number, shown)
        regret[:, number] = world.best(expected) - shown * there
        with np.errstate(divide="ignore"):
            squares[:, number] = (1.0 / probabilities).sum(axis=1) / world.n_arms**2
        for place, (bandit, decision) in enumerate(zip(bandits, chosen, strict=True)):
            bandit.wait(*decision, float(rewards[place]) if there[place] else None)
        n_waiting += 1
        world.show(number, arms, expected)
    for bandit in bandits:
        bandit.close()
    return Played(regret, 1.0 / squares.mean(axis=1))
