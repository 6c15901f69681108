"""Trees of River's, to compare with: they take too long and grow too large to be published after every batch."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.features.schema import FeatureSchema

TREES: Final = ("hoeffding-adaptive", "adaptive-random-forest")


def tree_probabilities(
    name: str, schema: FeatureSchema, vectors: NDArray[np.float32], labels: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Tests, then learns, example by example; returns what was said, ``(n,)``."""
    model = _model(name, seed)
    given = np.zeros(len(labels))
    for place, (values, label) in enumerate(zip(vectors.tolist(), labels.tolist(), strict=True)):
        example = dict(zip(schema.names, values, strict=True))
        given[place] = model.predict_proba_one(example).get(True, 0.0)
        model.learn_one(example, label > 0.5)
    return given


def _model(name: str, seed: int) -> Any:
    from river import forest, tree

    if name == "hoeffding-adaptive":
        return tree.HoeffdingAdaptiveTreeClassifier(seed=seed)
    return forest.ARFClassifier(n_models=10, seed=seed)
