"""What shoppers do of their own accord."""

import itertools
from collections import Counter, defaultdict
from datetime import UTC, datetime

import numpy as np
import pytest

from producers.simulator.event_queue import Session
from producers.simulator.ground_truth import POSITION_DECAY, ClickContext, click_probabilities
from producers.simulator.parameters import START_MS, SimulationParameters
from producers.simulator.plan import Plan, clock_seconds, plan_sessions, steady_seconds
from producers.simulator.population import Floats, Integers, Population, draw_population
from producers.simulator.shopper import Shoppers, Sight
from producers.simulator.simulation import organic_events
from streams.contract.errors import ConfigurationError
from streams.contract.events import Event, decode_event, encode_event
from tests.producers.truth import true_click_probability

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def parameters() -> SimulationParameters:
    return SimulationParameters()


@pytest.fixture(scope="module")
def events(parameters: SimulationParameters) -> list[Event]:
    return list(organic_events(parameters))


@pytest.fixture(scope="module")
def population(parameters: SimulationParameters) -> Population:
    return draw_population(parameters)


def test_one_seed_gives_one_history_and_another_seed_another() -> None:
    same, again, other = (list(organic_events(SimulationParameters(seed=seed, events=3000))) for seed in (3, 3, 4))
    assert same == again
    assert [event.item_id for event in same] != [event.item_id for event in other]
    assert not {event.event_id for event in same} & {event.event_id for event in other}


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    short, long = (list(organic_events(SimulationParameters(events=count))) for count in (500, 3000))
    assert long[:500] == short


def test_events_are_ordered_unique_valid_and_from_the_declared_start(events: list[Event]) -> None:
    assert datetime.fromtimestamp(START_MS / 1000, UTC) == datetime(2025, 1, 6, 14, tzinfo=UTC)
    times = [event.timestamp_ms for event in events]
    assert times == sorted(times)
    assert START_MS <= times[0] < START_MS + 60_000
    assert len({event.event_id for event in events}) == len(events) == 100_000
    assert all(decode_event(encode_event(event)) == event for event in events[::10])


def test_a_hundred_thousand_events_are_about_four_days(events: list[Event]) -> None:
    assert 84 * HOUR_MS < events[-1].timestamp_ms - events[0].timestamp_ms < 108 * HOUR_MS
    assert len({event.user_id for event in events}) > 3500


def test_a_user_is_in_one_session_at_a_time(events: list[Event]) -> None:
    by_user: dict[str | None, list[str | None]] = defaultdict(list)
    for event in events:
        by_user[event.user_id].append(event.session_id)
    for sessions in by_user.values():
        runs = [session for session, _ in itertools.groupby(sessions)]
        assert len(runs) == len(set(runs))


def test_what_is_removed_or_bought_was_in_view_before(events: list[Event]) -> None:
    viewed: set[tuple[str | None, str | None]] = set()
    carted: set[tuple[str | None, str | None]] = set()
    from_cart = Counter[bool]()
    for event in events:
        what = event.session_id, event.item_id
        if event.kind == "view":
            viewed.add(what)
        elif event.kind == "add_to_cart":
            assert what in viewed
            carted.add(what)
        elif event.kind == "remove_from_cart":
            assert what in carted
        elif event.kind == "purchase":
            assert what in viewed
            from_cart[what in carted] += 1
    assert from_cart[True] > 2 * from_cart[False] > 0


def share_followed(events: list[Event], kind: str, horizon_s: int, after: str | None = None) -> float:
    """Share of the events (of one kind) whose user does something of ``kind`` within the horizon."""
    upcoming: dict[str | None, int] = {}
    followed = []
    for event in reversed(events):
        if event.timestamp_ms < events[-1].timestamp_ms - horizon_s * 1000 and after in (None, event.kind):
            followed.append(upcoming.get(event.user_id, 1 << 60) - event.timestamp_ms <= horizon_s * 1000)
        if event.kind == kind:
            upcoming[event.user_id] = event.timestamp_ms
    return float(np.mean(followed))


def test_base_rates_are_those_of_a_shop(events: list[Event]) -> None:
    assert 0.05 < share_followed(events, "purchase", 1800) < 0.12
    assert 0.10 < share_followed(events, "add_to_cart", 600) < 0.20


def test_the_recent_past_tells_of_purchases(events: list[Event]) -> None:
    base = share_followed(events, "purchase", 1800)
    assert share_followed(events, "purchase", 1800, after="add_to_cart") > 3 * base
    assert share_followed(events, "purchase", 1800, after="search") > 1.2 * base


def test_what_is_viewed_together_is_close(population: Population, parameters: SimulationParameters) -> None:
    plans = itertools.islice(plan_sessions(population, parameters), 500)
    items = [[step.item for step in plan.steps if step.kind == "view"] for plan in plans]
    pairs = np.array([pair for session in items for pair in itertools.pairwise(session) if pair[0] != pair[1]])
    together = population.closeness(pairs[:, 0], pairs[:, 1]).mean()
    assert together > population.closeness(pairs[:, 0], np.roll(pairs[:, 1], 977)).mean() + 0.3


