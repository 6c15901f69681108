"""Policies that can be evaluated: the configured ones, uniform, and a table."""

from pathlib import Path
from typing import Final

import numpy as np

from streams.contract.errors import ConfigurationError
from streams.contract.settings import Decisions
from streams.contract.settings.policies import CONTROLS, Policy, Ranked, learner_of
from streams.contract.topics import POPULAR, Q_AGENT, RANDOM
from streams.core.policies.policy import Estimates, equal_probabilities
from streams.core.policies.registry import new_policy
from streams.core.policies.reward_models import RewardModel
from streams.core.policies.slates import Probabilities
from streams.evaluation.offpolicy.bandit_log import ChoiceLog, read_table
from streams.evaluation.offpolicy.decision_log import DecisionLog
from streams.evaluation.offpolicy.expectations import fit_by_action, predict_by_action
from streams.evaluation.offpolicy.sums import Float64Array

TABLE: Final = "table"
_UNIFORM: Final = frozenset({"uniform", RANDOM})
_NOT_LOGGED: Final = {
    Q_AGENT: "it needs its slots' probabilities for every source, but only those for the chosen source were logged",
    POPULAR: "it draws from its own shortlist, which was not logged for other policies",
    TABLE: "a table has probabilities of actions, not of items on a shortlist; use a CSV log",
}


def on_shortlists(decisions: Decisions, log: DecisionLog, name: str) -> Probabilities:
    """Returns a policy's probabilities on the logged shortlists, with the weights in the log.

    Raises:
        ConfigurationError: There is no such policy, or the log lacks something that it needs.
    """
    if name in _UNIFORM:
        return equal_probabilities
    if name in _NOT_LOGGED:
        raise ConfigurationError(f"{name} cannot be evaluated on this log: {_NOT_LOGGED[name]}")
    policy = new_policy(_configured(decisions, name))
    learner = learner_of(name, {**CONTROLS, **decisions.policies})
    if learner is None:
        shape = log.there.shape
        nothing = Estimates(np.zeros(shape), np.zeros(shape), 0.0)
        return lambda eligible: policy.probabilities(nothing, eligible)
    model = log.models.get(learner)
    if model is None:
        raise ConfigurationError(f'the log has no line {{"model": "{learner}", ...}} with the weights of {name}')
    n_features = log.features.shape[2]
    if len(model.theta) != n_features:
        raise ConfigurationError(f"{learner} has {len(model.theta)} weights, but {n_features} features were logged")
    if policy.needs_deviations and np.shape(model.factor) != (n_features, n_features):
        raise ConfigurationError(f"{name} needs the factor of {learner}'s precision, which is not in the log")
    known = RewardModel(np.array(model.theta), np.array(model.factor), model.examples)
    estimates = known.estimate(log.features, deviations=policy.needs_deviations)
    return lambda eligible: policy.probabilities(estimates, eligible)


def on_choices(decisions: Decisions, log: ChoiceLog, name: str, table: Path | None) -> tuple[ChoiceLog, Float64Array]:
    """Returns the part of a log for the evaluation, and the policy's probabilities there, ``(n_rows, n_actions)``.

    A policy that estimates rewards learns from the first half of the rows and is evaluated, frozen, on the second.

    Raises:
        ConfigurationError: There is no such policy, or the log lacks something that it needs.
    """
    n_rows, n_actions = len(log.actions), len(log.names)
    if table is not None:
        return _tabulated(log, table)
    if name in _UNIFORM:
        return log, np.full((n_rows, n_actions), 1.0 / n_actions)
    if name in (Q_AGENT, POPULAR):
        raise ConfigurationError(f"{name} cannot be evaluated on single choices; use the log of decisions")
    configuration = _configured(decisions, name)
    if isinstance(configuration, Ranked):
        raise ConfigurationError(f"{name} needs the order of a shortlist; use the log of decisions")
    policy = new_policy(configuration)
    if policy.needs_deviations:
        raise ConfigurationError(f"{name} needs deviations of its estimates; use the log of decisions")
    half = n_rows // 2
    learned, scored = log.part(slice(0, half)), log.part(slice(half, n_rows))
    weights, mean = fit_by_action(learned.contexts, learned.actions, learned.rewards, n_actions)
    means = predict_by_action(scored.contexts, weights, mean)
    estimates = Estimates(means, np.zeros(means.shape), half)
    return scored, policy.probabilities(estimates, np.ones(means.shape, bool))


def _configured(decisions: Decisions, name: str) -> Policy:
    configured = {**CONTROLS, **decisions.policies}
    if name not in configured:
        raise ConfigurationError(f"there is no policy {name!r}; known: uniform, {TABLE}, {', '.join(configured)}")
    return configured[name]


def _tabulated(log: ChoiceLog, file: Path) -> tuple[ChoiceLog, Float64Array]:
    table = read_table(file)
    names = [*log.names, *sorted({action for action, _ in table} - set(log.names))]
    by_position = any(position is not None for _, position in table)
    if by_position and log.positions is None:
        raise ConfigurationError(f"{file} has a column position, but the log has none")
    positions: list[str | None] = [*log.positions] if by_position and log.positions is not None else [None]
    rows = {position: [table.get((name, position), 0.0) for name in names] for position in set(positions)}
    if empty := sorted(str(position) for position, row in rows.items() if not any(row)):
        raise ConfigurationError(f"{file} has no probabilities for position {empty[0]}")
    of_rows = positions if by_position else positions * len(log.actions)
    return log._replace(names=names), np.array([rows[position] for position in of_rows])
