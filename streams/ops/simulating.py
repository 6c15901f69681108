"""Running the synthetic shoppers against a broker."""

import signal
import threading
from collections.abc import Callable

from producers.lag import LagGate
from producers.publisher import Publisher
from producers.simulator.feedback import RecommendationReader
from producers.simulator.parameters import SimulationParameters
from producers.simulator.simulate import Simulation, SimulationSummary
from streams.contract.settings import Settings
from streams.ops.progress import progress


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
        return Simulation(parameters, publisher, recommendations).run(on_progress, should_stop)


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
