"""The best attainable quality: better than what is served without knowledge, worse than knowing what is hidden."""

from collections import defaultdict

import numpy as np
import pytest

from producers.simulator.attainable import Attainable, _Examiner, measure_attainable
from producers.simulator.event_queue import Session
from producers.simulator.journal import Journal
from producers.simulator.parameters import SimulationParameters
from producers.simulator.plan import Plan, Step
from producers.simulator.population import draw_population
from producers.simulator.simulation import Simulation
from streams.contract.events import Event
from streams.contract.label_rules import RULES
from streams.contract.settings import DEFAULT_TARGETS, Target
from tests.producers.fakes import Decider, ListSink

N_ITEMS = 400
PREDICTED = {"view", "search", "add_to_cart", "remove_from_cart", "purchase"}
CHURN = Target(name="churn", rule="churn", horizon_s=86_400, sampling_rate=1.0, prior=0.5)
TARGETS = (*DEFAULT_TARGETS, CHURN)


class Run:
    """A simulation that has ended, with everything that was published."""

    def __init__(self) -> None:
        parameters = SimulationParameters(
            seed=5, n_users=400, n_items=N_ITEMS, n_categories=8, events=4500, decision_timeout_s=1e6,
            first_decision_timeout_s=1e6,
        )  # fmt: skip
        sink = ListSink()
        self.simulation = Simulation(parameters, sink, Decider(slate, delay=20))
        self.simulation.journal = Journal(parameters.n_users, most_events=10_000)
        self.complete_until_ms = self.simulation.run().complete_until_ms
        self.events = [event for event in sink.events if event.kind != "tick"]

    def measure(self, *, is_informed: bool = False, seed: int | None = None) -> Attainable:
        """Measures; with a seed, an observer who takes the items for those of another shop."""
        population = self.simulation.population
        if seed is not None:
            population = draw_population(SimulationParameters(seed=seed, n_users=400, n_items=N_ITEMS, n_categories=8))
        return measure_attainable(
            self.simulation.journal, population, TARGETS, self.complete_until_ms, is_informed=is_informed
        )


def slate(ref: str) -> list[str]:
    first = hash_of(ref)
    return [f"item-{(first + 37 * place) % N_ITEMS}" for place in range(5)]


def hash_of(ref: str) -> int:
    return int(ref.rpartition("-")[2]) * 7919 % N_ITEMS


@pytest.fixture(scope="module")
def run() -> Run:
    return Run()


@pytest.fixture(scope="module")
def observer(run: Run) -> Attainable:
    return run.measure()


@pytest.fixture(scope="module")
def informed(run: Run) -> Attainable:
    return run.measure(is_informed=True)


def losses(measured: Attainable) -> dict[str, float]:
    found = {name: quality.log_loss for name, quality in measured.targets.items()}
    found |= {name: quality.deviance for name, quality in measured.amounts.items()}
    return {name: loss for name, loss in found.items() if loss is not None}


def test_an_observer_is_between_the_base_rate_and_who_knows_what_is_hidden(
    observer: Attainable, informed: Attainable
) -> None:
    base = {name: quality.base_log_loss for name, quality in observer.targets.items()}
    base |= {name: quality.base_deviance for name, quality in observer.amounts.items()}
    assert set(base) == {"purchase", "cart", "click", "spend"}
    for name, loss in losses(observer).items():
        assert losses(informed)[name] < loss < (base[name] or 0.0), name
    for name, quality in observer.targets.items():
        assert 0.6 < (quality.auc or 0.0) < (informed.targets[name].auc or 0.0), name


def test_its_slates_are_between_chance_and_the_best(observer: Attainable, informed: Attainable) -> None:
    rate, known = observer.click_rate, informed.click_rate
    assert rate is not None
    assert known is not None
    assert 2.0 * rate.shown_ctr < rate.attainable_ctr < 0.95 * rate.best_ctr
    assert known.attainable_ctr == pytest.approx(known.best_ctr)
    assert known.best_ctr == pytest.approx(rate.best_ctr)


def test_its_expectations_are_calibrated(run: Run) -> None:
    """Labels exceed what was expected of them by no more than chance, users being independent of each other."""
    histories = list(run.simulation.journal.histories())
    examiner = _Examiner(run.simulation.population, TARGETS, histories, run.complete_until_ms, 300, is_informed=False)
    excess: dict[str, list[float]] = defaultdict(list)
    for user, history in histories:
        by_target: dict[str, float] = defaultdict(float)
        for example in examiner.examples(user, history):
            by_target[example.target] += example.label - example.given
        for name, sum_of_user in by_target.items():
            excess[name].append(sum_of_user)
    for name, sums in excess.items():
        assert abs(np.sum(sums)) < 3.5 * np.sqrt(np.sum(np.square(sums))), name


@pytest.mark.parametrize(
    ("where", "value", "target"),
    [
        ("delays.GAP_MEDIANS_S", (24.0, 45.0), "purchase"),
        ("ground_truth._CLICK_BIAS", -2.4, "click"),
    ],
)
def test_who_is_wrong_about_the_shoppers_predicts_worse(
    run: Run, observer: Attainable, where: str, value: object, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"producers.simulator.{where}", value)
    assert losses(run.measure())[target] > losses(observer)[target]


def test_who_is_wrong_about_the_items_predicts_clicks_worse(run: Run, observer: Attainable) -> None:
    assert losses(run.measure(seed=6))["click"] > losses(observer)["click"] + 0.02


def test_each_point_of_prediction_has_the_label_of_the_contract(run: Run, observer: Attainable) -> None:
    by_user: dict[str | None, list[Event]] = defaultdict(list)
    for event in run.events:
        by_user[event.user_id].append(event)
    for target in DEFAULT_TARGETS:
        labels = []
        for events in by_user.values():
            for event in events:
                until_ms = event.timestamp_ms + 1000 * target.horizon_s
                opens = event.kind == "impression" if target.label == "click" else event.kind in PREDICTED
                if not opens or until_ms > run.complete_until_ms:
                    continue
                label = RULES[target.rule].unanswered
                for later in events:
                    is_bound = target.label != "click" or later.decision_id == event.decision_id
                    if is_bound and event.timestamp_ms < later.timestamp_ms <= until_ms:
                        label = RULES[target.rule].answer(target, label, "", later)
                labels.append(label or 0.0)
        quality = (observer.targets | observer.amounts)[target.name]
        assert (quality.examples, quality.positives) == (len(labels), sum(label > 0.0 for label in labels))


def test_a_journal_keeps_all_of_a_sample_of_the_users() -> None:
    journal = Journal(n_users=64, most_events=100)
    added: dict[int, list[int]] = defaultdict(list)
    for number in range(1000):
        user = number * 7 % 64
        journal.add(Session(Plan(user, user, False, [])), Step(number, number, "view", number))
        journal.show(user, f"d{number}", [(0, number)])
        added[user].append(number)
    kept = dict(journal.histories())
    assert 0 < sum(len(history.entries) for history in kept.values()) <= 100
    assert sorted(kept) == list(range(len(kept)))
    for user, history in kept.items():
        assert [entry.step.item for entry in history.entries] == added[user]
        assert list(history.slates) == [f"d{number}" for number in added[user]]
