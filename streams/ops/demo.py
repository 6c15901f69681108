"""The main job on one machine: broker, worker and synthetic shoppers in a closed loop, watched until they are done."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from rich.console import Console

from producers.simulator.simulate import PolicyTruth
from streams.contract.connection import client_configuration
from streams.contract.errors import BrokenInvariant
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXPERIENCES, METRICS, RELATIONS
from streams.ops.board import Board
from streams.ops.broker import EmbeddedBroker
from streams.ops.live import View, amounts_line, choose_view, policies_table, regret_line, targets_table
from streams.ops.simulating import describe_truth
from streams.ops.topics import create_topics

_POLL_S: Final = 0.25
_QUIET_S: Final = 3.0
_DRAIN_S: Final = 120.0
_STOP_S: Final = 20.0
_OF_PROBABILITIES: Final = ("auc", "log_loss", "base_log_loss", "calibration", "accuracy", "recall", "f1", "threshold")
_OF_AMOUNTS: Final = ("mean", "mae", "base_mae", "rmse", "base_rmse", "calibration")


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a demo can be told.

    Attributes:
        events: The simulation ends after so many, feedback included.
        seconds: Or after so long, whichever comes first; 0 for no limit.
        users: Synthetic shoppers.
        embedded: Run on a broker of its own; otherwise on the one that the settings name.
    """

    events: int
    seconds: float
    seed: int
    users: int
    headless: bool
    embedded: bool


def run_demo(settings: Settings, options: DemoOptions) -> dict[str, Any]:
    """Runs the demo and returns its report; nothing it started is left running, whatever happens.

    Raises:
        BrokenInvariant: A part of it ended that should not have, or events were left unapplied.
    """
    console = Console()
    view = choose_view(console, headless=options.headless)
    begun = time.monotonic()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-")))
            settings = _with_broker(settings, options, stack)
            board, summary = _run(settings, options, folder, view, stack, begun)
    finally:
        view.close()
    report = make_report(board, summary, time.monotonic() - begun)
    _print_summary(console, board, report)
    return report


def make_report(board: Board, summary: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Puts the exact totals of the worker beside what the simulator says it published."""
    totals = board.totals()
    policies = totals["policies"]
    for name, truth in summary["policies"].items():
        if name in policies:
            policies[name] |= describe_truth(PolicyTruth(**truth))
    return {
        "events": {
            "produced": summary["produced"],
            "applied": totals["applied"],
            "dead_letters": sum(totals["dead_letters"].values()),
            "duplicates": totals["duplicates"],
            "late": totals["late"],
        },
        "decisions": totals["decisions"],
        "impressions": sum(policy["impressions"] for policy in policies.values()),
        "clicks": sum(policy["clicks"] for policy in policies.values()),
        "purchases": summary["by_kind"].get("purchase", 0),
        "unjoinable": totals["unjoinable"],
        "fallbacks": summary["fallbacks"],
        "policies": policies,
        "targets": _measured(board, "positives", _OF_PROBABILITIES),
        "amounts": _measured(board, "amount", _OF_AMOUNTS),
        "throughput_events_per_s": totals["applied"] / max(board.busy_s, 1e-9),
        "latency_ms": board.overall_latency_ms(),
        "seconds": seconds,
    }


def _measured(board: Board, total: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Says how good the champions were whose labels sum up to ``total``."""
    return {
        name: {
            "examples": record["examples"],
            total: record[total],
            **{key: record["members"][record["champion"]][key] for key in keys},
        }
        for name, record in board.learners().items()
        if total in record
    }


def _with_broker(settings: Settings, options: DemoOptions, stack: ExitStack) -> Settings:
    if not options.embedded:
        create_topics(settings)
        return settings
    broker = stack.enter_context(EmbeddedBroker({topic.name: topic.partitions for topic in settings.topics}))
    kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=broker.bootstrap_servers)
    return msgspec.structs.replace(settings, kafka=kafka)


