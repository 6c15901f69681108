"""The whole pipeline on stock Faust: the same core event by event, rows in Faust's RocksDB tables with changelogs."""

import os
from typing import Any

import faust

from benchmarks.peers.one_by_one import OneByOne, Record, Rows
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXPERIENCES, ITEMS, MODELS, RELATIONS

app = faust.App(
    "headrace",
    broker=f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}",
    datadir=os.environ["HEADRACE_ENGINE__DATA_DIR"].strip('"'),
    store="rocksdb://?driver=rocksdict",
    topic_allow_declare=False,
    topic_disable_leader=True,
    web_enabled=False,
    broker_commit_interval=0.5,
)
RAW: Any = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
settings = Settings()
folds = OneByOne(settings)
partitions = {topic.name: topic.partitions for topic in settings.topics}
topics = {name: app.topic(name, partitions=partitions[name], **RAW) for name in partitions}


def add(source: str) -> None:
    table: Any = app.Table(f"stock-{source}", partitions=partitions[source], key_type=bytes, value_type=bytes)
    rows = Rows(table.get, table.__setitem__)

    async def fold(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            record = Record(message.offset, int(message.timestamp * 1000), message.key, message.value)
            for output in folds.fold(source, message.partition, record, rows):
                await topics[output.topic].send(key=output.key, value=output.value, partition=output.partition)

    app.agent(topics[source], name=source)(fold)


for name in (CLICKSTREAM, RELATIONS, EXPERIENCES):
    add(name)


@app.agent(topics[ITEMS])
async def items(values: Any) -> None:
    async for value in values:
        folds.take_item(value)


@app.agent(topics[MODELS])
async def models(values: Any) -> None:
    async for value in values:
        folds.take_model(value)


if __name__ == "__main__":
    app.finalize()
    faust.Worker(app, loglevel="error").execute_from_commandline()
