"""A target may learn before its labels are final; what it serves is right, and measured by final labels."""

import msgspec
import pytest

from streams.contract.event_kinds import Kind
from streams.contract.records import LEARN, MEASURE
from streams.contract.settings import Target
from streams.core.models import target_models
from tests.behaviour.small_shop import SETTINGS, Shop
from tests.learning.delayed_stream import calibration_under_delay
from tests.pipeline.shop_log import START_MS

END_S = 100_000


def shop_that_corrects(label: Kind = "purchase") -> Shop:
    target = Target(name="it", label=label, horizon_s=1000, sampling_rate=1.0, prior=0.2, labels="correct")
    return Shop(settings=msgspec.structs.replace(SETTINGS, targets=(target,)))


def sent(shop: Shop, at_s: int = 0) -> list[tuple[float, int]]:
    """Label and use of each example of the prediction made at ``at_s``."""
    return [
        (label, use)
        for batch in shop.example_batches("it")
        for label, use, at_ms in zip(
            batch.labels.tolist(), batch.uses.tolist(), batch.timestamps_ms.tolist(), strict=True
        )
        if at_ms == START_MS + 1000 * at_s
    ]


def test_a_negative_is_learned_at_once_corrected_once_and_measured_at_the_horizon() -> None:
    shop = shop_that_corrects()
    shop.view(0, "i1")
    assert sent(shop) == [(0.0, LEARN)]
    for at_s in (10, 20):
        shop.send("purchase", at_s, item_id="i1")
    assert sent(shop) == [(0.0, LEARN), (1.0, LEARN)]
    shop.tick(END_S)
    assert sent(shop) == [(0.0, LEARN), (1.0, LEARN), (1.0, MEASURE)]
    assert sent(shop, 10) == [(0.0, LEARN), (1.0, LEARN), (1.0, MEASURE)]
    assert sent(shop, 20) == [(0.0, LEARN), (0.0, MEASURE)]
    by_time = {(example.timestamp_ms, example.vector) for example in shop.examples("it")}
    assert len(by_time) == 3
    assert [outcome.label for outcome in shop.outcomes("it")] == [1.0, 1.0, 0.0]


def test_what_comes_after_the_cap_corrects_nothing() -> None:
    shop = shop_that_corrects()
    shop.view(0, "i1")
    shop.send("purchase", 1001, item_id="i1")
    shop.tick(1100)
    assert sent(shop) == [(0.0, LEARN), (0.0, MEASURE)]


def test_a_click_is_learned_as_none_when_the_slate_is_shown_and_corrected_when_it_is_clicked() -> None:
    shop = shop_that_corrects(label="click")
    decision = shop.view(0, "i1")
    assert shop.examples("it") == []
    shop.impression(1, decision.decision_id)
    shop.click(2, decision.decision_id, decision.items[0].item_id, 0)
    shop.click(3, decision.decision_id, decision.items[0].item_id, 0)
    assert [example.label for example in shop.examples("it")] == [0.0, 1.0]
    assert shop.outcomes("it") == []
    shop.tick(END_S)
    assert [outcome.label for outcome in shop.outcomes("it")] == [1.0]


def test_probabilities_are_right_while_labels_are_late() -> None:
    assert calibration_under_delay(seed=1) == pytest.approx(1.0, abs=0.1)


def test_without_the_correction_they_are_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_models, "FakeNegativeCalibration", lambda name, learner: learner)
    assert calibration_under_delay(seed=1) < 0.85
