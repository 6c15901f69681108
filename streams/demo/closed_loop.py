"""Closed loop on one machine: broker, workers and synthetic shoppers, run until all events are applied."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from producers.simulator.attainable import Attainable
from producers.simulator.simulation import SimulationSummary
from streams.admin.topics import create_topics
from streams.agents import FOLDS
from streams.brokers.embedded import embedded_broker
from streams.brokers.process_group import ProcessGroup, SupervisedProcess
from streams.brokers.worker_process import start_worker
from streams.contract.connection import reader_configuration
from streams.contract.errors import BrokenInvariant
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, METRICS, SOURCES
from streams.demo.attainable_lines import attainable_lines, attainable_report
from streams.demo.live_view import Progress, View, awaited, choose_view, open_console
from streams.demo.log_tail import LogTail
from streams.demo.report import Outcome, make_report, outcome_of, print_interrupted, print_summary
from streams.demo.shares import with_demo_shares
from streams.demo.simulator import has_summary, read_attainable, read_summary, start_simulator, with_demo_clock
from streams.observability.metrics_view import MetricsView
from streams.serving.door_process import free_port, start_door

_POLL_S: Final = 0.25
_PATIENCE_S: Final = 120.0
"""For the workers to begin, and for what is left after the last event."""

_WORKERS: Final = (("behaviour",), ("items", "learning"))
"""Folds of each worker: decisions do not wait for learning, and the other way round."""


class Poll(Protocol):
    """Reads what is new, shows it, and checks that the workers run."""

    def __call__(self, *, starting: str = "", is_ended: bool = False) -> None: ...


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a demo.

    Attributes:
        events: Number of events, feedback included, after which the simulation ends.
        seconds: Time after which the shoppers stop at the latest; 0 for no limit.
        users: Number of synthetic shoppers.
        embedded: Use an embedded broker; otherwise the one in the settings.
        page: Show the address of the page first, and serve it.
    """

    events: int
    seconds: float
    seed: int
    users: int
    headless: bool
    embedded: bool
    page: bool = True


def run_demo(settings: Settings, options: DemoOptions) -> dict[str, Any]:
    """Runs the demo and returns its report; all processes that it started end with it.

    Ctrl-C prints the summary of what was done until then.

    Raises:
        BrokenInvariant: A worker or the simulator failed, or events were left unapplied.
    """
    console = open_console()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    if options.page:
        console.print(f"page {address}, sample shop {address}/shop", soft_wrap=True)
    view = choose_view(console, headless=options.headless)
    metrics_view = MetricsView()
    begun = time.monotonic()
    try:
        try:
            with ExitStack() as stack:
                outcome, attainable = _run(settings, options, metrics_view, view, stack, begun, port)
        finally:
            view.close()
    except KeyboardInterrupt:
        print_interrupted(console, metrics_view, time.monotonic() - begun)
        raise
    report = make_report(metrics_view, outcome, time.monotonic() - begun) | attainable_report(attainable)
    print_summary(console, metrics_view, report)
    console.print(attainable_lines(attainable))
    return report


def _run(
    settings: Settings,
    options: DemoOptions,
    metrics_view: MetricsView,
    view: View,
    stack: ExitStack,
    begun: float,
    port: int,
) -> tuple[Outcome, Attainable]:
    group = stack.enter_context(ProcessGroup("headrace-demo-"))
    log = LogTail(group.directory / "log")
    # Called when all processes have ended: their last words are shown, too.
    stack.callback(lambda: view.warn(log.read()))

    def show(*, starting: str = "", is_ended: bool = False) -> None:
        view.warn(log.read())
        elapsed_s = time.monotonic() - begun
        page = f"http://127.0.0.1:{port}" if options.page else ""
        view.show(metrics_view, Progress(options.events, elapsed_s, starting=starting, is_ended=is_ended, page=page))

    show(starting="the broker and its topics")
    if options.embedded:
        settings = with_demo_clock(with_demo_shares(settings))
        settings = stack.enter_context(embedded_broker(settings, log.path))
    else:
        create_topics(settings)
    metrics = stack.enter_context(_metrics(settings))
    stack.enter_context(view.follow(settings))
    show(starting="the workers")
    workers = stack.enter_context(_workers(group, settings, log.path, is_alone=options.embedded))
    door = stack.enter_context(start_door(group, settings, port, log.path, has_page=options.page))

    def poll(*, starting: str = "", is_ended: bool = False) -> None:
        for record in metrics.consume(500, _POLL_S):
            if record.error() is None:
                metrics_view.take(record.value())
        show(starting=starting, is_ended=is_ended)
        for name, process in (*workers.items(), ("the door", door)):
            if (code := process.exit_code) is not None:
                raise BrokenInvariant(f"{name} ended with exit code {code}")

    _wait_for_workers(metrics_view, poll)
    arguments = (options.events, options.seed, options.users)
    simulator = stack.enter_context(start_simulator(group, settings, *arguments, log.path))
    _wait_for_shoppers(group, simulator, metrics_view, poll, options.seconds)
    outcome = outcome_of(metrics_view, read_summary(group))
    wait_for_learning(metrics_view, poll, outcome.summary)
    while simulator.exit_code is None:
        poll(is_ended=True)
    _check(simulator)
    return outcome, read_attainable(group)


