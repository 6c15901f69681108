"""What a simulation can be told."""

from typing import Final

import msgspec

from streams.contract.errors import ConfigurationError

START_MS: Final = 1_736_121_600_000
"""2025-01-06T00:00:00Z, a Monday: in the past, so that no event is ahead of the record that carries it."""


class SimulationParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The world, its pace, and how patient its shoppers are.

    Attributes:
        seed: Fixes the population and everything shoppers do of their own accord.
        events: Where the simulation ends: all that it published, feedback included, closing ticks not.
        events_per_second: Organic events for each second of event time, averaged over a day.
        start_ms: Event time of the start.
        decision_probability: Share of the views after which the shopper waits for what is recommended.
        max_skew_s: How far event time may run ahead of the oldest shopper who waits; workers must allow more lateness.
        decision_timeout_s: Wall clock; a shopper who waited for so long goes on without.
        first_decision_timeout_s: The same until the first decision ever arrives, while workers still start.
        mature_s: How far past the last event the closing ticks are, so that labels mature.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    seed: int = 0
    n_users: int = 5000
    n_items: int = 2000
    n_categories: int = 20
    events: int = 100_000
    events_per_second: float = 2.5
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
            raise ConfigurationError(f"decision_probability is {self.decision_probability}; it is between 0 and 1")
        if self.n_items < 8 * self.n_categories:
            raise ConfigurationError(f"{self.n_items} items are too few for {self.n_categories} categories; 8 in each")
