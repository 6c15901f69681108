"""What the peers fold event by event is what the engine folds in batches."""

from collections import defaultdict
from typing import Final

from benchmarks.peers.one_by_one import OneByOne, Record, Rows
from benchmarks.pipeline import Core
from benchmarks.shop import Shop
from streams.contract.records import decode_recommendation
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, ITEMS, PREDICTIONS, RECOMMENDATIONS
from streams.engine.memory import MemoryTopics

SETTINGS: Final = Settings()
EVENTS: Final = 300


def published() -> Core:
    core = Core(SETTINGS)
    for event in Shop(users=40).events(EVENTS):
        core.publish(event)
    return core


def fold(folds: OneByOne, core: Core, tables: dict[int, dict[bytes, bytes]]) -> MemoryTopics:
    topics = MemoryTopics(SETTINGS, lambda: 0)
    for number in range(SETTINGS.kafka.partitions):
        rows = Rows(tables[number].get, tables[number].__setitem__)
        for record in core.topics.records[CLICKSTREAM, number]:
            for output in folds.fold(CLICKSTREAM, number, Record(*record[:4]), rows):
                topics.append(output)
    return topics


def test_a_peer_makes_the_rows_and_answers_of_the_engine() -> None:
    core = published()
    core.behaviour.drain(EVENTS)
    tables: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    topics = fold(OneByOne(SETTINGS), core, tables)
    assert tables == core.behaviour.table.rows
    for topic in (PREDICTIONS, RECOMMENDATIONS):
        assert topics.values(topic) == core.topics.values(topic)


def test_a_peer_recommends_what_the_feed_told_it() -> None:
    core, folds = published(), OneByOne(SETTINGS)
    core.behaviour.drain(EVENTS)
    core.relations.drain(EVENTS)
    for value in core.topics.values(ITEMS):
        folds.take_item(value)
    recommended = map(decode_recommendation, fold(folds, core, defaultdict(dict)).values(RECOMMENDATIONS))
    assert sum(len(recommendation.items) for recommendation in recommended) > EVENTS
