import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from streams.core.models.measures import auc, average_precision, brier, calibration, losses


@given(st.lists(st.tuples(st.sampled_from([0.05, 0.2, 0.2001, 0.5, 0.9]), st.booleans()), min_size=2, max_size=60))
def test_the_measures_are_those_of_scikit_learn_ties_included(examples: list[tuple[float, bool]]) -> None:
    given_ = np.array([probability for probability, _ in examples])
    labels = np.array([float(label) for _, label in examples])
    if labels.min() == labels.max():
        return
    assert auc(given_, labels) == pytest.approx(metrics.roc_auc_score(labels, given_), abs=1e-12)
    assert average_precision(given_, labels) == pytest.approx(
        metrics.average_precision_score(labels, given_), abs=1e-12
    )
    assert losses(given_, labels).mean() == pytest.approx(metrics.log_loss(labels, given_), abs=1e-12)
    assert brier(given_, labels) == pytest.approx(metrics.brier_score_loss(labels, given_), abs=1e-12)
    assert calibration(given_, labels) == pytest.approx(given_.mean() / labels.mean(), rel=1e-12)
