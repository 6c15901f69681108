"""A confluent-kafka loop with a dictionary: no rows on disk, no changelog, no recovery; what is left of the job."""

import os
import signal

import orjson
from confluent_kafka import Consumer, Producer

stopping = False


def stop(*_: object) -> None:
    global stopping  # noqa: PLW0603 - a script's only flag, set by a signal
    stopping = True


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    servers = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}
    consumer = Consumer(
        {**servers, "group.id": "headrace", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    producer = Producer({**servers, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5})
    consumer.subscribe(["clickstream"])
    rows: dict[bytes | None, list[float]] = {}
    while not stopping:
        messages = consumer.consume(2000, 0.2)
        for message in messages:
            event = orjson.loads(message.value() or b"{}")
            key = message.key()
            row = rows.setdefault(key, [0, 0.0])
            row[0] += 1
            row[1] += event["price"]
            producer.produce("predictions", orjson.dumps({"events": row[0], "sum": row[1]}), key)
        producer.poll(0)
        if messages:
            producer.flush()
            consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main()
