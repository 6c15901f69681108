"""The policies that can be evaluated: the configured ones, uniform, and a table."""

from pathlib import Path
from typing import Final

import numpy as np

from streams.contract.errors import ConfigurationError
from streams.contract.policies import learner_of
from streams.contract.settings import Decisions
from streams.contract.topics import CONTROL, POPULAR, Q_AGENT
from streams.core.offpolicy.expectations import fit_by_action, predict_by_action
from streams.core.offpolicy.sums import Float64Array
from streams.core.policies.kinds import new_policy
from streams.core.policies.models import RewardModel
from streams.core.policies.policy import Estimates, equal_chances
from streams.core.policies.slates import Chances
from streams.ops.evaluate.bandit_log import ChoiceLog, read_table
from streams.ops.evaluate.decision_log import DecisionLog

TABLE: Final = "table"
_UNIFORM: Final = frozenset({"uniform", CONTROL})
_NOT_LOGGED: Final = {
    Q_AGENT: "it needs the probabilities of its slots under every kind, and only those of the chosen kind were logged",
    POPULAR: "it draws from a shortlist of its own, which was not logged for others",
    TABLE: "a table is of actions, not of items on a shortlist; it takes a CSV",
}


def on_shortlists(decisions: Decisions, log: DecisionLog, name: str) -> Chances:
    """Returns a policy's draws on the logged shortlists, with the weights of the log's lines of models.

    Raises:
        ConfigurationError: There is no such policy, or it needs what was not logged.
    """
    if name in _UNIFORM:
        return equal_chances
    if name in _NOT_LOGGED:
        raise ConfigurationError(f"{name} cannot be evaluated on this log: {_NOT_LOGGED[name]}")
    policy = new_policy(decisions.policies[_known(decisions, name)])
    learner = learner_of(name, decisions.policies)
    if learner is None:
        return equal_chances
    model = log.models.get(learner)
    if model is None:
        raise ConfigurationError(f'the log has no line {{"model": "{learner}", ...}}: it does not say what {name} knew')
    n_features = log.features.shape[2]
    if len(model.theta) != n_features:
        raise ConfigurationError(f"{learner} has {len(model.theta)} weights, and {n_features} features were logged")
    if policy.needs_deviations and np.shape(model.factor) != (n_features, n_features):
        raise ConfigurationError(f"{name} needs the factor of {learner}'s precision, which is not in the log")
    known = RewardModel(np.array(model.theta), np.array(model.factor), model.examples)
    estimates = known.estimate(log.features, deviations=policy.needs_deviations)
    return lambda eligible: policy.chances(estimates, eligible)


def on_choices(decisions: Decisions, log: ChoiceLog, name: str, table: Path | None) -> tuple[ChoiceLog, Float64Array]:
    """Returns the part of a log that a policy is evaluated on, and its probabilities there, ``(n_rows, n_actions)``.

    A policy that estimates rewards learns from the first half of the rows and is evaluated, frozen, on the second.

    Raises:
        ConfigurationError: There is no such policy, or it needs what such a log does not say.
    """
    n_rows, n_actions = len(log.actions), len(log.names)
    if table is not None:
        return _tabulated(log, table)
    if name in _UNIFORM:
        return log, np.full((n_rows, n_actions), 1.0 / n_actions)
    if name in (Q_AGENT, POPULAR):
        raise ConfigurationError(f"{name} cannot be evaluated on single choices")
    policy = new_policy(decisions.policies[_known(decisions, name)])
    if policy.needs_deviations:
        raise ConfigurationError(f"{name} needs to know how sure its estimates are; it takes the log of decisions")
    half = n_rows // 2
    learned, scored = log.part(slice(0, half)), log.part(slice(half, n_rows))
    weights, mean = fit_by_action(learned.contexts, learned.actions, learned.rewards, n_actions)
    means = predict_by_action(scored.contexts, weights, mean)
    estimates = Estimates(means, np.zeros(means.shape), half)
    return scored, policy.chances(estimates, np.ones(means.shape, bool))


def _known(decisions: Decisions, name: str) -> str:
    if name not in decisions.policies:
        raise ConfigurationError(
            f"there is no policy {name!r}; there are uniform, {TABLE}, {', '.join(decisions.policies)}"
        )
    return name


def _tabulated(log: ChoiceLog, file: Path) -> tuple[ChoiceLog, Float64Array]:
    table = read_table(file)
    names = [*log.names, *sorted({action for action, _ in table} - set(log.names))]
    by_position = any(position is not None for _, position in table)
    if by_position and log.positions is None:
        raise ConfigurationError(f"{file} depends on the position, which the log does not have")
    positions: list[str | None] = [*log.positions] if by_position and log.positions is not None else [None]
    rows = {position: [table.get((name, position), 0.0) for name in names] for position in set(positions)}
    if empty := sorted(str(position) for position, row in rows.items() if not any(row)):
        raise ConfigurationError(f"{file} has no probabilities for position {empty[0]}")
    everywhere = positions if by_position else positions * len(log.actions)
    return log._replace(names=names), np.array([rows[position] for position in everywhere])
