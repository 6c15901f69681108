"""What the pipeline serves on a recorded clickstream: all of a target's probabilities, made before their labels."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from streams.contract.events import Event, encode_event
from streams.contract.outputs import Output
from streams.contract.records import decode_parameters
from streams.contract.rules import RULES
from streams.contract.settings import DEFAULT_TARGETS, Settings, Target
from streams.contract.topics import CLICKSTREAM, EXPERIENCES, MODELS
from streams.core.behaviour import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.learning import LearningFold
from streams.core.learning.examples import Examples, read_examples
from streams.core.models.amounts import AmountEvaluation
from streams.core.models.measures import auc, losses
from streams.core.models.scoring import Scorers
from streams.core.policies.models import PolicyModels
from streams.core.retrieval.catalogue import Catalogue
from streams.engine.memory import MemoryTopics, MemoryWorker

Float64Array = NDArray[np.float64]

BATCH: Final = 100
"""Events between two looks at the models feed; of 104,180 in nine days, a quarter of an hour at most hours."""

CHURN: Final = Target(name="churn", rule="churn", horizon_s=86_400, sampling_rate=1.0, prior=0.5)

_YEAR_2100_MS: Final = 4_102_444_800_000
_RECENCY: Final = "since_last_event_s"


def measure_served(events: list[Event], settings: Settings, advance: Callable[[int], None]) -> dict[str, Any]:
    """Runs Behaviour and Learning over ``events``, in their order, and measures what was served.

    Returns:
        See :func:`measure_examples`.
    """
    settings = replace(settings, kafka=replace(settings.kafka, partitions=1))
    topics = MemoryTopics(settings, lambda: _YEAR_2100_MS)
    schema = feature_schema(settings.windows)
    scorers = Scorers(settings.targets, schema)
    policies = PolicyModels(settings.decisions)
    behaviour = MemoryWorker(BehaviourFold(settings, Catalogue(settings), scorers, policies), topics, settings)
    learning = MemoryWorker(LearningFold(settings), topics, settings)
    read = 0
    for start in range(0, len(events), BATCH):
        part = events[start : start + BATCH]
        for event in part:
            topics.append(Output(CLICKSTREAM, (event.user_id or "").encode(), encode_event(event), 0))
        behaviour.step(0, BATCH)
        learning.drain(BATCH)
        models = topics.records[MODELS, 0]
        for record in models[read:]:
            scorers.apply(decode_parameters(record.value or b""))
        read = len(models)
        advance(len(part))
    for nth in (1, 2):
        at_ms = events[-1].timestamp_ms + nth * int(1000 * horizon_s(settings))
        topics.append(
            Output(CLICKSTREAM, None, encode_event(Event(event_id="end", timestamp_ms=at_ms, kind="tick")), 0)
        )
        behaviour.step(0, 1)
    numbers = range(len(settings.targets))
    batches = [read_examples(record.value) for number in numbers for record in topics.records[EXPERIENCES, number]]
    return measure_examples(settings, batches, events[-1].timestamp_ms)


def horizon_s(settings: Settings) -> float:
    """How long after the last event every label is final, those of the last sessions' ends included."""
    longest_s = max(target.horizon_s for target in settings.targets)
    return longest_s + settings.time.session_gap_s + settings.time.allowed_lateness_s + 1.0


def measure_examples(settings: Settings, batches: Iterable[Examples], until_ms: int) -> dict[str, Any]:
    """Measures what was served by the examples that came of it.

    An example whose horizon the recording does not cover has no label that anybody saw: it is left out. So is, in all
    but ``*_with_prior``, what was predicted before the first label was final, when there was only the prior to serve.
    The rule of last activity ranks shoppers by the time since their event before the last, the shortest first; for
    churn, the longest.

    Args:
        until_ms: Of the last event.

    Returns:
        By target ``examples``, ``positives``, ``rate``, ``auc``, ``recency_auc``, ``calibration``, ``log_loss``,
        ``running_log_loss`` of the rate of all labels that were final at the prediction, and ``base_log_loss`` of the
        rate of all of them, which nobody knew; ``censored`` and ``at_prior``, the examples left out. Of expected
        amounts, where anything was spent, what :class:`~streams.core.models.amounts.AmountQuality` has.
    """
    recency = feature_schema(settings.windows).names.index(_RECENCY)
    final: dict[str, list[Examples]] = {target.name: [] for target in settings.targets}
    for batch in batches:
        final[batch.learner].append(batch.where(batch.final))
    measured: dict[str, Any] = {}
    for target in settings.targets:
        covered = [batch.timestamps_ms + 1000 * target.horizon_s <= until_ms for batch in final[target.name]]
        own = [batch.where(rows) for batch, rows in zip(final[target.name], covered, strict=True) if rows.any()]
        if RULES[target.rule].is_amount:
            if any(batch.labels.any() for batch in own):
                measured[target.name] = _measured_amounts(own)
        elif own:
            censored = sum(int((~rows).sum()) for rows in covered)
            measured[target.name] = {"censored": censored} | _measured(target, own, recency)
    return measured


