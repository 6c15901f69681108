"""Faust app whose streams are micro-batches."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

import faust
from confluent_kafka import KafkaException
from faust.tables.manager import TableManager
from faust.types import TP
from yarl import URL

from streams.contract.errors import BrokenInvariant, RefusedStart
from streams.contract.settings import Settings
from streams.contract.topic_config import TIMESTAMP_TYPE, differences, refusal
from streams.engine.access import refuse_missing_access
from streams.engine.connection import faust_credentials
from streams.engine.data_directory import allow_open_files, lock_data_directory
from streams.engine.delivery import Delivery
from streams.engine.exit_codes import FAILED, OVERDUE, REFUSED, UNREACHABLE, end_process
from streams.engine.identity import how_to_begin_anew, how_to_reset_offset
from streams.engine.incidents import (
    REBALANCE_BEGINS,
    REBALANCE_ENDS,
    TOPICS_DIFFER,
    TOPICS_NOT_COMPARED,
    UNPROTECTED_TIME,
    WORKER_STARTS,
    WORKER_STOPS,
    report,
)
from streams.engine.offsets import Offsets
from streams.engine.reachability import is_unauthorised, unauthorised, why_unreachable
from streams.engine.runtime_tuning import tune_runtime
from streams.engine.tables import BatchTable, Databases, standby_left
from streams.engine.topic_configs import read_topic_configs
from streams.engine.topic_ids import TopicIds
from streams.engine.transport import BatchTransport, Undecoded
from streams.engine.watchdog import Watchdog

_REQUEST_S: Final = 90.0


class Background(Protocol):
    """Service on a thread of its own, beside the agents."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class BatchApp(faust.App):
    """Faust with the transport, tables and process rules of the engine.

    Args:
        group: The consumer group, and Faust's application id.
        reading_groups: Source topic, also of folds that other workers run, to the groups whose members may read it.

    Attributes:
        background: Services; started in this order before the agents, stopped in reverse order after them.
        outputs: Producer of the folds' outputs and changelog rows.
        watchdog: Ends a stalled process, and knows its lag.
        origins: Topics that others write; rows and all other topics can be made anew from them.
        is_started: Whether all services have started, with the global tables read to their ends, and none is stopping.
    """

    def __init__(
        self,
        settings: Settings,
        group: str = "",
        reading_groups: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        engine, kafka = settings.engine, settings.kafka
        group = group or settings.names.group()
        urls = [URL(f"kafka://{server.strip()}") for server in kafka.bootstrap_servers.split(",")]
        super().__init__(
            group,
            broker=urls,
            broker_credentials=faust_credentials(kafka),
            datadir=str(Path(engine.data_dir).resolve()),
            store="rocksdb://?driver=rocksdict",
            Table="streams.engine.tables:BatchTable",
            TableManager="streams.engine.tables:BatchTableManager",
            Worker="streams.engine.app:BatchWorker",
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
        self.origins: set[str] = set()
        self.offsets = Offsets(settings)
        self.topic_ids = TopicIds(settings)
        self.outputs = Delivery(settings)
        self.watchdog = Watchdog(settings, self.topic_ids, group, reading_groups)
        self._databases = Databases(engine)
        self.is_started = False
        self._is_ending = False
        self._rebalance_since_s = monotonic()
        self._expected_partitions: dict[str, int] = {}
        self._hold_ms: dict[str, int] = {}  # by name of the source on the cluster
        self._called: dict[str, str] = {}  # by name on the cluster
        self.transport = BatchTransport(
            urls,
            self,
            batch_records=engine.batch_records,
            fetch_wait_ms=engine.fetch_wait_ms,
            hold_ms=self._hold_ms,
            take_over=self._take_over,
        )

    def batches(self, topic: str, partitions: int, hold_ms: int = 0) -> Any:
        """Declares a source topic; each event of its stream is a :class:`~streams.engine.transport.Batch`.

        Args:
            hold_ms: How long records are collected, for larger batches.
        """
        name = self._name(topic, partitions)
        self._hold_ms[name] = hold_ms
        return self.topic(name, schema=Undecoded(), partitions=partitions)

    def rows(self, name: str, changelog: str, partitions: int) -> BatchTable:
        """Declares a table of rows as bytes."""
        changelog_name = self._name(changelog, partitions)
        table: Any = self.Table(
            name,
            partitions=partitions,
            schema=Undecoded(),
            changelog=changelog_name,
            coverage=partial(self.offsets.coverage, changelog),
            watchdog=self.watchdog,
            databases=self._databases,
            how_to_begin_anew=self.how_to_begin_anew,
        )
        return cast(BatchTable, table)

    def _name(self, topic: str, partitions: int) -> str:
        """Notes a topic that Faust reads, and returns its name on the cluster."""
        self._expected_partitions[topic] = partitions
        name = self.settings.names.topic(topic)
        self._called[name] = topic
        return name

    def _as_called(self, partitions: Iterable[TP]) -> set[TP]:
        """Replaces names on the cluster by those in the code."""
        return {TP(self._called[tp.topic], tp.partition) for tp in partitions}

    def how_to_begin_anew(self, counts: Mapping[str, int] = MappingProxyType({})) -> str:
        """Returns the command for it.

        Args:
            counts: Partitions of topics where they are not those of the settings.
        """
        found = [counts[origin] for origin in self.origins if origin in counts]
        return how_to_begin_anew(self.settings, max(found, default=self.settings.kafka.partitions))

    def how_to_reset_offset(self, topic: str, partition: int, offset: int) -> str:
        """Returns the command that has the group read a partition from an offset on."""
        names = self.settings.names
        return how_to_reset_offset(self.conf.id, names.topic(topic), partition, offset, self.settings.kafka)

    async def on_first_start(self) -> None:
        """Locks the data directory before Faust makes its own directories there; ends the process if that fails."""
        try:
            allow_open_files(sum(self._expected_partitions.values()))
            lock_data_directory(Path(self.settings.engine.data_dir).resolve())
        except RefusedStart as refusal:
            end_process(REFUSED, str(refusal))
        await super().on_first_start()

    async def on_start(self) -> None:
        """Checks the topics and starts the services, then Faust; ends the process if that fails."""
        begun_s = monotonic()
        try:
            refuse_missing_access(self.settings, self.conf.id)
            self.offsets.refuse_other_counts(self._expected_partitions, self.how_to_begin_anew)
            self._compare_topics()
            self.outputs.start()
            for service in self.background:
                service.start()
        except RefusedStart as refusal:
            end_process(REFUSED, str(refusal))
        except KafkaException as error:
            kafka, cause = self.settings.kafka, error.args[0]
            if is_unauthorised(cause):
                end_process(REFUSED, str(unauthorised(cause, kafka)))
            why = why_unreachable(kafka) or cause.str()
            end_process(UNREACHABLE, f"no broker answers at {kafka.bootstrap_servers}: {why}")
        self.is_started = True
        report(WORKER_STARTS, group=self.conf.id, data_dir=self.settings.engine.data_dir, seconds=_since(begun_s))
        await super().on_start()
        tune_runtime()
        self.watchdog.start(self._expected_partitions)

    def _compare_topics(self) -> None:
        """Reports how the topics differ from what they should be.

        Raises:
            RefusedStart: A topic would lose rows or records.
        """
        kafka, engine, topics = self.settings.kafka, self.settings.engine, self.settings.topics
        found, unread = read_topic_configs(self.topic_ids.client, [topic.name for topic in topics])
        different = differences(topics, found, kafka, engine)
        if losing := refusal(different, kafka):
            raise RefusedStart(losing)
        if different:
            report(TOPICS_DIFFER, where="; ".join(map(str, different)))
        origins = set(map(self.settings.names.topic, self.origins))
        stamped = {each.topic for each in different if each.name == TIMESTAMP_TYPE} & origins
        if stamped:
            report(UNPROTECTED_TIME, topics=",".join(sorted(stamped)))
        if unread:
            report(TOPICS_NOT_COMPARED, why=unread)

    async def _take_over(self, assigned: set[TP]) -> None:
        """Fences the previous owners of the assigned source partitions."""
        sources = {tp for tp in assigned if tp.topic in self._hold_ms}
        try:
            await self.outputs.take_over(self._as_called(sources))
        except RefusedStart as refusal:
            end_process(REFUSED, str(refusal))
        except BrokenInvariant as error:
            end_process(FAILED, f"the assigned partitions could not be taken over: {error}")
        self.watchdog.recovery_started()

    def on_rebalance_start(self) -> None:
        """Starts the watchdog's timer for the rebalance."""
        self._rebalance_since_s = monotonic()
        report(REBALANCE_BEGINS)
        self.watchdog.rebalance_started()
        super().on_rebalance_start()

    def on_rebalance_end(self) -> None:
        """Tells the watchdog which partitions are assigned."""
        super().on_rebalance_end()
        recovery = cast(TableManager, self.tables).recovery
        left = standby_left(recovery) if recovery.standby_tps else None
        self.watchdog.rebalance_ended(self._as_called(self.consumer.assignment()), left)
        condition = self.watchdog.condition()
        report(
            REBALANCE_ENDS,
            partitions=len(condition.assigned or ()),
            seconds=_since(self._rebalance_since_s),
            recovered_rows=condition.recovery.rows if condition.recovery else 0,
            rows_per_s=round(condition.recovery.rows_per_s) if condition.recovery else 0,
        )

    async def stop(self) -> None:
        """Stops within ``shutdown_timeout_s``; Faust alone would wait for ever for unacknowledged batches."""
        if self._is_ending:
            return
        self._is_ending = True
        deadline = threading.Timer(
            self.settings.engine.shutdown_timeout_s,
            end_process,
            (OVERDUE, "the shutdown took longer than engine.shutdown_timeout_s"),
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
        """Stops the services after the agents have finished their batches."""
        self.is_started = False
        self.watchdog.stop()
        await super().on_stop()
        for service in reversed(self.background):
            service.stop()


class BatchWorker(faust.Worker):
    """Faust's worker process without its spinner, and without a second of sleep at the end.

    The spinner writes cursor codes even into a pipe. It also handles log records of every level, so that all of
    aiokafka's debug messages would be formatted and then dropped.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spinner = None

    def carp(self, msg: str) -> None:
        """Prints nothing; Faust would print that Ctrl-C was pressed."""

    async def _sentinel_task(self) -> None:
        """Does nothing; Faust would sleep for a second before it closes the event loop."""


def _since(begun_s: float) -> float:
    return round(monotonic() - begun_s, 3)
