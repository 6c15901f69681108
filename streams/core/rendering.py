"""A user's row as plain values, for people."""

from typing import Any, Final

import msgspec
import numpy as np

from streams.contract.rewards import REWARD_TYPES
from streams.core.features.schema import WINDOWED, feature_schema
from streams.core.row import UserRow

_decode_row: Final = msgspec.msgpack.Decoder(UserRow).decode


def render_user(key: bytes, value: bytes) -> dict[str, Any]:
    """Turns an encoded row into plain values, for people."""
    row = _decode_row(value)
    names = feature_schema(row.rings).names
    return {
        "user_id": key.decode(),
        "guard": row.guard,
        "deadline_ms": row.deadline_ms,
        "last_ms": row.last_ms,
        "windows": {ring.name: dict(zip(WINDOWED, ring.totals, strict=True)) for ring in row.rings},
        "session": msgspec.structs.asdict(row.session),
        "affinities": msgspec.structs.asdict(row.affinities),
        "open_predictions": [
            {
                "opened_ms": moment.opened_ms,
                "features": dict(zip(names, np.frombuffer(moment.vector, np.float32).tolist(), strict=True)),
                "predictions": [msgspec.structs.asdict(prediction) for prediction in moment.predictions],
            }
            for moment in row.moments
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
