"""One shopper's probabilities as of their last event, with the reasons for them, from a data directory alone."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.contract.errors import UnreadableSource
from streams.contract.partitioning import partition_of
from streams.contract.records import Parameters
from streams.contract.settings import Settings
from streams.core.features.schema import feature_schema
from streams.core.learning.learners import new_learner
from streams.core.learning.row import LearnerRow, decode_learner_row
from streams.core.models.scoring import Scorers
from streams.core.row import UserRow, shopper_vector
from streams.ops.inspect import read_row, scan_tables


def explain_shopper(settings: Settings, data_dir: Path, user_id: str) -> dict[str, Any]:
    """Scores a shopper by the weights that Learning has now, as Behaviour would.

    Args:
        data_dir: Of a worker that has the shopper's partition. A learner whose partition is another worker's has left
            nothing here: its target is at the prior, version 0.

    Returns:
        ``user_id``, ``last_ms``, and by target ``probability`` or ``amount``, ``champion``, ``version`` and
        ``reasons``: what moved the log-odds most against a shopper who is average in everything, strongest first.

    Raises:
        UnreadableSource: No such tables, no such shopper, or nothing was predicted of them yet.
    """
    key = user_id.encode()
    value = read_row(data_dir, "users", partition_of(key, settings.kafka.partitions), key)
    row = None if value is None else msgspec.msgpack.decode(value, type=UserRow)
    if row is None or row.seen is None:
        raise UnreadableSource(f"{data_dir} knows of no prediction for shopper {user_id!r}: the id is case-sensitive")
    schema = feature_schema(settings.windows)
    if tuple(ring.name for ring in row.rings) != tuple(window.name for window in settings.windows):
        raise UnreadableSource(f"the row of {user_id!r} has other windows than the settings: use the worker's settings")
    scorers = Scorers(settings.targets, schema)
    names = {target.name for target in settings.targets}
    for _, learner, stored in scan_tables(data_dir, "learners"):
        if learner.decode() in names:
            _apply(scorers, settings, learner.decode(), decode_learner_row(stored))
    vectors = np.array([shopper_vector(row, row.seen)], np.float32)
    return {
        "user_id": user_id,
        "last_ms": row.last_ms,
        "targets": {
            target.name: {
                "amount" if scorers.is_amount(target.name) else "probability": float(
                    scorers.score(target.name, vectors)[0, 0]
                ),
                "champion": scorers.members(target.name)[0],
                "version": scorers.version(target.name),
                "reasons": [msgspec.structs.asdict(reason) for reason in scorers.reasons(target.name, vectors)[0]],
            }
            for target in settings.targets
        },
    }


def _apply(scorers: Scorers, settings: Settings, name: str, row: LearnerRow) -> None:
    """Hands over what the learner of ``row`` exports."""
    learner = new_learner(name, settings)
    if not row.version or row.layout != learner.layout:
        return
    learner.restore(unpack_arrays(row.state), unpack_arrays(row.evaluation))
    for member, arrays in learner.parameters().items():
        champion = member == learner.champion
        packed = pack_arrays(arrays)
        scorers.apply(Parameters(name, member, champion, row.version, learner.layout, row.examples, packed))
