"""Prometheus metrics of a door."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


class DoorMetrics:
    """Counters of one door, in a registry of its own.

    Attributes:
        requests: By endpoint (the path as in the contract, ``other`` for unknown ones) and status.
        seconds: Time to answer, by endpoint.
        accepted: Events that were appended and acknowledged.
        rejected: Events that were refused, by reason.
        rankings: Answers to ``/v1/rank``, by where the slate came from.
        waiting: Requests that wait for a decision.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "headrace_door_requests", "Requests answered.", ["endpoint", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "headrace_door_request_seconds",
            "Time to answer.",
            ["endpoint"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.accepted = Counter("headrace_door_events_accepted", "Events acknowledged.", registry=self.registry)
        self.rejected = Counter(
            "headrace_door_events_rejected", "Events refused, by reason.", ["reason"], registry=self.registry
        )
        self.held_bytes = Gauge("headrace_door_held_bytes", "Bytes of requests being answered.", registry=self.registry)
        self.rankings = Counter(
            "headrace_door_rankings", "Answers with a slate, by its source.", ["source"], registry=self.registry
        )
        self.waiting = Gauge("headrace_door_waiting", "Requests that wait for a decision.", registry=self.registry)
