"""Band 3: the quality of what each target served, from the learners' records of the metrics topic."""

from collections.abc import Mapping, Sequence

from streams.contract.metrics import (
    AmountModels,
    LearnerMetrics,
    ProbabilityModels,
    ProbabilityQuality,
    Rewards,
    ServedProbabilities,
)
from streams.contract.settings.targets import Target as DeclaredTarget
from streams.observability.metrics_view import MetricsView
from streams.serving.page.document import Belief, ServedModel, Target


def belief(metrics: MetricsView, declared: Sequence[DeclaredTarget], event_ms: int) -> Belief:
    """Describes the targets, in the order of the settings.

    Args:
        event_ms: Event time of the newest event.
    """
    learners: Mapping[str, LearnerMetrics] = metrics.learners()
    found = []
    for target in declared:
        record = learners.get(target.name)
        if record is not None and not isinstance(record.quality, Rewards):
            found.append(_target(target, record, record.quality, event_ms))
    return Belief(found)


def _target(
    declared: DeclaredTarget, record: LearnerMetrics, models: ProbabilityModels | AmountModels, event_ms: int
) -> Target:
    served = models.served
    quality = served.quality
    return Target(
        target=declared.name,
        champion=record.champion,
        examples=quality.examples,
        positives=quality.positives,
        quality=quality if isinstance(quality, ProbabilityQuality) else None,
        error=None if isinstance(quality, ProbabilityQuality) else (quality.rmse, quality.base_rmse),
        calibration=quality.calibration,
        reliability=served.reliability if isinstance(served, ServedProbabilities) else [],
        from_prior=served.from_prior,
        models=[
            ServedModel(name, each.examples, each.auc, each.log_loss, each.base_log_loss)
            for name, each in models.models.items()
            if isinstance(each, ProbabilityQuality)
        ],
        switches=models.switches,
        alarms=models.drift.alarms,
        is_drifting=models.drift.open,
        label_delay_s=max(event_ms - record.timestamp_ms, 0) / 1000 if event_ms >= 0 else None,
        horizon_s=declared.horizon_s,
    )
