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

    Only probabilities of targets are measured. The rule of last activity ranks shoppers by the time since their event
    before the last, the shortest first; for churn, the longest.

    Returns:
        By target ``examples``, ``positives``, ``rate``, ``auc``, ``recency_auc``, ``calibration``, ``log_loss``,
        ``base_log_loss``, which the rate of all examples would have had, and ``running_log_loss``, which the rate of
        the examples before each would have had; of expected amounts, where anything was spent, what
        :class:`~streams.core.models.amounts.AmountQuality` has.
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
    return measure_examples(settings, [read_examples(r.value) for n in numbers for r in topics.records[EXPERIENCES, n]])


def horizon_s(settings: Settings) -> float:
    """How long after the last event every label is final, those of the last sessions' ends included."""
    longest_s = max(target.horizon_s for target in settings.targets)
    return longest_s + settings.time.session_gap_s + settings.time.allowed_lateness_s + 1.0


def measure_examples(settings: Settings, batches: Iterable[Examples]) -> dict[str, Any]:
    """Measures what was served by the examples that came of it; see :func:`measure_served`."""
    recency = feature_schema(settings.windows).names.index(_RECENCY)
    final: dict[str, list[Examples]] = {target.name: [] for target in settings.targets}
    for batch in batches:
        final[batch.learner].append(batch.where(batch.final))
    measured: dict[str, Any] = {}
    for target in settings.targets:
        own = final[target.name]
        if not RULES[target.rule].is_amount and own:
            measured[target.name] = _measured(own, recency, longest=target.rule == "churn")
        elif any(batch.labels.any() for batch in own):
            measured[target.name] = _measured_amounts(own)
    return measured


def read_targets(settings: Settings) -> Settings:
    """Adds churn at a day to the default targets; targets that were declared stay as they are."""
    if settings.targets != DEFAULT_TARGETS:
        return settings
    return replace(settings, targets=(*settings.targets, CHURN))


def table_of(measured: dict[str, Any]) -> str:
    """Writes the figures as Markdown; what has only one class, or nothing to measure, has dashes."""
    lines = [
        "| target | examples | rate | served AUC | last activity AUC | calibration | log loss | rate so far | rate |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    columns = {"rate": 4, "auc": 3, "recency_auc": 3, "calibration": 3}
    columns |= dict.fromkeys(("log_loss", "running_log_loss", "base_log_loss"), 4)
    for name, each in measured.items():
        if "rmse" not in each:
            shown = ["-" if each[key] is None else f"{each[key]:.{digits}f}" for key, digits in columns.items()]
            lines.append(f"| {name} | {each['examples']:,} | {' | '.join(shown)} |")
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


def _measured(final: Sequence[Examples], recency: int, *, longest: bool) -> dict[str, Any]:
    labels = np.concatenate([batch.labels for batch in final])
    served = np.clip(np.concatenate([batch.probabilities[:, 0] for batch in final]), 1e-15, 1.0 - 1e-15)
    weights = np.concatenate([batch.weights for batch in final])
    since = np.concatenate([batch.vectors[:, recency] for batch in final]).astype(np.float64)
    positive = labels > 0.5
    rate = float(np.average(labels, weights=weights))
    both = 0.0 < rate < 1.0
    return {
        "examples": len(labels),
        "positives": int(positive.sum()),
        "rate": rate,
        "auc": auc(served, labels) if both else None,
        "recency_auc": auc(since if longest else -since, labels) if both else None,
        "calibration": float((served * weights).sum() / (labels * weights).sum()) if rate else None,
        "log_loss": float(np.average(-np.log(np.where(positive, served, 1.0 - served)), weights=weights)),
        "running_log_loss": _running_log_loss(labels, weights),
        "base_log_loss": float(-(rate * np.log(rate) + (1.0 - rate) * np.log(1.0 - rate))) if both else None,
    }


def _running_log_loss(labels: Float64Array, weights: Float64Array) -> float:
    """Measures the rate of all examples whose labels came before, of which none is 0 or 1 for certain."""
    positive = np.cumsum(labels * weights) - labels * weights
    rate = (positive + 0.5) / (np.cumsum(weights) - weights + 1.0)
    return float(np.average(losses(rate, labels), weights=weights))
