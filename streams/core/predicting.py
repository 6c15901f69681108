"""Predictions of one batch: every family scored at once, reasons named, probabilities kept where a label will come."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from streams.contract.outputs import Output
from streams.contract.records import JSON, Prediction
from streams.contract.topics import PREDICTIONS
from streams.core.models.scoring import Scorers
from streams.core.row import Moment, OpenPrediction


class PendingPrediction(msgspec.Struct, gc=False):
    """A moment at which to predict, with the rest of its batch.

    Attributes:
        event_ref: What is published names it; of a session's end, that of its last event and ``end``.
        key: The user's.
        targets: What is predicted at it.
        vector: ``(n_features,)``.
        moment: In the shopper's row, to be given the vector; ``None`` where no prediction was opened.
        opened: The predictions opened at it, to be given probabilities, even if their labels are final by then.
    """

    event_ref: str
    key: bytes
    timestamp_ms: int
    targets: tuple[str, ...]
    vector: list[float]
    moment: Moment | None
    opened: tuple[OpenPrediction, ...]


class Predictor:
    """Makes the predictions of batches of one source partition."""

    def __init__(self, scorers: Scorers) -> None:
        self._scorers = scorers

    def predict(self, pending: Sequence[PendingPrediction]) -> list[Output]:
        """Scores all moments, fills the open predictions in the rows, and returns what is published, in order."""
        outputs: list[Output | None] = [None] * len(pending)
        alike: dict[tuple[str, ...], list[int]] = {}
        for place, each in enumerate(pending):
            alike.setdefault(each.targets, []).append(place)
        for targets, places in alike.items():
            group = [pending[place] for place in places]
            for place, output in zip(places, self._predict(targets, group), strict=True):
                outputs[place] = output
        return [output for output in outputs if output is not None]

    def _predict(self, targets: tuple[str, ...], pending: Sequence[PendingPrediction]) -> Iterator[Output]:
        """Predicts the same targets at all of ``pending``."""
        vectors = np.array([each.vector for each in pending], np.float32)
        scorers = self._scorers
        amounts = frozenset(filter(scorers.is_amount, targets))
        scaled = scorers.scaled(vectors)
        scores = {target: scorers.score(target, scaled).tolist() for target in targets}
        reasons = {target: scorers.reasons(target, scaled) for target in targets}
        members = {target: scorers.members(target) for target in targets}
        versions = {target: scorers.version(target) for target in targets}
        for place, each in enumerate(pending):
            if each.moment is not None:
                each.moment.vector = vectors[place].tobytes()
            for prediction in each.opened:
                prediction.probabilities = scores[prediction.target][place]
                prediction.members = members[prediction.target]
            value = Prediction(
                each.event_ref,
                each.key.decode(),
                each.timestamp_ms,
                {target: scores[target][place][0] for target in targets if target not in amounts},
                {target: reasons[target][place] for target in targets},
                versions,
                {target: scores[target][place][0] for target in targets if target in amounts},
            )
            yield Output(PREDICTIONS, each.key, JSON.encode(value))
