"""Closed loop with a cluster: publishes shoppers' events, reads recommendations, reports the ground truth."""

from collections.abc import Callable
from time import monotonic, time
from typing import Final, NamedTuple

from confluent_kafka import Producer
from msgspec.structs import replace

from producers.catalogue import publish_catalogue
from producers.event_time import reached_ms, shown
from producers.lag import LagGate
from producers.publisher import Publisher
from producers.simulator.attainable import Attainable, measure_attainable
from producers.simulator.journal import Journal
from producers.simulator.parameters import SimulationParameters
from producers.simulator.population import Population
from producers.simulator.recommendation_reader import RecommendationReader
from producers.simulator.simulation import PolicyGroundTruth, Simulation, SimulationSummary
from streams.contract.connection import client_configuration
from streams.contract.errors import ConfigurationError, RefusedStart
from streams.contract.metrics import GroundTruthMetrics, PolicyRegret, encode_metrics
from streams.contract.settings import Settings
from streams.contract.topics import METRICS

SOURCE: Final = "simulator"
_SKEW_SHARE: Final = 0.9
"""Of the workers' allowed lateness."""


class Simulated(NamedTuple):
    """A simulation that has ended.

    Attributes:
        journal: Events of a sample of the users.
    """

    summary: SimulationSummary
    journal: Journal
    population: Population

    def attainable(self, settings: Settings) -> Attainable:
        """Measures what could be attained; that takes seconds."""
        return measure_attainable(self.journal, self.population, settings.targets, self.summary.complete_until_ms)


def fit_to_workers(parameters: SimulationParameters, settings: Settings) -> SimulationParameters:
    """Sets what depends on the workers' settings: no event is late for them, and the closing ticks mature all labels.

    >>> fit_to_workers(SimulationParameters(), Settings()).max_skew_s
    270.0
    """
    lateness_s = settings.time.allowed_lateness_s
    longest_s = max((target.horizon_s for target in settings.targets), default=0)
    mature_s = longest_s + settings.time.session_gap_s + lateness_s + 1.0
    return replace(parameters, max_skew_s=_SKEW_SHARE * lateness_s, mature_s=mature_s)


def fit_to_event_time(parameters: SimulationParameters, latest_ms: int, now_ms: int) -> SimulationParameters:
    """Lets the simulation begin at the cluster's event time, if that is later: its events would be late otherwise.

    Args:
        latest_ms: Event time that the cluster has reached.
        now_ms: The broker's clock, roughly.

    Raises:
        RefusedStart: The simulation would end in the future, where workers refuse events.
    """
    if latest_ms <= parameters.start_ms:
        return parameters
    # Most events are feedback, so that this is more than it takes.
    longest_ms = int((parameters.events / parameters.events_per_second + parameters.mature_s) * 1000)
    if latest_ms + longest_ms > now_ms:
        raise RefusedStart(
            f"the cluster's event time is {shown(latest_ms)}: {parameters.events} simulated events, which may take "
            f"{longest_ms / 3_600_000:.1f} hours of event time, would be ahead of the broker's clock; simulate fewer "
            "events, or on a cluster that has no events of today"
        )
    return replace(parameters, start_ms=latest_ms)


def simulate_closed_loop(
    settings: Settings,
    parameters: SimulationParameters,
    should_stop: Callable[[], bool],
    notify: Callable[[str], None],
    on_progress: Callable[[int], None] | None = None,
) -> Simulated:
    """Runs a simulation in a closed loop with the workers of ``settings``; it waits while they are behind.

    First it lists all items in the shop's catalogue: workers propose listed items only, as soon as one is listed.

    Args:
        notify: Called with a sentence if the simulation begins later, at the cluster's event time.

    Raises:
        ConfigurationError: Events would be late for the workers.
        RefusedStart: There is no clickstream or catalogue; or the cluster's event time leaves no room until now.
        UnreachableBroker: No broker answers.
    """
    if parameters.max_skew_s >= settings.time.allowed_lateness_s:
        raise ConfigurationError(
            f"max_skew_s is {parameters.max_skew_s}: it must be below time.allowed_lateness_s, "
            f"{settings.time.allowed_lateness_s}, or events are late; fit_to_workers sets it"
        )
    parameters = fit_to_event_time(planned := parameters, reached_ms(settings), int(time() * 1000))
    if parameters.start_ms > planned.start_ms:
        notify(f"the shoppers begin at the cluster's event time, {shown(parameters.start_ms)}: earlier events are late")
    gate = LagGate(settings)
    with Publisher(settings, gate) as publisher, RecommendationReader(settings) as recommendations:
        simulation = Simulation(parameters, publisher, recommendations)
        publish_catalogue(settings, simulation.items)
        reporter = GroundTruthReporter(settings, simulation)

        def advance(published: int) -> None:
            reporter.report_if_due()
            if on_progress is not None:
                on_progress(published)

        summary = simulation.run(advance, should_stop)
        reporter.close()
        return Simulated(summary, simulation.journal, simulation.population)


class GroundTruthReporter:
    """Publisher of each policy's ground truth, known to the simulator only, to ``metrics``."""

    def __init__(self, settings: Settings, simulation: Simulation, interval_s: float = 1.0) -> None:
        self._simulation = simulation
        self._interval_s = interval_s
        self._due_s = 0.0
        self._topic = settings.names.topic(METRICS)
        self._producer = Producer(client_configuration(settings.kafka))

    def report_if_due(self) -> None:
        """Publishes a record if an interval has passed since the last one."""
        if monotonic() >= self._due_s:
            self._report()

    def close(self) -> None:
        """Publishes the last record and waits for its delivery."""
        self._report()
        self._producer.flush(5.0)

    def _report(self) -> None:
        self._due_s = monotonic() + self._interval_s
        policies = {name: regret_of(truth) for name, truth in self._simulation.policies.items()}
        record = GroundTruthMetrics(source=SOURCE, timestamp_ms=int(time() * 1000), policies=policies)
        self._producer.produce(self._topic, encode_metrics(record), SOURCE)
        self._producer.poll(0)


def regret_of(truth: PolicyGroundTruth) -> PolicyRegret:
    """Computes how far one policy's slates are from the best slates of the whole shop."""
    return PolicyRegret(
        slates=truth.slates,
        true_ctr=truth.expected_clicks / max(truth.items, 1),
        best_ctr=truth.best_clicks / max(truth.items, 1),
        regret=truth.regret,
        regret_per_slate=truth.regret / max(truth.slates, 1),
    )
