"""What the peers fold event by event is what the engine folds in batches."""

from collections import defaultdict
from typing import Final

from benchmarks.peers.one_by_one import OneByOne, Record, Rows
from benchmarks.shop import Shop
from streams.contract.records import decode_recommendation
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, ITEMS, PREDICTIONS, RECOMMENDATIONS
from streams.testing import MemoryTopics, Pipeline

SETTINGS: Final = Settings()
EVENTS: Final = 300


def published() -> Pipeline:
    pipeline = Pipeline(SETTINGS)
    for event in Shop(users=40).events(EVENTS):
        pipeline.publish(event)
    return pipeline


def fold(folds: OneByOne, pipeline: Pipeline, tables: dict[int, dict[bytes, bytes]]) -> MemoryTopics:
    topics = MemoryTopics(pipeline.topics.partitions)
    for number in range(SETTINGS.kafka.partitions):
        rows = Rows(tables[number].get, tables[number].__setitem__)
        for record in pipeline.topics.records[CLICKSTREAM, number]:
            for output in folds.fold(CLICKSTREAM, number, Record(*record[:4]), rows):
                topics.append(output)
    return topics


def test_a_peer_makes_the_rows_and_answers_of_the_engine() -> None:
    pipeline = published()
    pipeline.behaviour.drain(EVENTS)
    tables: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    topics = fold(OneByOne(SETTINGS), pipeline, tables)
    assert tables == pipeline.behaviour.table.rows
    for topic in (PREDICTIONS, RECOMMENDATIONS):
        assert topics.values(topic) == pipeline.topics.values(topic)


def test_a_peer_recommends_what_the_feed_told_it() -> None:
    pipeline, folds = published(), OneByOne(SETTINGS)
    pipeline.behaviour.drain(EVENTS)
    pipeline.items.drain(EVENTS)
    for value in pipeline.topics.values(ITEMS):
        folds.take_item(value)
    recommended = map(decode_recommendation, fold(folds, pipeline, defaultdict(dict)).values(RECOMMENDATIONS))
    assert sum(len(recommendation.items) for recommendation in recommended) > EVENTS
