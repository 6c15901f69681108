"""The closed loop: laws without a broker, and once with one."""

import hashlib
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from producers.lag import LagGate
from producers.publisher import Publisher
from producers.simulator.closed_loop import fit_to_event_time, fit_to_workers, simulate_closed_loop
from producers.simulator.parameters import START_MS, SimulationParameters
from producers.simulator.recommendation_reader import RecommendationReader
from producers.simulator.simulation import Simulation, organic_events
from streams.brokers.embedded import EmbeddedBroker
from streams.contract.errors import ConfigurationError, RefusedStart
from streams.contract.events import Event, decode_event
from streams.contract.records import JSON, Recommendation, RecommendedItem, event_ref
from streams.contract.settings import Kafka, Settings, Time
from tests.producers.fakes import Decider, ListSink
from tests.timeouts import HANG_S, Deadline

N_ITEMS = 400
PARAMETERS = SimulationParameters(
    seed=7, n_users=600, n_items=N_ITEMS, n_categories=8, events=4000, events_per_second=6.0, decision_timeout_s=0.0,
    first_decision_timeout_s=0.0, max_skew_s=30.0,
)  # fmt: skip


def uniform_slate(ref: str) -> list[str]:
    rng = np.random.default_rng(list(hashlib.sha256(ref.encode()).digest()[:4]))
    return [f"item-{item}" for item in rng.choice(N_ITEMS, 5, replace=False).tolist()]


def patient(**changes: float) -> SimulationParameters:
    """The same world, with shoppers who wait as long as it takes."""
    fields = {name: getattr(PARAMETERS, name) for name in PARAMETERS.__struct_fields__}
    return SimulationParameters(**(fields | {"decision_timeout_s": 1e6, "first_decision_timeout_s": 1e6} | changes))


def lateness_ms(events: list[Event]) -> int:
    latest = worst = 0
    for event in events:
        latest = max(latest, event.timestamp_ms)
        worst = max(worst, latest - event.timestamp_ms)
    return worst


@pytest.mark.parametrize("delay", [1, 40, 400])
def test_no_event_is_later_than_the_skew_and_no_user_goes_back_in_time(delay: int) -> None:
    sink = ListSink()
    summary = Simulation(patient(max_skew_s=20.0), sink, Decider(uniform_slate, delay)).run()
    events = [event for event in sink.events if event.kind != "tick"]
    assert lateness_ms(events) <= 20_000
    if delay > 1:
        assert lateness_ms(events) > 0
    by_session: dict[str | None, list[int]] = defaultdict(list)
    for event in events:
        by_session[event.session_id].append(event.timestamp_ms)
    assert all(times == sorted(times) for times in by_session.values())
    assert (summary.fallbacks, summary.unknown_items, len(events)) == (0, 0, PARAMETERS.events)
    assert len({event.event_id for event in sink.events}) == len(sink.events)


@pytest.mark.parametrize("max_skew_s", [30.0, 3600.0])
def test_a_user_acts_in_the_order_of_time_however_far_others_are(max_skew_s: float) -> None:
    """Users have several sessions each, and the next may be due while they wait in the one before."""
    sink = ListSink()
    parameters = patient(n_users=30, max_skew_s=max_skew_s, events_per_second=0.5, events=1500)
    Simulation(parameters, sink, Decider(uniform_slate, 100)).run()
    by_user: dict[str | None, list[int]] = defaultdict(list)
    for event in sink.events:
        by_user[event.user_id].append(event.timestamp_ms)
    assert all(times == sorted(times) for times in by_user.values())


