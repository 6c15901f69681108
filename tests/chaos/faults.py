"""The faults: each does one thing to a scene under load, and leaves it to whoever supervises to mend it."""

import resource
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from streams.brokers.apache_kafka import ApacheKafka
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.mock_cluster import Request
from tests.chaos.scene import Fault, Scene
from tests.engine.supervised import QUICK, Process
from tests.timeouts import scaled

SESSION_S: Final = float(QUICK["ENGINE__SESSION_TIMEOUT_S"])
FULL_AT_BYTES: Final = 4096
ROUND_TRIP_MS: Final = 400
BURSTS: Final = {Request.SYNC_GROUP: 1}
"""How often in a row each error comes; one of these costs a whole rebalance, and now and then a whole start."""


def drawn(it: Scene) -> Process:
    return it.workers[it.draw.randrange(len(it.workers))]


def sigkill(it: Scene) -> None:
    """A worker is gone from one moment to the next, in the middle of what is published."""
    time.sleep(it.draw.uniform(0.0, 0.3))
    drawn(it).kill()


def sigterm(it: Scene) -> None:
    """A worker is told to end, and does within its bound; one that has just been started ends at once."""
    worker = drawn(it)
    worker.send(signal.SIGTERM)
    code = worker.wait()
    assert code in (0, -signal.SIGTERM), f"{code}: {worker.log.read_text()}"


def sigstop(it: Scene) -> None:
    """A worker is paused for longer than its session, and wakes up while another does its work."""
    worker = drawn(it)
    worker.send(signal.SIGSTOP)
    time.sleep(SESSION_S + scaled(2.0))
    it.publish(200)
    worker.send(signal.SIGCONT)


def disk_wiped(it: Scene) -> None:
    """A worker is killed and comes back with an empty disk."""
    worker = drawn(it)
    worker.kill()
    shutil.rmtree(worker.data_dir, ignore_errors=True)


def disk_full(it: Scene) -> None:
    """No file of a worker's can grow any more: as the limit on file sizes makes it, writes fail."""
    worker = drawn(it)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (FULL_AT_BYTES, FULL_AT_BYTES))
    it.publish(2000)
    assert worker.wait() != 0


def poison_record(it: Scene) -> None:
    """Somebody publishes what is no event."""
    for user in ("poison-1", "poison-2"):
        it.publish_raw(b"{not json", user)
    it.publish(200)


def clock_jumps(it: Scene) -> None:
    """A worker's wall clock jumps by a day, forth and back."""
    worker = drawn(it)
    worker.kill()
    it.workers[it.workers.index(worker)] = it.start_worker(worker.data_dir.name, "clock")


def compaction(it: Scene) -> None:
    """The changelog is compacted as hard as the broker can, and a worker comes back with an empty disk."""
    client = AdminClient({"bootstrap.servers": it.servers, "log_level": 2})
    hard = {
        "cleanup.policy": "compact",
        "segment.ms": "200",
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "200",
        "delete.retention.ms": "100",
    }
    changed = ConfigResource(ConfigResource.Type.TOPIC, "users-changelog", set_config=hard)
    for future in client.alter_configs([changed]).values():
        future.result()
    for _ in range(5):
        it.publish(100)
        time.sleep(0.5)
    disk_wiped(it)


def broker_killed(kafka: ApacheKafka) -> Fault:
    def fault(it: Scene) -> None:
        """The broker is gone from one moment to the next, and comes back on its data."""
        node = it.draw.choice(kafka.nodes)
        kafka.kill(node)
        time.sleep(it.draw.uniform(0.0, 1.0))
        kafka.restart(node)

    return fault


def leader_changes(kafka: ApacheKafka) -> Fault:
    def fault(it: Scene) -> None:
        """A node of three is killed: its partitions get other leaders while it is away."""
        node = it.draw.choice(kafka.nodes)
        kafka.kill(node)
        it.until_recovered()
        kafka.restart(node)

    return fault


def errors_of(broker: EmbeddedBroker, request: Request, codes: Sequence[int]) -> Fault:
    def fault(it: Scene) -> None:
        """The broker refuses requests of one kind, or closes the connection, while a worker leaves and one comes."""
        broker.fail_requests(request, [*codes, KafkaError._TRANSPORT] * BURSTS.get(request, 4))
        it.publish(200)
        sigterm(it)

    return fault


def slow_round_trips(broker: EmbeddedBroker) -> Fault:
    def fault(it: Scene) -> None:
        """Every answer of the broker takes 400 ms, for a while; what is left to fold then is folded a set at a time."""
        it.until_quiet()
        broker.set_round_trip(ROUND_TRIP_MS)
        it.publish(500)
        it.until_recovered()
        sigterm(it)
        it.until_recovered()
        broker.set_round_trip(0)

    return fault


OF_WORKERS: Final[dict[str, Fault]] = {
    "SIGKILL": sigkill,
    "SIGTERM": sigterm,
    "SIGSTOP beyond the session": sigstop,
    "disk wiped": disk_wiped,
    "disk full": disk_full,
    "poison record": poison_record,
    "clock jumps": clock_jumps,
    "forced compaction": compaction,
}

OF_REQUESTS: Final[dict[Request, tuple[int, ...]]] = {
    Request.PRODUCE: (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
    ),
    Request.FETCH: (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART),
    Request.LIST_OFFSETS: (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART),
    Request.METADATA: (KafkaError.LEADER_NOT_AVAILABLE,),
    Request.OFFSET_COMMIT: (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR),
    Request.OFFSET_FETCH: (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR),
    Request.FIND_COORDINATOR: (KafkaError.COORDINATOR_NOT_AVAILABLE,),
    Request.JOIN_GROUP: (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR),
    Request.SYNC_GROUP: (KafkaError.NOT_COORDINATOR, KafkaError.REBALANCE_IN_PROGRESS),
    Request.HEARTBEAT: (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.NOT_COORDINATOR, KafkaError.UNKNOWN_MEMBER_ID),
    Request.INIT_PRODUCER_ID: (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR),
}
"""What a broker may answer to each kind of request while it is well again soon."""


OF_EMBEDDED_BROKER: Final[dict[str, Callable[[EmbeddedBroker], Fault]]] = {
    **{
        f"errors of {request.name.title().replace('_', '')}": partial(errors_of, request=request, codes=codes)
        for request, codes in OF_REQUESTS.items()
    },
    f"round trips of {ROUND_TRIP_MS} ms": slow_round_trips,
}
"""The faults that only a broker which takes orders can do, each of such a broker."""
