"""A target may learn before its labels are final; what it serves is right, and measured by final labels."""

import msgspec
import pytest

from benchmarks.delays import calibration_under_delay
from streams.contract.events import Kind
from streams.contract.records import LEARN, MEASURE, decode_experiences
from streams.contract.settings import Target
from streams.contract.topics import EXPERIENCES
from streams.core.models import family
from tests.behaviour.shop import SETTINGS, Shop

END_S = 100_000


def shop_that_corrects(label: Kind = "purchase") -> Shop:
    target = Target(name="it", label=label, horizon_s=1000, sampling_rate=1.0, prior=0.2, labels="correct")
    return Shop(settings=msgspec.structs.replace(SETTINGS, targets=(target,)))


def sent(shop: Shop) -> list[tuple[float, int]]:
    """Label and use of each example, one a record since the shop folds event by event."""
    batches = [decode_experiences(value) for value in shop.values(EXPERIENCES)]
    return [
        (example.label, next(iter(batch.uses))) for example, batch in zip(shop.examples("it"), batches, strict=True)
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
    assert len({example.vector for example in shop.examples("it")}) == 1


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


def test_probabilities_are_right_while_labels_are_late() -> None:
    assert calibration_under_delay("correct", 1.0, seed=1, measured=3000, mean_delay=200) == pytest.approx(1.0, abs=0.1)


def test_without_the_correction_they_are_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "CorrectedLearner", lambda name, learner: learner)
    assert calibration_under_delay("correct", 1.0, seed=1, measured=3000, mean_delay=200) < 0.85
