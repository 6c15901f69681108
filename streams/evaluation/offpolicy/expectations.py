"""Reward model of the direct method: ridge regressions, cross-fitted over users."""

from typing import Final

import numpy as np

from streams.evaluation.offpolicy.sums import Float64Array, Int64Array

_RIDGE: Final = 1.0
_FOLDS: Final = 2


def shared(features: Float64Array, actions: Int64Array, rewards: Float64Array, users: Int64Array) -> Float64Array:
    """Estimates rewards of items from their features, with one regression for all items.

    Args:
        features: ``(n_decisions, n_items, n_features)``.
        actions: Shown item, ``(n_decisions,)``.
        users: Dense numbers, ``(n_decisions,)``; an estimate is never fitted on decisions of its own user.

    Returns:
        ``(n_decisions, n_items)``.
    """
    shown = features[np.arange(len(actions)), actions]
    expected = np.zeros(features.shape[:2])
    for fold in range(_FOLDS):
        own = users % _FOLDS == fold
        expected[own] = features[own] @ _fitted(shown[~own], rewards[~own])
    return expected


def by_action(
    contexts: Float64Array, actions: Int64Array, rewards: Float64Array, users: Int64Array, n_actions: int
) -> Float64Array:
    """Estimates rewards from the context, with one regression for each action, of the difference from the mean.

    Args:
        contexts: ``(n_decisions, n_features)``; without context there are no columns.
        actions: ``(n_decisions,)``; ``rewards`` and ``users`` likewise.

    Returns:
        ``(n_decisions, n_actions)``.
    """
    expected = np.zeros((len(actions), n_actions))
    for fold in range(_FOLDS):
        own = users % _FOLDS == fold
        weights, mean = fit_by_action(contexts[~own], actions[~own], rewards[~own], n_actions)
        expected[own] = predict_by_action(contexts[own], weights, mean)
    return expected


def fit_by_action(
    contexts: Float64Array, actions: Int64Array, rewards: Float64Array, n_actions: int
) -> tuple[Float64Array, float]:
    """Returns each action's weights, ``(n_actions, 1 + n_features)``, and the mean reward to add."""
    mean = float(rewards.mean()) if len(rewards) else 0.0
    rows = _with_intercept(contexts)
    weights = np.zeros((n_actions, rows.shape[1]))
    for action in np.unique(actions).tolist():
        own = actions == action
        weights[action] = _fitted(rows[own], rewards[own] - mean)
    return weights, mean


def predict_by_action(contexts: Float64Array, weights: Float64Array, mean: float) -> Float64Array:
    """Returns the expected reward of each action, ``(n_decisions, n_actions)``."""
    return np.asarray(mean + _with_intercept(contexts) @ weights.T, np.float64)


def _with_intercept(contexts: Float64Array) -> Float64Array:
    return np.column_stack([np.ones(len(contexts)), contexts])


def _fitted(rows: Float64Array, rewards: Float64Array) -> Float64Array:
    return np.asarray(np.linalg.solve(rows.T @ rows + _RIDGE * np.eye(rows.shape[1]), rows.T @ rewards), np.float64)
