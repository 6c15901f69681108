"""How fast shoppers are simulated and files replayed: into nothing, encoded all the same, and into the embedded broker.

Nobody recommends anything, so nobody waits; what shoppers do of their own accord is most of what is published.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

from benchmarks import engine
from benchmarks.shop import Shop
from producers.publisher import EventSink, OnDelivered, Publisher
from producers.replay.replay import replay
from producers.replay.taobao import read_taobao
from producers.simulator.parameters import SimulationParameters
from producers.simulator.simulate import Simulation
from streams.contract.events import Event, encode_event
from streams.contract.records import Recommendation
from streams.contract.settings import Kafka
from streams.ops.broker import EmbeddedBroker

EVENTS: Final = 200_000
_BEHAVIORS: Final = {"view": "pv", "search": "fav", "add_to_cart": "cart", "remove_from_cart": "fav", "purchase": "buy"}


class Nowhere:
    """Encodes events and throws them away."""

    partitions = engine.PARTITIONS
    failed = 0

    def publish(self, event: Event, on_delivered: OnDelivered | None = None, *, partition: int | None = None) -> None:
        encode_event(event)

    def poll(self, timeout_s: float) -> None: ...

    def wait_for_room(self, should_stop: Callable[[], bool] | None = None) -> bool:
        return True

    def flush(self, timeout_s: float) -> int:
        return 0


class Nobody:
    """Recommends nothing."""

    repeats = 0

    def claim(self, event_ref: str) -> Recommendation | None:
        return None

    def abandon(self, event_ref: str) -> None: ...

    def arrived(self) -> list[Recommendation]:
        return []

    def wait(self, timeout_s: float) -> None: ...


def measure_simulator(quick: bool) -> dict[str, Any]:
    """Publishes what shoppers do who are shown nothing."""
    events = EVENTS // 4 if quick else EVENTS

    parameters = SimulationParameters(events=events, decision_probability=0.0)
    return _measure(lambda sink: Simulation(parameters, sink, Nobody()).run(), events)


def measure_replayer(quick: bool) -> dict[str, Any]:
    """Publishes the lines of a file in Taobao's format."""
    events = EVENTS // 4 if quick else EVENTS
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shop.csv"
        file.write_text("".join(f"{_line(event)}\n" for event in Shop().events(events)), "ascii")
        return _measure(lambda sink: replay(read_taobao(file), sink), events)


def _line(event: Event) -> str:
    item = (event.item_id or "item-0").removeprefix("item-")
    user = (event.user_id or "").removeprefix("user-")
    return f"{user},{item},{int(item) % 40},{_BEHAVIORS[event.kind]},{event.timestamp_ms // 1000}"


def _measure(run: Callable[[EventSink], object], events: int) -> dict[str, Any]:
    nothing_ns, _ = _spent_ns(run, Nowhere())
    with EmbeddedBroker(engine.TOPICS) as broker, Publisher(Kafka(bootstrap_servers=broker.bootstrap_servers)) as sink:
        cpu_ns, wall_ns = _spent_ns(run, sink)
        undelivered = sink.failed
    return {
        "events": events,
        "undelivered": undelivered,
        "into_nothing_events_per_core_s": round(events / nothing_ns * 1e9),
        "events_per_core_s": round(events / cpu_ns * 1e9),
        "events_per_wall_s": round(events / wall_ns * 1e9),
    }


def _spent_ns(run: Callable[[EventSink], object], sink: EventSink) -> tuple[int, int]:
    cpu_ns, wall_ns = process_time_ns(), perf_counter_ns()
    run(sink)
    return process_time_ns() - cpu_ns, perf_counter_ns() - wall_ns
