"""The door's writer when its producer cannot go on."""

import asyncio

import pytest
from msgspec.structs import replace

from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.mock_cluster import Request
from streams.contract.errors import UndeliveredOutput
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM
from streams.serving.clickstream import ClickstreamWriter
from streams.serving.submission import NewRecord

OUT_OF_ORDER_SEQUENCE_NUMBER = 45
RECORDS = [NewRecord(b"ann", b"1"), NewRecord(b"bob", b"2")]


def test_a_fatal_error_fails_what_waits_and_the_next_request_has_a_new_producer() -> None:
    async def run(settings: Settings) -> None:
        writer = ClickstreamWriter(settings, asyncio.get_running_loop())
        try:
            assert len(await writer.append(RECORDS)) == 2
            broker.fail_requests(Request.PRODUCE, [OUT_OF_ORDER_SEQUENCE_NUMBER])
            with pytest.raises(UndeliveredOutput):
                await writer.append(RECORDS)
            assert len(await writer.append(RECORDS)) == 2
            assert writer.producers == 2
        finally:
            await writer.close()

    with EmbeddedBroker({CLICKSTREAM: Settings().kafka.partitions}) as broker:
        kafka = replace(Settings().kafka, bootstrap_servers=broker.bootstrap_servers)
        asyncio.run(run(replace(Settings(), kafka=kafka)))
