from typing import Any

import numpy as np

from streams.contract.settings import Target
from streams.core.features.schema import schema_of
from streams.core.models.measures import auc
from streams.evaluation.progressive import progressive_validation

SCHEMA = schema_of(["views", "price"], ["is_cart"])
MEMBERS: Any = ("linear", "additive")
TARGET = Target(name="purchase", label="purchase", horizon_s=60, sampling_rate=1.0, prior=0.2, models=MEMBERS)


def examples(n: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    vectors = random.lognormal(1.0, 1.0, (n, 3)).astype(np.float32)
    vectors[:, 2] = vectors[:, 2] > 3.0
    return vectors, (random.random(n) < np.where(vectors[:, 2] > 0, 0.6, 0.1)).astype(np.float64)


def test_no_label_changes_what_was_said_before_it_was_known() -> None:
    vectors, labels = examples(400)
    turned = labels.copy()
    turned[200:] = 1.0 - turned[200:]
    known = np.maximum(np.arange(400) - 64, 0)
    one, other = (progressive_validation(TARGET, SCHEMA, vectors, of, 0, known=known) for of in (labels, turned))
    assert one.probabilities[:264].tobytes() == other.probabilities[:264].tobytes()
    assert one.served[:264].tobytes() == other.served[:264].tobytes()
    assert (one.probabilities[300:] != other.probabilities[300:]).all()


def test_what_is_said_before_anything_was_learned_is_the_prior() -> None:
    vectors, labels = examples(300)
    progress = progressive_validation(TARGET, SCHEMA, vectors, labels, 0, known=np.zeros(300, np.int64))
    assert (progress.probabilities == 0.2).all()
    assert not progress.alarms.any() or progress.alarms[32:].all()


def test_it_learns_and_serves_a_mixture_of_the_members() -> None:
    vectors, labels = examples(1500)
    progress = progressive_validation(TARGET, SCHEMA, vectors, labels, 0)
    assert auc(progress.served[500:], labels[500:]) > 0.7
    assert {name for _, name in progress.champions} <= set(MEMBERS)
    assert (progress.served >= progress.probabilities.min(axis=1) - 1e-12).all()
    assert (progress.served <= progress.probabilities.max(axis=1) + 1e-12).all()