def test_feedback_echoes_the_decision_of_its_user() -> None:
    sink, decider = ListSink(), Decider(uniform_slate)
    summary = Simulation(patient(), sink, decider).run()
    offsets: Counter[int] = Counter()
    viewers: dict[str, Event] = {}
    impressions: dict[str, Event] = {}
    for partition, event in sink.published:
        if event.kind == "view":
            viewers[event_ref("clickstream", partition, offsets[partition])] = event
        offsets[partition] += 1
        if event.decision_id is None:
            continue
        decision = decider.decided[event.decision_id]
        view = viewers[decision.event_ref]
        assert (event.user_id, event.session_id) == (view.user_id, view.session_id)
        if event.kind == "impression":
            assert 500 <= event.timestamp_ms - view.timestamp_ms <= 1500
            assert event.item_id is None
            assert event.decision_id not in impressions
            impressions[event.decision_id] = event
        else:
            assert event.kind == "click"
            assert event.position is not None
            assert decision.items[event.position].item_id == event.item_id
            assert event.timestamp_ms > impressions[event.decision_id].timestamp_ms
    assert len(impressions) > 1000
    assert summary.by_kind["impression"] == len(impressions)
    assert summary.by_kind["click"] > 50
    assert summary.repeats == len(decider.decided) - len(decider._due) > 0
    assert summary.produced == sum(summary.by_kind.values()) == len(sink.events) == PARAMETERS.events + 4


def test_clicks_happen_as_often_as_is_true_of_what_was_shown() -> None:
    """Two policies on halves of the decisions; the expected clicks of a good one are above, and both are met."""
    favourites = [f"item-{item}" for item in range(N_ITEMS)]

    def choose(ref: str) -> list[str]:
        return uniform_slate(ref) if policy(ref) == "random" else favourites[:5]

    def policy(ref: str) -> str:
        return "random" if int(ref.rsplit("-", 1)[1]) % 2 else "fixed"

    summary = Simulation(patient(events=20_000), ListSink(), Decider(choose, policy=policy)).run()
    assert set(summary.policies) == {"random", "fixed"}
    assert sum(truth.slates for truth in summary.policies.values()) >= summary.by_kind["impression"]
    for truth in summary.policies.values():
        assert truth.items == 5 * truth.slates
        # Clicks are a sum of independent Bernoulli draws: the variance is below the mean.
        assert abs(truth.clicks - truth.expected_clicks) < 4 * truth.expected_clicks**0.5
        assert truth.regret == truth.best_clicks - truth.expected_clicks > 0.0
    control = summary.policies["random"]
    assert 0.01 < control.expected_clicks / control.items < 0.1


def test_clicks_lead_to_further_views_carts_and_purchases() -> None:
    with_slates, without = ListSink(), ListSink()
    Simulation(patient(events=12_000), with_slates, Decider(uniform_slate)).run()
    Simulation(patient(events=12_000), without, Decider(lambda _: [])).run()
    clicked = {(e.session_id, e.item_id) for e in with_slates.events if e.kind == "click"}
    followed = Counter(e.kind for e in with_slates.events if (e.session_id, e.item_id) in clicked)
    assert followed["view"] > 0.6 * len(clicked)
    assert followed["add_to_cart"] > 0
    assert not {"impression", "click"} & {e.kind for e in without.events}


def test_without_slates_the_loop_publishes_the_organic_events() -> None:
    sink = ListSink()
    Simulation(patient(), sink, Decider(lambda _: [], delay=30)).run()
    published = {event.event_id: event for event in sink.events if event.kind != "tick"}
    organic = {event.event_id: event for event in organic_events(patient(events=2 * PARAMETERS.events))}
    assert all(organic[event_id] == event for event_id, event in published.items())
    assert len(published) == PARAMETERS.events


def test_who_waits_in_vain_goes_on_and_is_counted() -> None:
    sink, decider = ListSink(), Decider(lambda ref: uniform_slate(ref) if ref.endswith("3") else None, delay=3)
    summary = Simulation(PARAMETERS, sink, decider).run()
    views = summary.by_kind["view"]
    assert 0.7 * views < summary.fallbacks < 0.95 * views
    assert 0 < summary.by_kind["impression"] < 0.15 * views
    assert lateness_ms(sink.events[:-4]) <= 30_000


