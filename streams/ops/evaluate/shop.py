"""What the synthetic shop's shoppers do when nothing is recommended, as events in their order, without a broker."""

from collections.abc import Iterator

from producers.simulator.event_queue import EventQueue
from producers.simulator.parameters import SimulationParameters
from producers.simulator.plan import plan_sessions
from producers.simulator.population import draw_population
from producers.simulator.shopper import Shoppers
from streams.contract.events import Event


def organic_events(parameters: SimulationParameters) -> Iterator[Event]:
    """Yields as many events as the parameters say."""
    population = draw_population(parameters)
    shoppers, queue = Shoppers(population, parameters), EventQueue(plan_sessions(population, parameters))
    for _ in range(parameters.events):
        session = queue.pop()
        yield shoppers.event(session, session.take())
        queue.push(session)