def _run(
    settings: Settings, options: DemoOptions, folder: Path, view: View, stack: ExitStack, begun: float
) -> tuple[Board, dict[str, Any]]:
    config = folder / "headrace.json"
    config.write_bytes(msgspec.json.encode(settings))
    summary_file = folder / "simulation.json"
    metrics = stack.enter_context(_metrics(settings))
    worker = stack.enter_context(child("worker", [str(config), str(folder / "data")]))
    simulator = stack.enter_context(
        child("simulator", [str(config), str(options.events), str(options.seed), str(options.users), str(summary_file)])
    )
    board = Board()
    deadline = begun + options.seconds if options.seconds else float("inf")
    drained_by = float("inf")
    quiet_since = time.monotonic()
    summary: dict[str, Any] | None = None
    while True:
        now = time.monotonic()
        for record in metrics.consume(500, _POLL_S):
            if record.error() is None:
                board.take(orjson.loads(record.value() or b""))
        totals = board.totals()
        done = totals["applied"] + board.lag()
        view.show(board, done, options.events, now - begun)
        if worker.poll() is not None:
            raise BrokenInvariant(f"the worker ended with exit code {worker.returncode}")
        if summary is None and now >= deadline:
            simulator.terminate()
            deadline = float("inf")
        if summary is None and simulator.poll() is not None:
            if simulator.returncode != 0 or not summary_file.exists():
                raise BrokenInvariant(f"the simulator ended with exit code {simulator.returncode}")
            summary = orjson.loads(summary_file.read_bytes())
            drained_by = now + _DRAIN_S
        if summary is None or not _is_drained(board, totals, summary):
            quiet_since = now
        elif now - quiet_since >= _QUIET_S:
            return board, summary
        if now > drained_by:
            raise BrokenInvariant(
                f"{board.lag()} events are still not applied {_DRAIN_S:.0f} s after the last was published: {totals}"
            )


def _is_drained(board: Board, totals: dict[str, Any], summary: dict[str, Any]) -> bool:
    ended = totals["applied"] + totals["duplicates"] + sum(totals["dead_letters"].values())
    behind = sum(board.lag(source) for source in (CLICKSTREAM, RELATIONS, EXPERIENCES))
    return behind == 0 and ended >= summary["produced"] - summary["undelivered"]


@contextmanager
def _metrics(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            **client_configuration(settings.kafka),
            "group.id": "headrace-demo",
            "enable.auto.commit": False,
            "log_level": 2,
        }
    )
    consumer.assign([TopicPartition(METRICS, 0, OFFSET_BEGINNING)])
    try:
        yield consumer
    finally:
        consumer.close()


@contextmanager
def child(part: str, arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a part as a process in a session of its own, so that Ctrl-C reaches only the parent, which ends it."""
    with subprocess.Popen(
        [sys.executable, "-m", "streams.ops.demo_parts", part, *arguments],
        start_new_session=True,
        stdin=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _print_summary(console: Console, board: Board, report: dict[str, Any]) -> None:
    events = report["events"]
    latency = report["latency_ms"] or {}
    console.print(
        f"{events['produced']:,} events published = {events['applied']:,} applied + {events['dead_letters']:,} dead "
        f"letters + {events['duplicates']:,} duplicates ({events['late']:,} applied late)"
    )
    console.print(
        f"{report['decisions']:,} decisions, {report['impressions']:,} slots shown, {report['clicks']:,} clicks, "
        f"{report['purchases']:,} purchases, {report['fallbacks']:,} shoppers who waited in vain"
    )
    console.print(
        f"{report['throughput_events_per_s']:,.0f} events/s, accepted by Kafka to decision acknowledged: "
        + ", ".join(f"{name} {value:.0f} ms" for name, value in latency.items())
    )
    console.print(targets_table(board))
    console.print(amounts_line(board))
    console.print(policies_table({"policies": report["policies"]}))
    console.print(regret_line(board))
