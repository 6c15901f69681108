"""Running the synthetic shoppers against a broker."""

import signal
import threading
from collections.abc import Callable
from time import monotonic, time
from typing import Final

import msgspec
from confluent_kafka import Producer

from producers.lag import LagGate
from producers.publisher import Publisher
from producers.simulator.feedback import RecommendationReader
from producers.simulator.parameters import SimulationParameters
from producers.simulator.simulate import PolicyTruth, Simulation, SimulationSummary
from streams.contract.connection import client_configuration
from streams.contract.settings import Settings
from streams.contract.topics import METRICS
from streams.ops.progress import progress

SOURCE: Final = "simulator"


def simulate(
    settings: Settings,
    parameters: SimulationParameters,
    should_stop: Callable[[], bool],
    on_progress: Callable[[int], None] | None = None,
) -> SimulationSummary:
    """Runs a simulation in a closed loop with the workers of ``settings``, held back while they are behind."""
    kafka = settings.kafka
    gate = LagGate(kafka, group=settings.engine.app_id)
    with Publisher(kafka, gate) as publisher, RecommendationReader(kafka) as recommendations:
        simulation = Simulation(parameters, publisher, recommendations)
        teller = TruthTeller(settings, simulation)

        def advance(published: int) -> None:
            teller.tell_if_due()
            if on_progress is not None:
                on_progress(published)

        summary = simulation.run(advance, should_stop)
        teller.close()
        return summary


class TruthTeller:
    """Writes to ``metrics`` what is true of each policy's slates, which nobody but the simulator knows."""

    def __init__(self, settings: Settings, simulation: Simulation, interval_s: float = 1.0) -> None:
        self._simulation = simulation
        self._interval_s = interval_s
        self._due_s = 0.0
        self._producer = Producer({**client_configuration(settings.kafka), "log_level": 2})

    def tell_if_due(self) -> None:
        """Writes a record when an interval has passed since the last one."""
        if monotonic() >= self._due_s:
            self._tell()

    def close(self) -> None:
        """Writes the last record, and waits until it is taken."""
        self._tell()
        self._producer.flush(5.0)

    def _tell(self) -> None:
        self._due_s = monotonic() + self._interval_s
        record = {
            "source": SOURCE,
            "timestamp_ms": int(time() * 1000),
            "policies": {name: describe_truth(truth) for name, truth in self._simulation.policies.items()},
        }
        self._producer.produce(METRICS, msgspec.json.encode(record), SOURCE)
        self._producer.poll(0)


def describe_truth(truth: PolicyTruth) -> dict[str, float]:
    """Says what is true of one policy's slates, and how far they are from the best.

    Returns:
        ``true_ctr`` and ``best_ctr`` of a slot, ``regret``: the expected clicks that the best slates of the whole shop
        would have had more, in all and ``regret_per_slate``.
    """
    return {
        "slates": truth.slates,
        "true_ctr": truth.expected_clicks / max(truth.items, 1),
        "best_ctr": truth.best_clicks / max(truth.items, 1),
        "regret": truth.regret,
        "regret_per_slate": truth.regret / max(truth.slates, 1),
    }


def simulate_shown(settings: Settings, parameters: SimulationParameters) -> SimulationSummary:
    """Runs a simulation with its progress; Ctrl-C ends it as if it were done."""
    shown = 0
    stopping = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    with progress("simulating", "events", parameters.events) as advance:

        def advance_to(published: int) -> None:
            nonlocal shown
            advance(published - shown)
            shown = published

        return simulate(settings, parameters, stopping.is_set, advance_to)
