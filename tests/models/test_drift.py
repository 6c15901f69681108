from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.contract.records import Parameters
from streams.contract.settings import Target
from streams.core.models.drift import WAITING, DriftWatch
from streams.core.models.registry import type_of
from streams.core.models.scoring import Scorers
from streams.core.models.target_models import Served, TargetModels
from streams.evaluation.drift import Drifted, evaluate_drift, permuted_weights

MEMBERS: Any = ("linear",)
TARGET = Target(name="purchase", label="purchase", horizon_s=60, sampling_rate=1.0, prior=0.2, models=MEMBERS)
BEFORE, AFTER = 3000, 3000


def watched(given_: np.ndarray, labels: np.ndarray, times: np.ndarray) -> DriftWatch:
    watch = DriftWatch()
    watch.update(given_, labels, times)
    return watch


def losing(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A model that knows, until it does not: the last third of the labels are turned round."""
    random = np.random.default_rng(seed)
    given_ = random.choice([0.1, 0.9], n)
    labels = (random.random(n) < given_).astype(np.float64)
    labels[2 * n // 3 :] = 1.0 - labels[2 * n // 3 :]
    return given_, labels


def test_a_rise_of_the_loss_is_an_alarm_and_a_fall_is_none() -> None:
    given_, labels = losing(3000)
    times = np.arange(3000)
    assert watched(given_, labels, times).alarms >= 1
    assert watched(given_, labels, times).open
    assert watched(given_[::-1], labels[::-1], times).alarms == 0
    steady = watched(given_[:2000], labels[:2000], times[:2000])
    assert (steady.alarms, steady.open) == (0, False)


def test_the_loss_is_taken_in_the_order_of_the_predictions() -> None:
    given_, labels = losing(3000)
    times = np.arange(3000)
    shuffled = np.concatenate([np.random.default_rng(0).permutation(part) for part in np.split(times, 3000 // 50)])
    late = watched(given_[shuffled], labels[shuffled], times[shuffled])
    straight = watched(given_, labels, times)
    assert late.summary() == straight.summary()
    assert WAITING >= 50


def test_what_was_not_served_is_left_out() -> None:
    given_, labels = losing(3000)
    holes = np.where(np.arange(3000) % 2, np.nan, given_)
    whole = watched(given_[::2], labels[::2], np.arange(0, 3000, 2))
    assert watched(holes, labels, np.arange(3000)).summary().window_loss == whole.summary().window_loss


class Loop:
    """A models of a target and its scorers, as in the stream; what is served is kept with the examples."""

    def __init__(self, stream: Drifted, target: Target = TARGET) -> None:
        self.stream = stream
        self.target = target
        self.family = TargetModels(target, stream.schema, seed=0)
        self.scorers = Scorers([target], stream.schema)
        self.records: list[tuple[slice, list[str], np.ndarray]] = []
        self.alarms: list[int] = []

    def run(self, end: int) -> None:
        for start in range(self.records[-1][0].stop if self.records else 0, end, 50):
            part = slice(start, start + 50)
            names, scores = (
                self.scorers.models(self.target.name),
                self.scorers.score(self.target.name, self.rows(part)),
            )
            self.records.append((part, names, scores))
            learn(self.family, self.stream, part, names, scores)
            for model, arrays in self.family.parameters().items():
                own, mixture = model == self.family.champion, self.family.weights
                version, schema = start + 50, self.stream.schema.fingerprint
                parameters = Parameters("purchase", model, own, version, schema, version, pack_arrays(arrays), mixture)
                assert self.scorers.apply(parameters)

    def rows(self, part: slice) -> np.ndarray:
        return self.stream.vectors[part]


def learn(family: TargetModels, stream: Drifted, part: slice, names: list[str], scores: np.ndarray) -> None:
    labels, weights = stream.labels[part], np.ones(len(scores))
    family.evaluate(names, scores, labels, weights, np.arange(part.start, part.start + len(scores)))
    family.learn_many(stream.vectors[part], labels, weights, Served(names, scores))


STREAM = permuted_weights(BEFORE, AFTER, seed=1)


def test_after_an_alarm_a_fresh_challenger_competes_wins_and_is_gone() -> None:
    loop = Loop(STREAM)
    loop.run(BEFORE)
    assert loop.family.quality(0.0).drift.alarms == 0
    assert loop.scorers.models("purchase") == ["linear"]
    loop.run(BEFORE + 400)
    standing = loop.family.quality(0.0)
    assert standing.drift.alarms >= 1
    assert standing.switches >= 1
    seen = {name for _, names, _ in loop.records for name in names}
    assert seen >= {"mixture", "linear", "linear#1"}
    loop.run(BEFORE + AFTER)
    standing = loop.family.quality(0.0)
    assert not standing.drift.open
    assert loop.family.champion == "linear"
    assert "linear#1" not in loop.scorers.models("purchase")


@given(cuts=st.lists(st.integers(0, 50), max_size=3), restart=st.booleans())
@settings(deadline=None, max_examples=8)
def test_neither_batches_nor_restarts_move_an_alarm_a_switch_or_a_bit(cuts: list[int], restart: bool) -> None:
    loop = Loop(STREAM)
    loop.run(BEFORE + 1500)
    assert loop.family.quality(0.0).switches >= 1
    family = TargetModels(TARGET, STREAM.schema, seed=0)
    for part, names, scores in loop.records:
        for start, end in pairwise([0, *sorted(cuts), 50]):
            if restart:
                resumed = TargetModels(TARGET, STREAM.schema, seed=0)
                if start or part.start:
                    state, evaluation = (pack_arrays(of) for of in (family.arrays(), family.evaluation_arrays()))
                    resumed.restore(unpack_arrays(state), unpack_arrays(evaluation))
                family = resumed
            learn(family, STREAM, slice(part.start + start, part.start + end), names, scores[start:end])
    assert pack_arrays(family.arrays()) == pack_arrays(loop.family.arrays())
    assert pack_arrays(family.evaluation_arrays()) == pack_arrays(loop.family.evaluation_arrays())
    assert family.quality(0.0) == loop.family.quality(0.0)


def test_a_challenger_that_does_not_win_is_dismissed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.core.models.replacement.PATIENCE", 30)
    loop = Loop(STREAM)
    loop.run(BEFORE + 1000)
    standing = loop.family.quality(0.0)
    assert standing.drift.alarms >= 1
    assert (standing.replacement, standing.switches) == (None, 0)
    assert loop.scorers.models("purchase") == ["linear"]


def test_a_blend_has_the_best_of_its_members_begun_anew() -> None:
    models: Any = ("blend", "linear", "additive")
    loop = Loop(STREAM, replace(TARGET, models=models))
    loop.run(BEFORE + 1500)
    seen = {name for _, names, _ in loop.records for name in names}
    assert {type_of(name) for name in seen - set(models)} & {"additive", "linear"}
    assert loop.family.quality(0.0).drift.recoveries >= 1


def test_excess_loss_is_halved_in_half_the_examples_that_the_member_alone_needs() -> None:
    for run in evaluate_drift("linear", before=8000, after=4000, seeds=2)["runs"]:
        assert run["excess_before"] < run["excess_after"] / 4
        assert run["halved_after"] is not None
        assert run["halved_after_without"] is None or run["halved_after"] <= run["halved_after_without"] / 2
