"""Batch baseline: gradient boosting, trained in many passes on the first share of an order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.contract.errors import ConfigurationError

Float64Array = NDArray[np.float64]


def baseline_probabilities(
    raw: Float64Array, labels: Float64Array, categorical: NDArray[np.bool_], trained_share: float, seed: int
) -> Float64Array:
    """Trains on the first share of the rows and scores the rest, ``(n_rest,)``.

    Raises:
        ConfigurationError: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise ConfigurationError("--baseline needs scikit-learn: pip install 'headrace[baseline]'") from error
    trained = int(len(labels) * trained_share)
    model: Any = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    model.fit(raw[:trained], labels[:trained])
    given: Float64Array = model.predict_proba(raw[trained:])[:, 1]
    return given
