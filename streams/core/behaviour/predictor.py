"""Predictions of one batch: all models of each target are scored at once, and reasons named."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from streams.contract.outputs import Output
from streams.contract.records import JSON, Prediction
from streams.contract.topics import PREDICTIONS
from streams.core.models.scoring import Scorers
from streams.core.sums import int_sum


class PredictionRequest(NamedTuple):
    """A shopper at one event, to be scored with the rest of the batch.

    Attributes:
        event_ref: Reference of the event; at a session's end, that of its last event and ``-end``.
        key: Key of the user.
    """

    event_ref: str
    key: bytes
    timestamp_ms: int
    targets: tuple[str, ...]
    vector: list[float]


class Predicted(NamedTuple):
    """The predictions for one request; targets are numbered as in the settings.

    Attributes:
        served: float32, ``(n_targets,)``: probabilities or amounts, NaN where nothing was predicted.
        from_prior: Bit ``k`` is set if target ``k`` has no model yet and its prior was served.
        vector: float32, ``(n_features,)``, as the models read it.
        scores: Target's number to the probabilities, or amounts, of its models, what served first; NaN where a model
            has no weights yet.
        models: Target's number to the names of these models.
    """

    output: Output
    served: bytes
    from_prior: int
    vector: bytes
    scores: dict[int, list[float]]
    models: dict[int, list[str]]


def predict(scorers: Scorers, requests: Sequence[PredictionRequest]) -> list[Predicted]:
    """Scores all requests of a batch, those with the same targets at once; the order stays."""
    predicted: list[Predicted | None] = [None] * len(requests)
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, request in enumerate(requests):
        alike.setdefault(request.targets, []).append(place)
    for targets, places in alike.items():
        answers = _predict(scorers, targets, [requests[place] for place in places])
        for place, answer in zip(places, answers, strict=True):
            predicted[place] = answer
    return [answer for answer in predicted if answer is not None]


def _predict(scorers: Scorers, targets: tuple[str, ...], requests: Sequence[PredictionRequest]) -> Iterator[Predicted]:
    vectors = np.array([request.vector for request in requests], np.float32)
    amounts = frozenset(filter(scorers.is_amount, targets))
    scaled = scorers.scaled(vectors)
    scores = {target: scorers.score(target, scaled) for target in targets}
    reasons = {target: scorers.reasons(target, scaled) for target in targets}
    numbers = {target: scorers.names.index(target) for target in targets}
    models = {number: scorers.models(target) for target, number in numbers.items()}
    versions = {target: scorers.version(target) for target in targets}
    from_prior = int_sum(1 << numbers[target] for target in targets if not versions[target])
    answers = {target: scores[target][:, 0].tolist() for target in targets}
    served = np.full((len(requests), len(scorers.names)), np.nan, np.float32)
    for target, number in numbers.items():
        served[:, number] = answers[target]
        scores[target][:, scorers.untrained(target)] = np.nan
    own = {number: scores[target].tolist() for target, number in numbers.items()}
    for place, request in enumerate(requests):
        value = Prediction(
            request.event_ref,
            request.key.decode(),
            request.timestamp_ms,
            {target: answers[target][place] for target in targets if target not in amounts},
            {target: reasons[target][place] for target in targets},
            versions,
            {target: answers[target][place] for target in targets if target in amounts},
        )
        yield Predicted(
            Output(PREDICTIONS, request.key, JSON.encode(value)),
            served[place].tobytes(),
            from_prior,
            vectors[place].tobytes(),
            {number: rows[place] for number, rows in own.items()},
            models,
        )
