"""Predictions of one batch: every family scored at once, reasons named, probabilities kept where a label will come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.contract.events import Event
from streams.contract.outputs import Output
from streams.contract.records import JSON, Prediction, event_ref
from streams.contract.settings import Target
from streams.contract.topics import CLICKSTREAM, PREDICTIONS
from streams.core.models.scoring import Scorers
from streams.core.row import Moment, OpenPrediction


@dataclass(slots=True)
class PendingPrediction:
    """An event at which to predict, with the rest of its batch.

    Attributes:
        offset: Of the event.
        vector: ``(n_features,)``.
        moment: In the shopper's row, to be given the vector; ``None`` where no prediction was opened.
        opened: The predictions opened at it, to be given probabilities, even if their labels are final by then.
    """

    offset: int
    event: Event
    vector: list[float]
    moment: Moment | None
    opened: tuple[OpenPrediction, ...]


class Predictor:
    """Makes the predictions of batches of one source partition."""

    def __init__(self, targets: Sequence[Target], partition: int, scorers: Scorers) -> None:
        self._targets = tuple(target.name for target in targets)
        self._partition = partition
        self._scorers = scorers

    def predict(self, pending: Sequence[PendingPrediction]) -> list[Output]:
        """Scores all events, fills the open predictions in the rows, and returns what is published."""
        vectors = np.array([each.vector for each in pending], np.float32)
        scorers, targets = self._scorers, self._targets
        scores = {target: scorers.score(target, vectors).tolist() for target in targets}
        reasons = {target: scorers.reasons(target, vectors) for target in targets}
        members = {target: scorers.members(target) for target in targets}
        versions = {target: scorers.version(target) for target in targets}
        outputs: list[Output] = []
        for place, each in enumerate(pending):
            if each.moment is not None:
                each.moment.vector = vectors[place].tobytes()
            for prediction in each.opened:
                prediction.probabilities = scores[prediction.target][place]
                prediction.members = members[prediction.target]
            user_id = each.event.user_id or ""
            value = Prediction(
                event_ref(CLICKSTREAM, self._partition, each.offset),
                user_id,
                each.event.timestamp_ms,
                {target: scores[target][place][0] for target in targets},
                {target: reasons[target][place] for target in targets},
                versions,
            )
            outputs.append(Output(PREDICTIONS, user_id.encode(), JSON.encode(value)))
        return outputs
