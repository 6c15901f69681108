"""The whole pipeline on stock Faust: the same core event by event, rows in Faust's RocksDB tables with changelogs."""

from typing import Any

from benchmarks.peers.one_by_one import OneByOne, Record, Rows
from benchmarks.peers.stock_faust import new_app, run
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXAMPLES, ITEM_SIGNALS, ITEMS, MODELS

app = new_app()
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


for name in (CLICKSTREAM, ITEM_SIGNALS, EXAMPLES):
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
    run(app)