@contextmanager
def _workers(
    group: ProcessGroup, settings: Settings, log: Path, *, is_alone: bool
) -> Iterator[dict[str, SupervisedProcess]]:
    """Starts the workers, named for people, and stops them together.

    Args:
        is_alone: Whether the cluster has no other workers. Others run all folds, so that here one has to do so, too.
    """
    parts = _WORKERS if is_alone else (tuple(FOLDS),)
    with ExitStack() as stack:
        workers = {
            f"the worker of {' and '.join(folds)}": stack.enter_context(start_worker(group, settings, log, folds))
            for folds in parts
        }
        try:
            yield workers
        finally:
            for worker in workers.values():
                worker.signal(signal.SIGTERM)


def _wait_for_workers(metrics_view: MetricsView, poll: Poll) -> None:
    """Waits until the clickstream is folded, so that no event waits for it: that would be shown as latency.

    Learning, which takes longer to start, has nothing to do before the first labels.
    """
    give_up_at = time.monotonic() + _PATIENCE_S
    while not metrics_view.is_ready():
        if time.monotonic() > give_up_at:
            raise BrokenInvariant(f"the workers have not begun within {_PATIENCE_S:.0f} s")
        poll(starting="the workers")


def _wait_for_shoppers(
    group: ProcessGroup, simulator: SupervisedProcess, metrics_view: MetricsView, poll: Poll, seconds: float
) -> None:
    stop_at = time.monotonic() + seconds if seconds else float("inf")
    while not has_summary(group):
        _check(simulator)
        if time.monotonic() >= stop_at:
            simulator.signal(signal.SIGTERM)
            stop_at = float("inf")
        poll(starting="" if metrics_view.totals().applied else "the shoppers")


def _check(simulator: SupervisedProcess) -> None:
    if simulator.exit_code:
        raise BrokenInvariant(f"the simulator ended with exit code {simulator.exit_code}")


def wait_for_learning(metrics_view: MetricsView, poll: Poll, summary: SimulationSummary) -> None:
    """Waits until all is applied and learned.

    The folds are measured at different times: what one had nothing left of, another may have added to since. So all are
    measured once more after the last event has been seen as applied.
    """
    give_up_at = time.monotonic() + _PATIENCE_S
    applied_ms: int | None = None
    while not (applied_ms is not None and metrics_view.is_measured_since(applied_ms) and _is_drained(metrics_view)):
        poll(is_ended=True)
        if applied_ms is None and _is_applied(metrics_view, summary):
            applied_ms = int(time.time() * 1000)
        if time.monotonic() > give_up_at:
            raise BrokenInvariant(
                f"{_PATIENCE_S:.0f} s after the last event was published, {awaited(metrics_view)}: "
                f"{metrics_view.totals()}"
            )


def _is_applied(metrics_view: MetricsView, summary: SimulationSummary) -> bool:
    totals = metrics_view.totals()
    ended = totals.applied + totals.duplicates + sum(totals.dead_letters.values())
    return metrics_view.lag(CLICKSTREAM) == 0 and ended >= summary.produced - summary.undelivered


def _is_drained(metrics_view: MetricsView) -> bool:
    return not any(metrics_view.lag(source) for source in SOURCES.values())


@contextmanager
def _metrics(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(reader_configuration(settings))
    consumer.assign([TopicPartition(settings.names.topic(METRICS), 0, OFFSET_BEGINNING)])
    try:
        yield consumer
    finally:
        consumer.close()
