"""Expected amounts are published in the order in which their targets are declared, in every process."""

import json

from streams.contract.settings import Settings, Target
from streams.core.behaviour.predictor import PredictionRequest, predict
from streams.core.features.schema import feature_schema
from streams.core.models.scoring import Scorers

NAMES = tuple(f"spend_{letter}" for letter in "fbdaecg")
TARGETS = tuple(
    Target(name=name, rule="spend", horizon_s=60, sampling_rate=1.0, prior=2.5, models=("hurdle",)) for name in NAMES
)


def test_amounts_come_in_the_order_of_their_targets() -> None:
    schema = feature_schema(Settings().windows)
    request = PredictionRequest("clickstream-0-1", b"anna", 1, NAMES, [0.0] * len(schema.names))
    (predicted,) = predict(Scorers(TARGETS, schema), [request])
    assert tuple(json.loads(predicted.output.value)["amounts"]) == NAMES
