"""Faust as its documentation has it: a table in RocksDB with its changelog, an output sent for each event."""

import os
from typing import Any

import faust


def new_app() -> faust.App:
    return faust.App(
        "headrace",
        broker=f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}",
        datadir=os.environ["HEADRACE_ENGINE__DATA_DIR"].strip('"'),
        store="rocksdb://?driver=rocksdict",
        topic_partitions=4,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        broker_commit_interval=0.5,
    )


def run(app: faust.App) -> None:
    app.finalize()
    faust.Worker(app, loglevel="error").execute_from_commandline()


def main() -> None:
    app = new_app()
    source = app.topic("clickstream", value_serializer="json", key_type=str)
    predictions = app.topic("predictions", value_serializer="json", key_type=str)
    users = app.Table("stock-users", default=dict, partitions=4)

    async def count(events: Any) -> None:
        async for key, event in events.items():
            row = users[key] or {"events": 0, "sum": 0.0}
            row = {"events": row["events"] + 1, "sum": row["sum"] + event["price"]}
            users[key] = row
            await predictions.send(key=key, value=row)

    app.agent(source)(count)
    run(app)


if __name__ == "__main__":
    main()