def test_density_follows_the_time_of_day() -> None:
    counts = Counter(
        event.timestamp_ms // HOUR_MS % 24
        for event in organic_events(SimulationParameters(events_per_second=0.5, events=60_000))
        if event.timestamp_ms < START_MS + 24 * HOUR_MS
    )
    assert sum(counts.values()) == pytest.approx(0.5 * 86_400, rel=0.1)
    assert counts[20] > 2 * counts[8]


def test_the_clock_and_steady_time_are_each_others_inverse() -> None:
    clock_s = START_MS / 1000.0 + np.linspace(0, 3 * 86_400, 1000)
    np.testing.assert_allclose(clock_seconds(steady_seconds(clock_s)), clock_s, atol=1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"events": 0}, {"n_items": 100}, {"decision_probability": 1.5}, {"max_skew_s": 0}, {"seed": -1}, {"n_users": 0}],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong)) if "n_items" not in wrong else "items"):
        SimulationParameters(**wrong)  # type: ignore[arg-type]  # values of all kinds, that is the point


def sight(plan: Plan, rng: np.random.Generator) -> ClickContext:
    """The moment at some view of a session."""
    views = [step.item for step in plan.steps if step.kind == "view"]
    at = int(rng.integers(len(views)))
    return ClickContext(views[at], set(views[: at + 1]), plan.is_buying)


def probabilities(
    population: Population, user: int, items: Integers, positions: Integers, context: ClickContext
) -> Floats:
    is_seen = np.isin(items, list(context.seen))
    return click_probabilities(
        population,
        np.array([user]),
        items,
        positions,
        np.array([context.viewed_item]),
        is_seen,
        np.array([context.is_buying]),
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_choosing_well_doubles_the_clicks_of_choosing_uniformly(seed: int) -> None:
    """Slates of five from a shortlist of twenty: close to what is in view, or popular, as retrieval proposes."""
    parameters = SimulationParameters(seed=seed)
    population = draw_population(parameters)
    rng = np.random.default_rng(seed)
    popularity = np.exp(population.item_log_popularities)
    everything = np.arange(parameters.n_items)
    rates: dict[str, list[float]] = defaultdict(list)
    for plan in itertools.islice(plan_sessions(population, parameters), 600):
        context = sight(plan, rng)
        near = np.argsort(
            -3 * population.closeness(np.array([context.viewed_item]), everything) - rng.gumbel(size=len(everything))
        )[:12]
        popular = rng.choice(everything, 8, replace=False, p=popularity / popularity.sum())
        shortlist = np.unique([*near, *popular])
        attraction = probabilities(population, plan.user, shortlist, np.zeros(len(shortlist), dtype=np.int64), context)
        quality = population.item_qualities[shortlist] - population.price_misfit(np.array([plan.user]), shortlist)
        slates = {
            "uniform": rng.permutation(len(shortlist)),
            "observable": np.argsort(-quality),
            "oracle": np.argsort(-attraction),
        }
        for name, slate in slates.items():
            rates[name].append(float((attraction[slate[:5]] * POSITION_DECAY ** np.arange(5)).mean()))
        random_slate = rng.choice(everything, 5, replace=False)
        rates["catalogue"].append(
            float(probabilities(population, plan.user, random_slate, np.arange(5), context).mean())
        )
    rate = {name: float(np.mean(values)) for name, values in rates.items()}
    assert 0.02 < rate["catalogue"] < rate["uniform"]
    assert 0.03 < rate["uniform"] < 0.08
    assert rate["oracle"] > 2 * rate["uniform"]
    # What is observed explains much of it, and not all.
    assert 1.4 * rate["uniform"] < rate["observable"] < 0.95 * rate["oracle"]


def test_the_truth_of_one_item_is_that_of_the_slate(population: Population) -> None:
    context = ClickContext(5, {5, 7}, is_buying=True)
    items, positions = np.array([7, 8, 1999]), np.array([0, 1, 4])
    slate = probabilities(population, 3, items, positions, context)
    one_by_one = [
        true_click_probability(population, 3, item, position, context)
        for item, position in zip(items.tolist(), positions.tolist(), strict=True)
    ]
    np.testing.assert_allclose(slate, one_by_one)
    assert true_click_probability(population, 3, 8, 2, context) == pytest.approx(slate[1] * POSITION_DECAY)
    assert true_click_probability(population, 3, 7, 0, context._replace(seen={5})) > slate[0]


def test_many_slates_are_each_seen_with_their_own_truth(
    population: Population, parameters: SimulationParameters
) -> None:
    shoppers = Shoppers(population, parameters)
    sights, expected = [], []
    for plan in itertools.islice(plan_sessions(population, parameters), 20):
        session = Session(plan)
        session.seen.update({plan.number, 40 + plan.number})
        slate = ["elsewhere", *(f"item-{40 + plan.number + item}" for item in range(plan.number % 4))]
        sights.append(Sight(session, plan.number, START_MS, f"d{plan.number}", slate))
        context = ClickContext(plan.number, session.seen, plan.is_buying)
        expected.append(
            [
                true_click_probability(population, plan.user, 40 + plan.number + item, 1 + item, context)
                for item in range(plan.number % 4)
            ]
        )
    shown = shoppers.see(sights)
    np.testing.assert_allclose([each.expected_clicks for each in shown], [sum(each) for each in expected])
    assert [each.unknown for each in shown] == [1] * len(sights)
