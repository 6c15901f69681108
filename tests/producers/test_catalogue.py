"""The synthetic shop lists every item that an event may name, with a title that a person can read."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.simulator.catalogue import list_items
from producers.simulator.closed_loop import simulate_closed_loop
from producers.simulator.parameters import SimulationParameters
from producers.simulator.population import draw_population
from producers.simulator.simulation import Simulation, organic_events
from producers.simulator.titles import draw_titles
from streams.admin.catalogue import read_titles
from streams.admin.topic_reader import partition_reader, read_to_end
from streams.brokers.embedded import EmbeddedBroker
from streams.contract.catalogue import decode_catalogue_record, encode_catalogue_item
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CATALOGUE
from tests.producers.fakes import Decider, ListSink

SHAPES = Path(__file__).parents[2] / "streams" / "serving" / "page" / "static" / "pictures.js"
CATEGORIES = st.lists(st.integers(0, 60), max_size=50)


@given(CATEGORIES, st.integers(0, 100))
def test_one_seed_gives_one_list_of_titles_and_each_once(categories: list[int], seed: int) -> None:
    titles = draw_titles(categories, seed)
    assert titles == draw_titles(categories, seed)
    assert len(set(titles)) == len(titles) == len(categories)
    assert all(re.fullmatch(r"[A-Z][a-z]+( [a-z]+){2,3}( \d+)?", title) for title in titles)


def test_another_seed_gives_other_titles() -> None:
    assert draw_titles([13] * 100, 1) != draw_titles([13] * 100, 2)


def test_titles_stay_unique_where_the_words_are_used_up() -> None:
    titles = draw_titles([13, 33] * 700, 7)
    assert len(set(titles)) == 1400
    assert titles[0] + " 2" in titles
    assert titles[0] + " 4" in titles


def test_a_noun_is_of_its_category_and_the_sample_shop_draws_it() -> None:
    kinds = re.findall(r"^  (\w+): \"M", SHAPES.read_text(), re.MULTILINE)
    assert len(kinds) == 20
    for category, kind in enumerate(kinds):
        titles = draw_titles([category] * 200, 0)
        assert any(kind in title.split()[-1] for title in titles), kind


@pytest.mark.parametrize("seed", [0, 7])
def test_every_item_of_an_event_is_listed_with_its_price_and_category(seed: int) -> None:
    parameters = SimulationParameters(seed=seed, events=5000, n_users=200, n_items=400)
    listed = {item.item_id: item for item in list_items(draw_population(parameters), seed)}
    assert len(listed) == 400
    named = [event for event in organic_events(parameters) if event.item_id is not None]
    assert len({event.item_id for event in named}) > 300
    for event in named:
        item = listed[event.item_id or ""]
        assert (item.category, item.price, item.available) == (event.category, event.price, True)


def test_a_closed_loop_names_listed_items_only() -> None:
    sink, parameters = ListSink(), SimulationParameters(seed=7, events=3000, n_users=200, n_items=400)
    simulation = Simulation(parameters, sink, Decider(lambda _: [f"item-{number}" for number in range(0, 400, 80)]))
    simulation.run()
    assert simulation.items == list_items(simulation.population, 7)
    listed = {item.item_id: (item.category, item.price) for item in simulation.items}
    named = [event for event in sink.events if event.item_id is not None]
    assert "click" in {event.kind for event in named}
    assert all(listed[event.item_id or ""] == (event.category, event.price) for event in named)


def test_each_record_is_one_of_the_topic() -> None:
    for item in list_items(draw_population(SimulationParameters(n_items=200)), 0):
        assert decode_catalogue_record(item.item_id.encode(), encode_catalogue_item(item)) == item


@pytest.mark.broker
def test_a_simulation_lists_its_items_first_and_a_second_one_lists_the_same() -> None:
    parameters = SimulationParameters(seed=7, n_users=50, n_items=200, events=1000)
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        settings = Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers))
        for _ in range(2):
            simulated = simulate_closed_loop(settings, parameters, lambda: True, print)
            assert (simulated.summary.stopped, simulated.summary.produced) == (True, 0)
        reader = partition_reader(settings)
        records = [(each.key(), each.value()) for each in read_to_end(reader, CATALOGUE, 0)]
        titles = read_titles(reader, settings)
        reader.close()
    items = list_items(draw_population(parameters), 7)
    assert [decode_catalogue_record(*record) for record in records] == items * 2
    assert titles == {item.item_id: item.title for item in items}
