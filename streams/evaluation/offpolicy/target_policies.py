"""Policies that can be evaluated: the configured ones, uniform, tables, fixed arms, and columns of a log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

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
from streams.evaluation.offpolicy.support import alike

TABLE: Final = "table"
_ARM: Final = "arm:"
_TABLE_SUFFIX: Final = ".csv"
_UNIFORM: Final = frozenset({"uniform", RANDOM})
_NOT_LOGGED: Final = {
    Q_AGENT: "it needs its slots' probabilities for every source, but only those for the chosen source were logged",
    POPULAR: "it draws from its own shortlist, which was not logged for other policies",
    TABLE: "a table has probabilities of actions, not of items on a shortlist; use a CSV log",
}


class Target(NamedTuple):
    """An evaluated policy on the rows of a log of single choices.

    Attributes:
        probabilities: Of each action, ``(n_rows, n_actions)``.
        is_complete: Whether those of actions that were not chosen are known, too; otherwise they are 0 here.
    """

    name: str
    probabilities: Float64Array
    is_complete: bool = True


def on_shortlists(decisions: Decisions, log: DecisionLog, name: str) -> Probabilities:
    """Returns a policy's probabilities on the logged shortlists, with the weights in the log.

    Raises:
        ConfigurationError: There is no such policy, or the log lacks something that it needs.
    """
    if name in _UNIFORM:
        return equal_probabilities
    if name.startswith(_ARM) or name.endswith(_TABLE_SUFFIX):
        raise ConfigurationError(f"{name} cannot be evaluated on this log: {_NOT_LOGGED[TABLE]}")
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


def on_choices(
    decisions: Decisions, log: ChoiceLog, names: Sequence[str], table: Path | None
) -> tuple[ChoiceLog, list[Target]]:
    """Returns the part of a log for the evaluation, and each policy's probabilities there.

    Policies that estimate rewards learn from the first half of the rows and are evaluated, frozen, on the second. If
    there is one of them, all are evaluated on the second half.

    Args:
        table: File of the policy :data:`TABLE`.

    Raises:
        ConfigurationError: There is no such policy, or the log lacks something that it needs.
    """
    files = {name: table if name == TABLE else Path(name) for name in names if name == TABLE or _is_file(log, name)}
    tables = {name: read_table(file) for name, file in files.items() if file is not None}
    n_existing = len(log.names)
    listed = sorted({action for each in tables.values() for action, _ in each} - set(log.names))
    log = log._replace(names=[*log.names, *listed])
    learned: list[str] = []
    found: dict[str, Target] = {}
    for name in names:
        if name in log.policies:
            found[name] = Target(name, _of_chosen(log, log.policies[name]), is_complete=False)
        elif name in tables:
            found[name] = Target(name, _tabulated(log, Path(files[name] or name), tables[name]))
        elif name in _UNIFORM:
            equal = np.where(np.arange(len(log.names)) < n_existing, 1.0 / n_existing, 0.0)
            found[name] = Target(name, np.tile(equal, (len(log.actions), 1)))
        elif name.startswith(_ARM):
            found[name] = Target(name, _fixed(log, name.removeprefix(_ARM)))
        else:
            learned.append(name)
    if learned:
        half = len(log.actions) // 2
        scored = log.part(slice(half, len(log.actions)))
        found = {name: each._replace(probabilities=each.probabilities[half:]) for name, each in found.items()}
        found |= {name: Target(name, _learned(decisions, log, scored, name)) for name in learned}
        log = scored
    return log, [found[name] for name in names]


def _learned(decisions: Decisions, log: ChoiceLog, scored: ChoiceLog, name: str) -> Float64Array:
    if name in (Q_AGENT, POPULAR):
        raise ConfigurationError(f"{name} cannot be evaluated on single choices; use the log of decisions")
    configuration = _configured(decisions, name)
    if isinstance(configuration, Ranked):
        raise ConfigurationError(f"{name} needs the order of a shortlist; use the log of decisions")
    policy = new_policy(configuration)
    if policy.needs_deviations:
        raise ConfigurationError(f"{name} needs deviations of its estimates; use the log of decisions")
    half = len(log.actions) - len(scored.actions)
    first = log.part(slice(0, half))
    # It chooses among the actions of the log: it has learned nothing of others.
    weights, mean = fit_by_action(first.contexts, first.actions, first.rewards, log.n_logged)
    means = predict_by_action(scored.contexts, weights, mean)
    probabilities = np.zeros((len(means), len(log.names)))
    estimates = Estimates(means, np.zeros(means.shape), half)
    probabilities[:, : log.n_logged] = policy.probabilities(estimates, np.ones(means.shape, bool))
    return probabilities


def _is_file(log: ChoiceLog, name: str) -> bool:
    return name.endswith(_TABLE_SUFFIX) and name not in log.policies


def _of_chosen(log: ChoiceLog, column: Float64Array) -> Float64Array:
    probabilities = np.zeros((len(log.actions), len(log.names)))
    probabilities[np.arange(len(log.actions)), log.actions] = column
    return probabilities


def _fixed(log: ChoiceLog, action: str) -> Float64Array:
    if action not in log.names:
        twins = [group for group in alike([*log.names, action]) if action in group]
        advice = f"; did you mean {twins[0][0]!r}?" if twins else ""
        raise ConfigurationError(f"there is no action {action!r} in the log or in a list of actions{advice}")
    probabilities = np.zeros((len(log.actions), len(log.names)))
    probabilities[:, log.names.index(action)] = 1.0
    return probabilities


def _configured(decisions: Decisions, name: str) -> Policy:
    configured = {**CONTROLS, **decisions.policies}
    if name not in configured:
        raise ConfigurationError(
            f"there is no policy {name!r}; known: uniform, {TABLE}, {', '.join(configured)}, and for a CSV"
            f" {_ARM}ACTION, a column of the log, and a file FILE.csv with the columns action and probability"
        )
    return configured[name]


def _tabulated(log: ChoiceLog, file: Path, table: dict[tuple[str, str | None], float]) -> Float64Array:
    by_position = any(position is not None for _, position in table)
    if by_position and log.positions is None:
        raise ConfigurationError(f"{file} has a column position, but the log has none")
    positions: list[str | None] = [*log.positions] if by_position and log.positions is not None else [None]
    rows = {position: [table.get((name, position), 0.0) for name in log.names] for position in set(positions)}
    if empty := sorted(str(position) for position, row in rows.items() if not any(row)):
        raise ConfigurationError(f"{file} has no probabilities for position {empty[0]}")
    of_rows = positions if by_position else positions * len(log.actions)
    return np.array([rows[position] for position in of_rows])
