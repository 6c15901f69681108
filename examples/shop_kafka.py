"""A shop that talks to Headrace over its topics, with confluent-kafka alone.

Start a broker and a worker, as the README says; then::

    python examples/shop_kafka.py 127.0.0.1:9092

It prints two slates: one chosen from candidates of the shop, as after a search, and one that retrieval proposes, as for
a home page.
"""

import itertools
import json
import os
import sys
import time
import uuid
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

SERVERS = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
SHOES = ["boots", "sandals", "sneakers"]
PATIENCE_S = 10

# The partitions of Kafka's Java clients, so that all events of a user are in one, whoever sends them.
producer = Producer({"bootstrap.servers": SERVERS, "partitioner": "murmur2_random", "log_level": 0})
# A shop of several servers gives each a group of its own: each then reads all slates.
consumer = Consumer(
    {"bootstrap.servers": SERVERS, "group.id": "shop-kafka", "auto.offset.reset": "earliest", "log_level": 0}
)


def publish(kind: str, user_id: str, **fields: Any) -> str:
    """Sends an event, keyed by its user, and returns its id. Sent again with the same id, it counts once."""
    event_id = str(uuid.uuid4())
    event = {"event_id": event_id, "timestamp_ms": time.time_ns() // 10**6, "kind": kind, "user_id": user_id}
    producer.produce("clickstream", json.dumps(event | fields), key=user_id)
    if producer.flush(PATIENCE_S):
        sys.exit(f"{SERVERS} has not taken the event for {PATIENCE_S} s")
    return event_id


def slate_of(event_id: str) -> dict[str, Any]:
    """Waits for the slate that was decided at an event; it echoes the event's id."""
    while True:
        message = consumer.poll(PATIENCE_S)
        if message is None:
            print(f"no slate for {PATIENCE_S} s: does a worker run?", file=sys.stderr)
        elif message.error():
            print(message.error(), file=sys.stderr)
        elif (slate := json.loads(message.value() or b"{}")).get("event_id") == event_id:
            return dict(slate)


def shown_and_clicked(slate: dict[str, Any]) -> None:
    """Reports what the shopper did with a slate; from that the policies learn."""
    decision = {"user_id": slate["user_id"], "decision_id": slate["decision_id"]}
    publish("impression", **decision)
    publish("click", **decision, item_id=slate["items"][0]["item_id"], position=0)


def main() -> None:
    """Asks for both slates."""
    consumer.list_topics(timeout=PATIENCE_S)  # fails where there is no broker
    consumer.subscribe(["recommendations"])

    # With candidates: a search found these items, and "slippers" is new.
    slate = slate_of(publish("decide", "cleo", candidates=[*SHOES, "slippers"], n=2, surface="search"))
    print(json.dumps(slate))
    shown_and_clicked(slate)

    # Without candidates: a new shop knows no items, so its first slates are empty.
    for item in itertools.cycle(SHOES):
        publish("view", "dave", item_id=item, category="shoes", price=79.9)
        slate = slate_of(publish("decide", "dave", surface="home"))
        if slate["items"]:
            break
    print(json.dumps(slate))
    shown_and_clicked(slate)


try:
    main()
except KafkaException as error:
    sys.exit(f"{SERVERS}: {error.args[0].str()}")
except KeyboardInterrupt:
    sys.exit(130)
finally:
    consumer.close()
