"""A Faust app that hands over micro-batches."""

import threading
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol, cast

import faust
from confluent_kafka import KafkaException
from faust.tables.manager import TableManager
from faust.types import TP
from yarl import URL

from streams.contract.errors import BrokenInvariant, RefusedStart
from streams.contract.settings import Settings
from streams.contract.topics import EXPERIENCES, RELATIONS
from streams.engine.allocator import keep_freed_memory
from streams.engine.connection import faust_credentials
from streams.engine.databases import Databases
from streams.engine.delivery import Delivery
from streams.engine.exits import FAILED, OVERDUE, REFUSED, UNREACHABLE, end_process
from streams.engine.garbage import collect_seldom
from streams.engine.incidents import REBALANCE_BEGINS, REBALANCE_ENDS, WORKER_STARTS, WORKER_STOPS, report
from streams.engine.offsets import Offsets
from streams.engine.tables import BatchTable, standby_left
from streams.engine.transport import BatchTransport, Undecoded
from streams.engine.turns import take_short_turns
from streams.engine.watchdog import Watchdog

_REQUEST_S: Final = 90.0


class Background(Protocol):
    """Something that runs beside the agents, on a thread of its own."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class BatchApp(faust.App):
    """Faust with the transport, tables and process rules of the engine.

    Args:
        group: The consumer group, and Faust's application id.

    Attributes:
        background: Started in order before the agents, stopped after them.
        outputs: Where the folds' outputs go.
        watchdog: Ends the process when it stands still; knows the lag.
        is_started: Whether all that runs in the background has started, the feeds read whole, and nothing is stopping.
    """

    def __init__(self, settings: Settings, group: str = "") -> None:
        engine, kafka = settings.engine, settings.kafka
        group = group or engine.app_id
        urls = [URL(f"kafka://{server.strip()}") for server in kafka.bootstrap_servers.split(",")]
        super().__init__(
            group,
            broker=urls,
            broker_credentials=faust_credentials(kafka),
            datadir=str(Path(engine.data_dir).resolve()),
            store="rocksdb://?driver=rocksdict",
            Table="streams.engine.tables:BatchTable",
            Worker="streams.engine.process:BatchWorker",
            topic_partitions=kafka.partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            web_bind="127.0.0.1",
            broker_session_timeout=engine.session_timeout_s,
            # A join is answered when every member has joined or lost its session; Faust refuses less.
            broker_request_timeout=max(_REQUEST_S, engine.session_timeout_s + _REQUEST_S / 2),
            broker_heartbeat_interval=engine.heartbeat_interval_s,
            broker_commit_interval=engine.commit_interval_s,
            broker_max_poll_records=engine.batch_records,
            stream_buffer_maxsize=engine.buffer_batches,
            stream_wait_empty=True,
            stream_recovery_delay=0.0,
            table_standby_replicas=engine.standby_replicas,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=engine.instance_id or None,
        )
        self.settings = settings
        self.background: list[Background] = []
        self.offsets = Offsets(kafka)
        self.outputs = Delivery(settings)
        self.watchdog = Watchdog(kafka, group, engine.watchdog_s)
        self._databases = Databases(engine)
        self.is_started = False
        self._is_ending = False
        self._rebalance_since_s = monotonic()
        self._expected_partitions: dict[str, int] = {}
        self._sources: set[str] = set()
        self.transport = BatchTransport(
            urls,
            self,
            batch_records=engine.batch_records,
            fetch_wait_ms=engine.fetch_wait_ms,
            hold_ms={RELATIONS: engine.hold_ms, EXPERIENCES: engine.hold_ms},
            take_over=self._take_over,
        )

    def batches(self, topic: str, partitions: int) -> Any:
        """Declares a source topic whose fetched runs of records are one event each."""
        self._expected_partitions[topic] = partitions
        self._sources.add(topic)
        return self.topic(topic, schema=Undecoded(), partitions=partitions)

    def rows(self, name: str, changelog: str, partitions: int) -> BatchTable:
        """Declares a table of rows as bytes."""
        self._expected_partitions[changelog] = partitions
        table: Any = self.Table(
            name,
            partitions=partitions,
            schema=Undecoded(),
            changelog=changelog,
            coverage=self.offsets.coverage,
            watchdog=self.watchdog,
            databases=self._databases,
        )
        return cast(BatchTable, table)

    async def on_start(self) -> None:
        """Starts what runs in the background; without its feeds, or on a cluster that misfits, nothing may begin."""
        begun_s = monotonic()
        try:
            self.offsets.refuse_other_counts(self._expected_partitions)
            self.outputs.start()
            for service in self.background:
                service.start()
        except RefusedStart as refusal:
            end_process(REFUSED, str(refusal))
        except KafkaException as error:
            end_process(UNREACHABLE, f"no broker answers at {self.settings.kafka.bootstrap_servers}: {error}")
        self.is_started = True
        report(
            WORKER_STARTS,
            group=self.conf.id,
            data_dir=self.settings.engine.data_dir,
            seconds=_since(begun_s),
        )
        await super().on_start()
        collect_seldom()
        keep_freed_memory()
        take_short_turns()
        self.watchdog.start()

    async def _take_over(self, assigned: set[TP]) -> None:
        """Fences the last owners of what this worker is to fold."""
        sources = {tp for tp in assigned if tp.topic in self._sources}
        try:
            await self.outputs.take_over(sources)
        except BrokenInvariant as error:
            end_process(FAILED, f"its partitions could not be taken over: {error}")
        self.watchdog.assigned()

    def on_rebalance_start(self) -> None:
        """Tells the watchdog, which wants to see the rebalance end."""
        self._rebalance_since_s = monotonic()
        report(REBALANCE_BEGINS)
        self.watchdog.rebalancing()
        super().on_rebalance_start()

    def on_rebalance_end(self) -> None:
        """Tells the watchdog what this worker has to read now."""
        super().on_rebalance_end()
        recovery = cast(TableManager, self.tables).recovery
        self.watchdog.settled(self.consumer.assignment(), standby_left(recovery) if recovery.standby_tps else None)
        condition = self.watchdog.condition()
        report(
            REBALANCE_ENDS,
            partitions=len(condition.assigned or ()),
            seconds=_since(self._rebalance_since_s),
            recovered_rows=condition.recovery.rows if condition.recovery else 0,
            rows_per_s=round(condition.recovery.rows_per_s) if condition.recovery else 0,
        )

    async def stop(self) -> None:
        """Stops, with all that runs for it, within a bound: Faust would wait for ever for what is not acknowledged."""
        if self._is_ending:
            return
        self._is_ending = True
        deadline = threading.Timer(
            self.settings.engine.shutdown_timeout_s, end_process, (OVERDUE, "the shutdown took too long")
        )
        deadline.daemon = True
        deadline.start()
        begun_s = monotonic()
        try:
            await super().stop()
        finally:
            deadline.cancel()
        report(WORKER_STOPS, seconds=_since(begun_s))

    async def on_stop(self) -> None:
        """Ends what runs in the background when the agents have finished their batches."""
        self.is_started = False
        self.watchdog.stop()
        await super().on_stop()
        for service in reversed(self.background):
            service.stop()


def _since(begun_s: float) -> float:
    return round(monotonic() - begun_s, 3)
