"""What a door follows: it waits for topics that are not there yet, without noise."""

import asyncio
import time

import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.settings import Kafka, Settings
from streams.serving import outputs
from streams.serving.outputs import KnownItems, OutputReader
from streams.serving.slates import new_memory
from tests.timeouts import Deadline


@pytest.mark.broker
def test_topics_that_are_not_there_yet_are_waited_for_with_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[bool] = []
    assign = OutputReader._assign

    def counted(self: OutputReader, consumer: object) -> bool:
        tries.append(assign(self, consumer))  # type: ignore[arg-type]
        return tries[-1]

    monkeypatch.setattr(OutputReader, "_assign", counted)

    async def follow(broker: EmbeddedBroker, settings: Settings) -> None:
        reader = OutputReader(settings, new_memory(settings), KnownItems(settings), asyncio.get_running_loop())
        try:
            begun_s, deadline = time.monotonic(), Deadline(lambda: tries)
            while len(tries) < 2:
                deadline.check()
                await asyncio.sleep(0.05)
            assert len(tries) <= 1 + (time.monotonic() - begun_s) / outputs._RETRY_S
            assert reader.reasons_not_ready() == ["no broker has told where the topics begin"]
            for topic in settings.topics:
                broker.create_topic(topic.name, topic.partitions)
            deadline = Deadline(reader.reasons_not_ready)
            while reader.reasons_not_ready():
                deadline.check()
                await asyncio.sleep(0.05)
        finally:
            await reader.close()

    with EmbeddedBroker() as broker:
        asyncio.run(follow(broker, Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers))))
    assert len([each for each in caplog.records if each.name == outputs.__name__]) <= len(tries)