def read_targets(settings: Settings) -> Settings:
    """Adds churn at a day to the default targets; targets that were declared stay as they are."""
    if settings.targets != DEFAULT_TARGETS:
        return settings
    return replace(settings, targets=(*settings.targets, CHURN))


def table_of(measured: dict[str, Any]) -> str:
    """Writes the figures as Markdown; what has only one class, or nothing to measure, has dashes."""
    lines = [
        "| target | prior | examples | rate | AUC | last activity | calibration | log loss | rate so far | rate |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    columns = {"rate": 4, "auc": 3, "recency_auc": 3, "calibration": 3}
    columns |= dict.fromkeys(("log_loss", "running_log_loss", "base_log_loss"), 4)
    for name, each in measured.items():
        if "rmse" not in each:
            shown = ["-" if each[key] is None else f"{each[key]:.{digits}f}" for key, digits in columns.items()]
            lines.append(f"| {name} | {each['at_prior']:,} | {each['examples']:,} | {' | '.join(shown)} |")
    for name, each in measured.items():
        if "rmse" in each:
            amounts = ", ".join(f"{key} {each[key]:.2f}" for key in ("mean", "mae", "base_mae", "rmse", "base_rmse"))
            lines += ["", f"{name}: {each['examples']:,} examples, {each['positives']:,} above zero, {amounts}"]
    return "\n".join(lines)


def _measured_amounts(final: Iterable[Examples]) -> dict[str, Any]:
    evaluation = AmountEvaluation()
    for batch in final:
        evaluation.update(batch.probabilities[:, 0], batch.labels, batch.weights)
    return asdict(evaluation.quality())


def _measured(target: Target, final: Sequence[Examples], recency: int) -> dict[str, Any]:
    times = np.concatenate([batch.timestamps_ms for batch in final])
    order = np.argsort(times, kind="stable")
    times = times[order]
    labels = np.concatenate([batch.labels for batch in final])[order]
    served = np.concatenate([batch.probabilities[:, 0] for batch in final])[order]
    weights = np.concatenate([batch.weights for batch in final])[order]
    since = np.concatenate([batch.vectors[:, recency] for batch in final])[order].astype(np.float64)
    # All horizons are equally long, so labels become final in the order of their predictions.
    known = np.searchsorted(times + 1000 * target.horizon_s, times, side="right")
    weight, positive = (np.concatenate([[0.0], np.cumsum(each)]) for each in (weights, weights * labels))
    rate_so_far = (target.prior + positive[known]) / (1.0 + weight[known])
    learned = known > 0
    whole = labels, weights, served
    labels, weights, served = (each[learned] for each in whole)
    rate = float(np.average(labels, weights=weights)) if len(labels) else 0.0
    both = 0.0 < rate < 1.0
    recent = since[learned] if target.rule == "churn" else -since[learned]
    return {
        "at_prior": int((~learned).sum()),
        "examples": len(labels),
        "positives": int((labels > 0.5).sum()),
        "rate": rate,
        "auc": auc(served, labels) if both else None,
        "recency_auc": auc(recent, labels) if both else None,
        "calibration": _calibration(labels, weights, served) if rate else None,
        "log_loss": _log_loss(labels, weights, served),
        "running_log_loss": _log_loss(labels, weights, rate_so_far[learned]),
        "base_log_loss": float(-(rate * np.log(rate) + (1.0 - rate) * np.log(1.0 - rate))) if both else None,
        "calibration_with_prior": _calibration(*whole) if whole[0].any() else None,
        "log_loss_with_prior": _log_loss(*whole),
    }


def _calibration(labels: Float64Array, weights: Float64Array, given: Float64Array) -> float:
    return float((given * weights).sum() / (labels * weights).sum())


def _log_loss(labels: Float64Array, weights: Float64Array, given: Float64Array) -> float | None:
    return float(np.average(losses(given, labels), weights=weights)) if len(labels) else None
