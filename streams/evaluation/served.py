"""Evaluation of the predictions that the pipeline serves on a recorded clickstream, before their labels exist."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from msgspec.structs import asdict, replace

from streams.contract.arrays import BoolArray, Float64Array
from streams.contract.events import Event
from streams.contract.label_rules import RULES
from streams.contract.records import Prediction
from streams.contract.settings import DEFAULT_TARGETS, Settings, Target
from streams.core.models.measures import auc, losses
from streams.core.models.quality import AmountEvaluation, deviances
from streams.core.models.served_quality import WARM_UP_POSITIVES
from streams.evaluation.clustered import above_base_estimate, ratio_estimate
from streams.evaluation.outcomes import Log, Outcomes, outcomes_of
from streams.testing import Pipeline

BATCH: Final = 100
"""Events between two readings of the models global table; with 104,180 in nine days, typically 15 minutes."""

CHURN: Final = Target(name="churn", rule="churn", horizon_s=86_400, sampling_rate=1.0, prior=0.5)


def measure_served(events: list[Event], settings: Settings, advance: Callable[[int], None]) -> dict[str, Any]:
    """Runs Behaviour and Learning over ``events``, in their order, and measures the served predictions.

    Returns:
        See :func:`measure_predictions`.
    """
    settings = replace(settings, kafka=replace(settings.kafka, partitions=1))
    pipeline = Pipeline(settings)
    for start in range(0, len(events), BATCH):
        part = events[start : start + BATCH]
        for event in part:
            pipeline.publish(event)
        pipeline.behaviour.drain(BATCH)
        pipeline.learning.drain(BATCH)
        pipeline.refresh()
        advance(len(part))
    for nth in (1, 2):
        pipeline.tick(events[-1].timestamp_ms + nth * int(1000 * horizon_s(settings)))
        pipeline.behaviour.drain()
    return measure_predictions(settings, {0: events}, pipeline.predictions())


def horizon_s(settings: Settings) -> float:
    """Returns the time from the last event until every label is final, also those of the last sessions' ends."""
    longest_s = max(target.horizon_s for target in settings.targets)
    return longest_s + settings.time.session_gap_s + settings.time.allowed_lateness_s + 1.0


def measure_predictions(settings: Settings, log: Log, predictions: Iterable[Prediction]) -> dict[str, Any]:
    """Measures every served prediction once, by the label that the clickstream itself gives it.

    A prediction whose horizon ends after the recording has no true label and is left out. One from the prior, before
    there was a model, is counted. The rule of last activity ranks shoppers by the time since their event before the
    last, the shortest first; for churn, the longest.

    Returns:
        By target that has labels ``examples``, ``positives``, ``rate``, ``auc``, ``recency_auc``, ``calibration``,
        ``log_loss``, ``running_log_loss`` of the rate of all labels that were final at the prediction, and
        ``base_log_loss`` of the rate of all labels, known only afterwards; for expected amounts, if anything was spent,
        the fields of :class:`~streams.contract.metrics.AmountQuality`. Then ``served_from_prior``, ``unlabelled`` and
        ``censored``, the predictions left out; and ``later``, after the first 500 positives: ``loss_above_base`` and
        ``calibration``, over all, ``first`` and other events of a session, and ``new`` and returning users, each
        ``[estimate, low, high]`` with the 95 % interval clustered by user.
    """
    until_ms = max(event.timestamp_ms for events in log.values() for event in events)
    measured: dict[str, Any] = {}
    outcomes = outcomes_of(log, predictions, settings)
    for target in settings.targets:
        own = outcomes.get(target.name)
        if own is None:
            continue
        covered = own.times_ms + 1000 * target.horizon_s <= until_ms
        labelled = covered & ~np.isnan(own.labels)
        if not labelled.any():
            continue
        from_model = labelled & (own.versions > 0)
        left_out = {
            "served_from_prior": int((labelled & (own.versions == 0)).sum()),
            "unlabelled": int((covered & np.isnan(own.labels)).sum()),
            "censored": int((~covered).sum()),
        }
        served = own.where(from_model)
        if not RULES[target.rule].is_amount:
            figures = _measured(target, own.where(labelled), from_model[labelled])
        elif own.labels[labelled].any():
            figures = _measured_amounts(served)
        else:
            continue
        measured[target.name] = figures | left_out | {"later": _later(target, served)}
    return measured


def read_targets(settings: Settings) -> Settings:
    """Adds churn within a day to the default targets; declared targets stay as they are."""
    if settings.targets != DEFAULT_TARGETS:
        return settings
    return replace(settings, targets=(*settings.targets, CHURN))


def _measured_amounts(served: Outcomes) -> dict[str, Any]:
    evaluation = AmountEvaluation()
    evaluation.update(served.served, served.labels, np.ones(len(served.labels)))
    return asdict(evaluation.quality())


def _measured(target: Target, labelled: Outcomes, from_model: BoolArray) -> dict[str, Any]:
    # All horizons are equally long, so labels become final in the order of their predictions.
    known = np.searchsorted(labelled.times_ms + 1000 * target.horizon_s, labelled.times_ms, side="right")
    positive = np.concatenate([[0.0], np.cumsum(labelled.labels)])
    rate_so_far = ((target.prior + positive[known]) / (1.0 + known))[from_model]
    served = labelled.where(from_model)
    labels = served.labels
    rate = float(labels.mean()) if len(labels) else 0.0
    both = 0.0 < rate < 1.0
    recent = served.since_s if target.rule == "churn" else -served.since_s
    return {
        "examples": len(labels),
        "positives": int((labels > 0.5).sum()),
        "rate": rate,
        "auc": auc(served.served, labels) if both else None,
        "recency_auc": auc(recent, labels) if both else None,
        "calibration": float(served.served.sum() / labels.sum()) if rate else None,
        "log_loss": _mean(losses(served.served, labels)),
        "running_log_loss": _mean(losses(rate_so_far, labels)),
        "base_log_loss": _mean(_base_losses(target, labels)) if both else None,
    }


def _later(target: Target, served: Outcomes) -> dict[str, Any]:
    """Returns the intervals over what was served after the first 500 positives; none if there were not as many."""
    positive = served.labels > 0.0
    later = served.where(np.asarray(np.cumsum(positive) - positive >= WARM_UP_POSITIVES))
    if not len(later.labels) or not (later.labels > 0.0).any():
        return {}
    loss = deviances if RULES[target.rule].is_amount else losses
    parts = {
        "calibration": np.ones(len(later.first), np.bool_),
        "calibration_first": later.first,
        "calibration_other": ~later.first,
        "calibration_new": later.new,
        "calibration_returning": ~later.new,
    }
    above = above_base_estimate(loss(later.served, later.labels), _base_losses(target, later.labels), later.users)
    return {"examples": len(later.labels), "positives": int((later.labels > 0.0).sum()), "loss_above_base": above} | {
        name: ratio_estimate(later.served[rows], later.labels[rows], later.users[rows]) for name, rows in parts.items()
    }


def _base_losses(target: Target, labels: Float64Array) -> Float64Array:
    """Returns the losses of the mean label, served to everyone."""
    mean = np.full(len(labels), labels.mean())
    return deviances(mean, labels) if RULES[target.rule].is_amount else losses(mean, labels)


def _mean(values: Float64Array) -> float | None:
    return float(values.mean()) if len(values) else None
