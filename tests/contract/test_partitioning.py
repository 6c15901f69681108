"""Keys go where every other client of Kafka puts them."""

from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from confluent_kafka import Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.partitioning import murmur2, partition_of
from tests.timeouts import HANG_S

KEYS = [b"a", b"ab", b"abc", b"abcd", b"user-1", "größe".encode(), "買い物".encode(), bytes(range(256)), b"\xff" * 7]


@given(st.binary(max_size=300))
def test_the_hash_is_aiokafkas(key: bytes) -> None:
    assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@given(st.binary(min_size=1, max_size=40), st.integers(1, 500))
def test_a_partition_is_one_of_those_there_are(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, 1) == 0


def test_partitions_are_those_of_librdkafkas_murmur2() -> None:
    keys = KEYS + [f"user-{number}".encode() for number in range(300)]
    chosen: dict[bytes, int | None] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None
        chosen[bytes(message.key() or b"")] = message.partition()

    producer = Producer(
        {
            "bootstrap.servers": "127.0.0.1:1",
            "test.mock.num.brokers": 1,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
    )
    partitions = len(producer.list_topics("keys", timeout=HANG_S).topics["keys"].partitions)
    assert partitions > 1
    for key in keys:
        producer.produce("keys", b"", key, on_delivery=delivered)
    assert producer.flush(HANG_S) == 0
    assert chosen == {key: partition_of(key, partitions) for key in keys}
    assert len(set(chosen.values())) == partitions
