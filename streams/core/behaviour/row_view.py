"""A user's row as plain values to display."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from streams.contract.settings.rewards import REWARD_TYPES
from streams.core.behaviour.row import USER_ROWS, PredictionPoint
from streams.core.features.schema import feature_names
from streams.core.features.windows import WINDOWED


def user_view(key: bytes, value: bytes) -> dict[str, Any]:
    """Turns an encoded row into plain values to display."""
    row = USER_ROWS.decode(value)
    sums = [each.name for each in WINDOWED]
    names = feature_names(ring.name for ring in row.rings)
    return {
        "user_id": key.decode(),
        "applied_offset": row.applied_offset,
        "deadline_ms": row.deadline_ms,
        "last_ms": row.last_ms,
        "windows": {ring.name: dict(zip(sums, ring.totals, strict=True)) for ring in row.rings},
        "session": msgspec.structs.asdict(row.session),
        "affinities": msgspec.structs.asdict(row.affinities),
        "open_predictions": [
            {
                "opened_ms": point.opened_ms,
                "shown_ms": point.shown_ms,
                "served": np.frombuffer(point.served, np.float32).tolist(),
                "labels": point.labels,
                "features": _features(names, point),
            }
            for point in row.prediction_points
        ],
        "open_decisions": [
            {
                "decision_id": decision.decision_id,
                "items": decision.items,
                "shown_ms": decision.shown_ms,
                "policy": decision.policy,
                "clicked": decision.clicked,
                "credits": [
                    {"slot": credit.slot, "type": REWARD_TYPES[credit.type], "value": credit.value}
                    for credit in decision.credits
                ],
            }
            for decision in row.decisions
        ],
        "exposures": row.exposures,
    }


def _features(names: Sequence[str], point: PredictionPoint) -> dict[str, float] | None:
    if point.sample is None:
        return None
    return dict(zip(names, np.frombuffer(point.sample.vector, np.float32).tolist(), strict=True))
