from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.models.scaling import CLIP, RunningScale, compressed

SCALED = (True, True, True, True, False, False)


def vectors(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    numbers = random.lognormal(2.0, 1.5, (n, 4))
    numbers[:, 3] += 100_000.0
    return np.column_stack([numbers, random.random((n, 2)) < 0.3]).astype(np.float32)


cuts = st.lists(st.integers(0, 60), max_size=6).map(lambda inner: [0, *sorted(inner), 60])


@given(cuts)
@settings(deadline=None)
def test_no_partition_into_batches_changes_a_bit(cut: list[int]) -> None:
    rows = vectors(60)
    whole, parts = RunningScale(SCALED), RunningScale(SCALED)
    at_once = whole.learn_many(rows)
    piecewise = []
    for start, end in pairwise(cut):
        piecewise.append(parts.learn_many(rows[start:end]))
        restored = RunningScale(SCALED)
        restored.restore({name: array.copy() for name, array in parts.arrays().items()})
        parts = restored
    assert np.concatenate(piecewise).tobytes() == at_once.tobytes()
    for name, array in whole.arrays().items():
        assert parts.arrays()[name].tobytes() == array.tobytes()


def test_mean_and_deviation_are_those_of_the_numbers_even_far_from_zero() -> None:
    rows = vectors(5000)
    scale = RunningScale(SCALED)
    scale.learn_many(rows)
    numbers = compressed(rows[:, :4])
    assert scale.scale().mean == pytest.approx(numbers.mean(axis=0), rel=1e-12)
    assert 1.0 / scale.scale().inverse_std == pytest.approx(numbers.std(axis=0), rel=1e-6)


def test_each_row_is_scaled_by_what_was_known_with_it() -> None:
    rows = vectors(50)
    scaled = RunningScale(SCALED).learn_many(rows)
    numbers = compressed(rows[:, :4])
    for n in (1, 2, 20, 50):
        mean, deviation = numbers[:n].mean(axis=0), numbers[:n].std(axis=0)
        expected = (numbers[n - 1] - mean) / np.where(deviation > 0, deviation, 1.0)
        assert scaled[n - 1, :4] == pytest.approx(np.clip(expected, -CLIP, CLIP), abs=1e-5)


def test_what_is_exported_scales_the_last_row_as_learning_did() -> None:
    rows = vectors(80)
    scale = RunningScale(SCALED)
    learned = scale.learn_many(rows)
    assert scale.scale().apply(rows)[-1] == pytest.approx(learned[-1], abs=1e-9)


def test_indicators_stay_as_they_are_and_numbers_are_clipped() -> None:
    rows = vectors(200)
    rows[-1, 0] = 3e38
    scale = RunningScale(SCALED)
    scaled = scale.learn_many(rows)
    assert (scaled[:, 4:] == rows[:, 4:]).all()
    assert scaled[-1, 0] == CLIP
    assert (scale.scale().apply(rows)[:, 4:] == rows[:, 4:]).all()


def test_a_number_that_never_varied_scales_to_zero() -> None:
    rows = np.full((10, 6), 7.0, np.float32)
    scale = RunningScale(SCALED)
    assert (scale.learn_many(rows)[:, :4] == 0.0).all()
    assert (scale.scale().apply(rows)[:, :4] == 0.0).all()


def test_nothing_learned_scales_without_a_warning() -> None:
    assert np.isfinite(RunningScale(SCALED).scale().apply(vectors(3))).all()


def test_the_input_is_left_alone() -> None:
    rows = vectors(10)
    before = rows.copy()
    scale = RunningScale(SCALED)
    scale.learn_many(rows)
    scale.scale().apply(rows)
    assert (rows == before).all()
