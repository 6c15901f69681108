"""Parameters of a simulation."""

from typing import Final

import msgspec

from streams.contract.errors import ConfigurationError

START_MS: Final = 1_736_172_000_000
"""2025-01-06T14:00:00Z, a Monday: in the past, so that no event time is later than its record's timestamp.

In the first twelve hours there are more shoppers than on average.
"""


class SimulationParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size of the population, speed of the events, and patience of the shoppers.

    Attributes:
        seed: Determines the population and all organic events.
        events: Number of events to publish, with feedback, without the closing ticks.
        events_per_second: Organic events for each second of event time, averaged over a day.
        start_ms: Event time of the start.
        decision_probability: Share of the views after which the shopper waits for a recommendation.
        max_skew_s: Largest lead of event time over the oldest waiting shopper, below the workers' allowed lateness. A
            session is a sequence of round trips, so event time passes in proportion to this and the sessions' length,
            and the number of shoppers under way to ``events_per_second`` times that.
        decision_timeout_s: Longest wait for a decision, wall clock; then the shopper continues without it.
        first_decision_timeout_s: The same until the first decision arrives, since workers may still start.
        mature_s: Time from the last event to the closing ticks, so that labels mature.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    seed: int = 0
    n_users: int = 5000
    n_items: int = 2000
    n_categories: int = 20
    events: int = 100_000
    events_per_second: float = 0.3
    start_ms: int = START_MS
    decision_probability: float = 1.0
    max_skew_s: float = 240.0
    decision_timeout_s: float = 5.0
    first_decision_timeout_s: float = 60.0
    mature_s: float = 7200.0

    def __post_init__(self) -> None:
        for name in ("n_users", "n_items", "n_categories", "events", "events_per_second", "max_skew_s", "mature_s"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("seed", "start_ms", "decision_timeout_s", "first_decision_timeout_s"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must not be below 0")
        if not 0.0 <= self.decision_probability <= 1.0:
            raise ConfigurationError(f"decision_probability is {self.decision_probability}; it must be between 0 and 1")
        if self.n_items < 8 * self.n_categories:
            raise ConfigurationError(
                f"n_items is {self.n_items}; {self.n_categories} categories need at least {8 * self.n_categories}"
            )
