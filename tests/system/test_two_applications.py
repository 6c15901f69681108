"""Two applications on one cluster: whatever one does, the other does not notice."""

import json
from collections import Counter
from pathlib import Path
from typing import Final

import orjson
from confluent_kafka.admin import AdminClient

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.events import Event
from streams.contract.settings import load_settings
from streams.contract.topics import ITEMS, PREDICTIONS, RECOMMENDATIONS, USERS_CHANGELOG
from tests.system.cluster import EmbeddedCluster
from tests.timeouts import HANG_S

ONE: Final = {"HEADRACE_ENGINE__APP_ID": "shop"}
OTHER: Final = {"HEADRACE_ENGINE__APP_ID": "shop2", "HEADRACE_KAFKA__CLICKSTREAM": "web-events"}
EVENTS: Final = 300


def events_of(shop: str) -> list[Event]:
    return [
        Event(
            event_id=f"{shop}-{number}",
            timestamp_ms=1_700_000_000_000 + number,
            kind="view",
            user_id=f"{shop}-user-{number % 30}",
            item_id=f"{shop}-item-{number % 10}",
        )
        for number in range(EVENTS)
    ]


def keys(it: EmbeddedCluster, topic: str) -> set[str]:
    """Keys of users or items in a topic, without those that belong to a whole partition."""
    found = {record.key or b"" for record in it.records(topic)}
    return {key.decode() for key in found if key and not key.startswith(b"\x00")}


def test_each_answers_its_own_events_once_and_has_topics_groups_and_rows_of_its_own(tmp_path: Path) -> None:
    names = {topic.name: topic for each in (ONE, OTHER) for topic in load_settings(environment=each).topics}
    with EmbeddedBroker({name: topic.partitions for name, topic in names.items()}) as broker:
        shops = {"shop": EmbeddedCluster(broker, tmp_path, ONE), "shop2": EmbeddedCluster(broker, tmp_path, OTHER)}
        try:
            workers = {}
            for name, it in shops.items():
                it.publish(events_of(name))
                workers[name] = it.start(name)
            first = dict(workers)
            for name, it in shops.items():
                [workers[name]] = it.settle(workers[name])
            for name, it in shops.items():
                users = {f"{name}-user-{number}" for number in range(30)}
                for topic in (PREDICTIONS, RECOMMENDATIONS, USERS_CHANGELOG):
                    assert keys(it, topic) == users
                assert keys(it, ITEMS) == {f"{name}-item-{number}" for number in range(10)}
                for topic in (PREDICTIONS, RECOMMENDATIONS):
                    values = [record.value for record in it.records(topic)]
                    if workers[name] is first[name]:
                        assert len(values) == EVENTS
                    # Without transactions, a worker that is started again may write its last answers again.
                    answered = Counter(orjson.loads(value)["event_ref"] for value in set(values))
                    assert set(answered.values()) == {1}
                    assert len(answered) == EVENTS
            commands_read_only_their_own(shops["shop2"], tmp_path)
            for name, it in shops.items():
                [workers[name]] = it.settle(it.keep(workers[name]))
                workers[name].stop()
            assert keys(shops["shop"], PREDICTIONS) == {f"shop-user-{number}" for number in range(30)}
        finally:
            for it in shops.values():
                it.close()
        client = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 2})
        # A broker that makes a topic of each name that it is asked for has no other name than theirs.
        assert set(client.list_topics(timeout=HANG_S).topics) == set(names)


def commands_read_only_their_own(it: EmbeddedCluster, folder: Path) -> None:
    """Runs the commands that address topics, each a process that makes its names itself."""
    lines = it.headrace("tail", "predictions", "--from-beginning", "--max", str(EVENTS)).stdout.splitlines()
    assert {json.loads(line)["user_id"].partition("-")[0] for line in lines} == {"shop2"}
    it.headrace("experiment", "set", "random=1.0")
    assert json.loads(it.headrace("experiment", "show").stdout)["shares"] == {"random": 1.0}
    it.headrace("decisions", "dump", str(folder / "decisions.jsonl"))
    assert it.headrace("dead-letters", "export").stdout == b""
    simulated = json.loads(it.headrace("simulate", "--events", "200", "--users", "20").stdout)
    assert simulated["produced"] >= 200
    assert simulated["undelivered"] == 0
