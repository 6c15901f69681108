"""A sink and recommendations without a broker, for laws that need none."""

from collections.abc import Callable

from producers.publisher import OnDelivered
from producers.simulator.recommendation_reader import Claims
from streams.contract.events import Event
from streams.contract.partitioning import partition_of
from streams.contract.records import Recommendation, RecommendedItem


class ListSink:
    """Keeps what is published; delivers after ``delay`` further polls, as a client does."""

    def __init__(self, partitions: int = 4, on_poll: Callable[[float], None] | None = None, delay: int = 0) -> None:
        self.partitions = partitions
        self.failed = 0
        self.has_room = True
        self.published: list[tuple[int, Event]] = []
        self._ends = [0] * partitions
        self._pending: list[tuple[int, OnDelivered, int, int]] = []
        self._delay = delay
        self._polls = 0
        self._on_poll = on_poll

    @property
    def events(self) -> list[Event]:
        return [event for _, event in self.published]

    def publish(self, event: Event, on_delivered: OnDelivered | None = None, *, partition: int | None = None) -> None:
        if partition is None:
            assert event.user_id is not None
            partition = partition_of(event.user_id.encode(), self.partitions)
        self.published.append((partition, event))
        if on_delivered is not None:
            self._pending.append((self._polls + self._delay, on_delivered, partition, self._ends[partition]))
        self._ends[partition] += 1

    def poll(self, timeout_s: float) -> None:
        if self._on_poll is not None:
            self._on_poll(timeout_s)
        self._polls += 1
        while self._pending and self._pending[0][0] < self._polls:
            _, on_delivered, partition, offset = self._pending.pop(0)
            on_delivered(partition, offset)

    def wait_for_room(self, should_stop: Callable[[], bool] | None = None) -> bool:
        while not self.has_room:
            if should_stop is not None and should_stop():
                return False
        return True

    def flush(self, timeout_s: float) -> int:
        return 0


class Decider(Claims):
    """A worker in a few lines: decides on each claimed view after ``delay`` calls, or never.

    Attributes:
        claims: The views that asked, in order.
        decided: What was decided.
    """

    def __init__(
        self,
        choose: Callable[[str], list[str] | None],
        delay: int = 50,
        policy: Callable[[str], str] = lambda _: "random",
    ) -> None:
        super().__init__()
        self.claims: list[str] = []
        self.decided: dict[str, Recommendation] = {}
        self._choose = choose
        self._delay = delay
        self._policy = policy
        self._due: list[tuple[int, Recommendation]] = []
        self._calls = 0

    def claim(self, event_ref: str) -> Recommendation | None:
        self.claims.append(event_ref)
        slate = self._choose(event_ref)
        if slate is not None:
            items = [RecommendedItem(item, None, 0.05, "random") for item in slate]
            decision = Recommendation(f"{event_ref}/d", event_ref, "?", 0, self._policy(event_ref), items, {})
            self.decided[decision.decision_id] = decision
            self._due.append((self._calls + self._delay, decision))
        return super().claim(event_ref)

    def arrived(self) -> list[Recommendation]:
        self._tick()
        return super().arrived()

    def wait(self, timeout_s: float) -> None:
        self._tick()

    def _tick(self) -> None:
        self._calls += 1
        while self._due and self._due[0][0] <= self._calls:
            decision = self._due.pop(0)[1]
            self.offer([decision, decision])
