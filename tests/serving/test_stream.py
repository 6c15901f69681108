"""Topics as server-sent events, from a broker: nothing twice or missing over reconnections, what is dropped is said."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS, RECOMMENDATIONS
from streams.serving import stream
from streams.serving.problems import Problem
from streams.serving.stream import MAX_FOLLOWERS, Follower, Followers
from tests.system.cluster import EmbeddedCluster, cluster
from tests.system.test_operations import events
from tests.timeouts import Deadline

pytestmark = pytest.mark.broker


class Sent(NamedTuple):
    """A server-sent event."""

    type: str
    id: str
    data: Any


def parsed(text: bytes) -> list[Sent]:
    blocks = [block for block in text.decode().split("\n\n") if block and not block.startswith(":")]
    fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [Sent(each["event"], each.get("id", ""), json.loads(each["data"])) for each in fields]


def read(follower: Follower, n: int) -> list[Sent]:
    found: list[Sent] = []
    deadline = Deadline(lambda: found)
    while len(found) < n:
        deadline.check()
        found += parsed(follower.read())
    return found


@pytest.fixture
def it(tmp_path: Path) -> Iterator[EmbeddedCluster]:
    with cluster(tmp_path) as made:
        yield made


def followed(it: EmbeddedCluster, user_id: str | None = None, last_id: str = "", *topics: str) -> Follower:
    topics = topics or (CLICKSTREAM, DEAD_LETTERS)
    follower = Follower(it.settings, topics, user_id, stream._positions(last_id, topics))
    follower.start()
    return follower


def test_a_connection_that_comes_back_goes_on_where_it_was(it: EmbeddedCluster) -> None:
    it.publish(events(0, 5))
    first = followed(it)
    it.publish(events(5, 100))
    seen = read(first, 100)
    first.close()
    assert {each.data["value"]["event_id"] for each in seen} == {f"e{number}" for number in range(5, 105)}
    again = followed(it, None, seen[40].id)
    rest = read(again, 59)
    assert [(each.data["partition"], each.data["offset"]) for each in rest if each in seen[:41]] == []
    assert {each.data["value"]["event_id"] for each in seen[:41] + rest} == {f"e{number}" for number in range(5, 105)}
    assert parsed(again.read()) == []
    again.close()


def test_a_user_has_only_their_own(it: EmbeddedCluster) -> None:
    follower = followed(it, "user-3")
    it.publish(events(0, 70))
    assert {each.data["key"] for each in read(follower, 10)} == {"user-3"}
    assert parsed(follower.read()) == []
    follower.close()


def test_what_is_no_json_is_text_on_one_line(it: EmbeddedCluster) -> None:
    follower = followed(it)
    it.produce(b'{"a":\n1}', b"k", 0)
    it.produce(b"\xff\nid: 5\n\n", b"k", 0)
    assert [each.data["value"] for each in read(follower, 2)] == [{"a": 1}, "�\nid: 5\n\n"]
    follower.close()


def test_a_slow_connection_gets_the_latest_and_the_number_that_it_missed(
    it: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_TOO_FAR_BEHIND", 50)
    monkeypatch.setattr(stream, "_AT_ONCE", 5)
    follower = followed(it)
    it.publish(events(0, 2000))
    found: list[Sent] = []
    deadline = Deadline(lambda: found)
    counted = 0
    while counted < 2000:
        deadline.check()
        new = parsed(follower.read())
        found += new
        counted += sum(each.data["records"] if each.type == "dropped" else 1 for each in new)
    assert counted == 2000
    assert any(each.type == "dropped" for each in found)
    it.publish(events(2000, 1))
    assert read(follower, 1)[-1].data["value"]["event_id"] == "e2000"
    follower.close()


def test_what_cannot_be_followed_is_said(it: EmbeddedCluster) -> None:
    async def test() -> None:
        followers = Followers(it.settings)
        for topics, last_id in ((["models"], ""), ([""], ""), ([RECOMMENDATIONS], "x")):
            with pytest.raises(Problem) as refused:
                await followers.open(topics, None, last_id)
            assert refused.value.status == 422
        opened = [await followers.open([RECOMMENDATIONS], None, "") for _ in range(MAX_FOLLOWERS)]
        with pytest.raises(Problem) as refused:
            await followers.open([RECOMMENDATIONS], None, "")
        assert refused.value.status == 429
        for each in opened:
            await followers.close(each)
        last = await followers.open([RECOMMENDATIONS], None, "")
        followers.end()
        assert await followers.read(last) is None
        await followers.close(last)

    asyncio.run(test())


def test_a_broker_without_the_topics_is_said() -> None:
    async def test(settings: Settings) -> None:
        with pytest.raises(Problem) as refused:
            await Followers(settings).open([RECOMMENDATIONS], None, "")
        assert refused.value.status == 503

    with EmbeddedBroker({}) as broker:
        servers = broker.bootstrap_servers
    asyncio.run(test(Settings(kafka=Kafka(bootstrap_servers=servers))))
