"""Explanation of one shopper's probabilities as of their last event, from a data directory alone."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streams.admin.inspection import read_row, scan_tables
from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.contract.errors import UnreadableSource
from streams.contract.partitioning import partition_of
from streams.contract.records import Parameters
from streams.contract.settings import Settings
from streams.core.behaviour.row import USER_ROWS
from streams.core.features.groups import SHOPPER_GROUPS
from streams.core.features.schema import feature_schema
from streams.core.features.vector import feature_vector
from streams.core.learning.learners import new_learner
from streams.core.learning.row import LearnerRow, decode_learner_row
from streams.core.models.scoring import Scorers


def explain_shopper(settings: Settings, data_dir: Path, user_id: str) -> dict[str, Any]:
    """Scores a shopper with Learning's present weights, as Behaviour would.

    Args:
        data_dir: Data directory of the worker that has the shopper's partition. A learner of another worker is not in
            it: then the target has its prior, and version 0.

    Returns:
        ``user_id``, ``last_ms``, and by target ``probability`` or ``amount``, ``champion``, ``weights`` of the models,
        ``version`` and ``reasons``: the largest contributions relative to an average shopper, strongest first, each
        with its name and its words.

    Raises:
        UnreadableSource: No such tables, no such shopper, or the shopper has no prediction yet.
    """
    key = user_id.encode()
    value = read_row(data_dir, "users", partition_of(key, settings.kafka.partitions), key)
    row = None if value is None else USER_ROWS.decode(value)
    if row is None or row.last_event is None:
        raise UnreadableSource(f"{data_dir} has no prediction for shopper {user_id!r}: check the id and its case")
    schema = feature_schema(settings.windows)
    if tuple(ring.name for ring in row.rings) != tuple(window.name for window in settings.windows):
        raise UnreadableSource(f"the row of {user_id!r} has other windows than the settings: use the worker's settings")
    scorers = Scorers(settings.targets, schema)
    names = {target.name for target in settings.targets}
    for _, learner, stored in scan_tables(data_dir, "learners"):
        if learner.decode() in names:
            _apply(scorers, settings, learner.decode(), decode_learner_row(stored))
    vectors = np.array([feature_vector(row, row.last_event)], np.float32)
    return {
        "user_id": user_id,
        "last_ms": row.last_ms,
        "targets": {
            target.name: {
                "amount" if scorers.is_amount(target.name) else "probability": float(
                    scorers.score(target.name, vectors)[0, 0]
                ),
                "champion": scorers.champion(target.name),
                "weights": scorers.mixture(target.name),
                "version": scorers.version(target.name),
                "reasons": [
                    msgspec.structs.asdict(reason) | {"words": SHOPPER_GROUPS[reason.group]}
                    for reason in scorers.reasons(target.name, vectors)[0]
                ],
            }
            for target in settings.targets
        },
    }


def _apply(scorers: Scorers, settings: Settings, name: str, row: LearnerRow) -> None:
    """Applies the exported weights of the learner of ``row`` to the scorers."""
    learner = new_learner(name, settings)
    if not row.version or row.layout != learner.layout:
        return
    learner.restore(unpack_arrays(row.state), unpack_arrays(row.evaluation))
    for model, arrays in learner.parameters().items():
        champion = model == learner.champion
        packed = pack_arrays(arrays)
        examples, weights = row.examples, learner.weights
        scorers.apply(Parameters(name, model, champion, row.version, learner.layout, examples, packed, weights))