def test_a_view_that_is_delivered_too_late_changes_nothing() -> None:
    sink = ListSink(delay=2000)
    summary = Simulation(PARAMETERS, sink, Decider(uniform_slate, delay=0)).run()
    assert summary.fallbacks > 0.8 * summary.by_kind["view"]
    assert len({event.event_id for event in sink.events}) == len(sink.events)
    organic = {event.event_id for event in organic_events(patient(events=2 * PARAMETERS.events))}
    assert sum(event.event_id in organic for event in sink.events) > 0.9 * len(sink.events)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that passes by being looked at."""
    ticks = itertools.count()
    monkeypatch.setattr("producers.simulator.simulation.time.monotonic", lambda: 0.01 * next(ticks))


def fallbacks(decider: Decider, grace_s: float) -> int:
    parameters = patient(events=600, decision_timeout_s=0.5, first_decision_timeout_s=grace_s)
    return Simulation(parameters, ListSink(), decider).run().fallbacks


@pytest.mark.usefixtures("clock")
def test_shoppers_are_more_patient_until_the_first_decision_comes() -> None:
    slow = [fallbacks(Decider(uniform_slate, delay=500), grace_s) for grace_s in (0.0, 1e9)]
    assert slow[0] > slow[1]


@pytest.mark.usefixtures("clock")
def test_shoppers_are_no_more_patient_than_usual_after_the_first_decision() -> None:
    answered: list[str] = []

    def choose(ref: str) -> list[str] | None:
        answered.append(ref)
        return uniform_slate(ref) if len(answered) == 1 else None

    assert fallbacks(Decider(choose), 1e9) > 100


def test_only_a_share_of_the_views_waits() -> None:
    decider = Decider(uniform_slate)
    summary = Simulation(patient(decision_probability=0.3), ListSink(), decider).run()
    assert len(decider.claims) == pytest.approx(0.3 * summary.by_kind["view"], rel=0.1)


def test_items_of_another_shop_are_shown_and_never_clicked() -> None:
    sink = ListSink()
    summary = Simulation(patient(), sink, Decider(lambda _: ["elsewhere-1", "elsewhere-2"])).run()
    truth = summary.policies["random"]
    assert summary.unknown_items == truth.items == 2 * truth.slates > 0
    assert (truth.clicks, truth.expected_clicks) == (0, 0.0)
    assert summary.by_kind["impression"] > 0


@pytest.mark.parametrize("has_room", [True, False])
def test_a_stop_ends_the_run_and_still_ticks(has_room: bool) -> None:
    sink = ListSink(partitions=2)
    asked = Counter[str]()

    def should_stop() -> bool:
        asked["times"] += 1
        sink.has_room = has_room or asked["times"] < 100
        return asked["times"] > 300

    summary = Simulation(patient(), sink, Decider(uniform_slate)).run(should_stop=should_stop)
    assert summary.stopped
    assert summary.produced < PARAMETERS.events
    assert [(event.kind, event.timestamp_ms) for event in sink.events[-2:]] == [
        ("tick", summary.last_timestamp_ms + 7_200_000)
    ] * 2


class Recommender(threading.Thread):
    """A worker in twenty lines: a uniform slate for each view, each tenth of them twice, progress committed."""

    def __init__(self, servers: str, partitions: int) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self._partitions = partitions
        config = {"bootstrap.servers": servers, "group.id": "headrace", "fetch.wait.max.ms": 10, "log_level": 2}
        self._consumer = Consumer(config | {"enable.auto.commit": False})
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "log_level": 2})

    def run(self) -> None:
        self._consumer.assign([TopicPartition("clickstream", partition, 0) for partition in range(self._partitions)])
        while not self.ended.is_set():
            first = self._consumer.poll(0.05)
            for message in [] if first is None else [first, *self._consumer.consume(1000, 0)]:
                value, partition, offset = message.value(), message.partition(), message.offset()
                assert isinstance(value, bytes)
                assert partition is not None
                assert offset is not None
                event = decode_event(value)
                if event.kind != "view" or event.user_id is None:
                    continue
                ref = event_ref("clickstream", partition, offset)
                items = [RecommendedItem(item, None, 0.05, "random") for item in uniform_slate(ref)]
                decision = Recommendation(f"{ref}/d", ref, event.user_id, event.timestamp_ms, "random", items, {})
                for _ in range(2 if offset % 10 == 0 else 1):
                    self._producer.produce("recommendations", JSON.encode(decision), event.user_id.encode())
            self._producer.poll(0)
            if first is not None:
                self._consumer.commit(asynchronous=True)
        self._producer.flush(HANG_S)
        self._consumer.close()


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"clickstream": 2, "recommendations": 2}) as broker:
        yield broker


@pytest.mark.broker
def test_the_loop_closes_over_a_broker(broker: EmbeddedBroker) -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers))
    recommender = Recommender(broker.bootstrap_servers, partitions=2)
    recommender.start()
    try:
        with (
            RecommendationReader(settings) as recommendations,
            Publisher(settings, LagGate(settings, bound_records=1000)) as publisher,
        ):
            parameters = patient(decision_timeout_s=HANG_S, first_decision_timeout_s=HANG_S)
            summary = Simulation(parameters, publisher, recommendations).run()
            assert (publisher.delivered, publisher.failed) == (summary.produced, 0)
    finally:
        recommender.ended.set()
        recommender.join()
    assert (summary.fallbacks, summary.undelivered, summary.unknown_items) == (0, 0, 0)
    assert recommendations.unreadable == 0
    assert summary.produced == parameters.events + 2
    assert summary.repeats > 0
    assert summary.by_kind["impression"] > 0.8 * summary.by_kind["view"]
    assert summary.by_kind["click"] > 50


@pytest.mark.broker
def test_the_reader_starts_at_the_end_and_counts_what_it_cannot_read(broker: EmbeddedBroker) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})

    def produce(value: bytes) -> None:
        producer.produce("recommendations", value)
        assert producer.flush(HANG_S) == 0

    def decision(ref: str) -> bytes:
        return JSON.encode(Recommendation(f"{ref}/d", ref, "u", 0, "random", [], {}))

    produce(decision("old"))
    with RecommendationReader(Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers))) as reader:
        assert reader.claim("old") is None
        assert reader.claim("new") is None
        for value in (b"no JSON", decision("new")):
            produce(value)
        deadline = Deadline(lambda: (arrived, reader.unreadable))
        arrived: list[Recommendation] = []
        while not (arrived and reader.unreadable):
            deadline.check()
            reader.wait(0.1)
            arrived += reader.arrived()
    assert [each.event_ref for each in arrived] == ["new"]
    assert reader.unreadable == 1


def test_no_event_is_late_for_the_workers_and_the_closing_ticks_mature_every_label() -> None:
    for lateness_s in (60.0, 300.0, 7200.0):
        settings = Settings(time=Time(allowed_lateness_s=lateness_s))
        fitted = fit_to_workers(SimulationParameters(), settings)
        assert 0.5 * lateness_s < fitted.max_skew_s < lateness_s
        assert fitted.mature_s >= lateness_s + max(target.horizon_s for target in settings.targets)


def test_a_skew_that_makes_events_late_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"max_skew_s is 300\.0.*allowed_lateness_s"):
        simulate_closed_loop(Settings(), SimulationParameters(max_skew_s=300.0), lambda: True, print)


def test_a_second_simulation_begins_where_the_first_ended_and_its_events_are_no_retries() -> None:
    first = SimulationParameters(events=300, n_users=50)
    assert fit_to_event_time(first, -1, START_MS) == first
    later_ms = START_MS + 86_400_000
    second = fit_to_event_time(first, later_ms, later_ms + 86_400_000)
    before, after = list(organic_events(first)), list(organic_events(second))
    assert min(event.timestamp_ms for event in after) >= later_ms
    assert not {event.event_id for event in before} & {event.event_id for event in after}
    assert not {event.session_id for event in before} & {event.session_id for event in after}


def test_a_simulation_that_would_end_ahead_of_the_brokers_clock_is_refused() -> None:
    now_ms = START_MS + 86_400_000
    with pytest.raises(RefusedStart, match="would be ahead of the broker's clock"):
        fit_to_event_time(SimulationParameters(events=300), now_ms - 1000, now_ms)
