"""The closed loop in memory and in virtual time: simulated shoppers and the three folds; a run repeats to the digit.

    python -m benchmarks.virtual_shop --policies bandit,greedy,ranked,q --events 100000 --seeds 10

gives each policy a copy of the shop of its own: it has all shoppers but those of the control ``random``, and learns
from what it showed itself. ``--together`` has all policies in one shop, with the shares of the demo, as an experiment
has.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from benchmarks.memory_loop import MemoryLoop
from benchmarks.runs import interval, results
from producers.simulator.attainable import measure_attainable
from producers.simulator.catalogue import list_items
from producers.simulator.closed_loop import fit_to_workers
from producers.simulator.ground_truth import POSITION_DECAY, click_probabilities
from producers.simulator.parameters import SimulationParameters
from producers.simulator.population import draw_population
from producers.simulator.shopper import Shown, Sight
from producers.simulator.simulation import Simulation
from streams.contract.catalogue import encode_catalogue_item
from streams.contract.outputs import Output
from streams.contract.records import LoggedDecision
from streams.contract.settings import Settings, load_settings
from streams.contract.settings.policies import Learned
from streams.contract.topics import CATALOGUE, DECISIONS, PREDICTIONS, RANDOM, RECOMMENDATIONS
from streams.demo.shares import with_demo_shares
from streams.demo.simulator import with_demo_clock
from streams.testing import MemoryRecord, MemoryWorker, Pipeline

LEARN_EVERY: Final = 400
"""Events between two steps of Items and Learning: models are as far behind as those of a busy worker."""
_QUARTERS: Final = 4
_BATCH_RECORDS: Final = 1000
_CONTROL_SHARE: Final = 0.05
_NEVER_S: Final = 1e9
_POLICIES: Final = "bandit,thompson,epsilon,linucb,greedy,q,ranked"


class Sums(msgspec.Struct):
    """Sums over the slates of one policy in one quarter of a run; click rates are these by ``slots``.

    Attributes:
        slots: Slots shown.
        clicks: Clicks on them.
        expected: Sum of their true click probabilities.
        random: The same for slates drawn uniformly from the shortlists.
        shortlist: The same for the best slates from the shortlists.
        shop: The same for the best slates of the whole shop.
    """

    slots: int = 0
    clicks: int = 0
    expected: float = 0.0
    random: float = 0.0
    shortlist: float = 0.0
    shop: float = 0.0


class Played(NamedTuple):
    """A run that has ended.

    Attributes:
        quarters: Policy to its sums, by quarter of the events.
        attainable: Click rate of an observer's slates from the whole shop; see docs/explanation/shop.md.
        cpu_s: Processor time of the run.
    """

    quarters: dict[str, list[Sums]]
    attainable: float | None
    cpu_s: float


class MemoryShop(MemoryLoop):
    """The loop of one run, which forgets what nobody reads any more.

    Items and Learning follow Behaviour after each :data:`LEARN_EVERY` events.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(Pipeline(settings))
        self.decided: dict[str, LoggedDecision] = {}
        self._n_unlearned = 0
        workers: tuple[MemoryWorker[Any, Any], ...] = (
            self.pipeline.behaviour,
            self.pipeline.items,
            self.pipeline.learning,
        )
        self._forgotten = {RECOMMENDATIONS, PREDICTIONS, DECISIONS, *(worker.fold.changelog for worker in workers)}

    def published(self, partition: int, record: MemoryRecord) -> None:
        self._n_unlearned += 1

    def fold(self) -> None:
        self.pipeline.behaviour.drain(_BATCH_RECORDS)
        self.decided = {each.decision_id: each for each in self.pipeline.decisions() if not each.shadow}
        self.offer(self.pipeline.recommendations())
        if self._n_unlearned >= LEARN_EVERY:
            self._n_unlearned = 0
            self.pipeline.learn(_BATCH_RECORDS)
            self.pipeline.refresh()
        for (topic, _), records in self.pipeline.topics.records.items():
            if topic in self._forgotten:
                records.clear()


class Judge:
    """What the simulator knows of each slate that is seen, summed by policy and quarter."""

    def __init__(self, parameters: SimulationParameters, shop: MemoryShop) -> None:
        self.quarters: dict[str, list[Sums]] = {}
        self._population = draw_population(parameters)
        items = list_items(self._population, parameters.seed)
        self._indices = {item.item_id: index for index, item in enumerate(items)}
        self._shop = shop
        self._events = parameters.events
        self.produced = 0

    def progress(self, produced: int) -> None:
        self.produced = produced

    def see(self, sight: Sight, shown: Shown) -> None:
        decision = self._shop.decided[sight.decision_id]
        items = np.array([self._indices[item] for item in decision.shortlist])
        session, slots = sight.session, len(sight.item_ids)
        attractions = click_probabilities(
            self._population,
            np.array([session.user]),
            items,
            np.zeros(1, np.int64),
            np.array([sight.viewed_item]),
            np.isin(items, list(session.seen)),
            np.array([session.is_buying]),
        )
        examined = POSITION_DECAY ** np.arange(slots)
        quarter = min(_QUARTERS * self.produced // self._events, _QUARTERS - 1)
        sums = self.quarters.setdefault(decision.policy, [Sums() for _ in range(_QUARTERS)])[quarter]
        sums.slots += slots
        sums.clicks += shown.clicks
        sums.expected += shown.expected_clicks
        sums.random += float(attractions.mean() * examined.sum())
        sums.shortlist += float(np.sort(attractions)[::-1][:slots] @ examined[: len(attractions)])
        sums.shop += shown.best_clicks


def play(settings: Settings, parameters: SimulationParameters, *, attainable: bool = False) -> Played:
    """Plays one run; with ``attainable`` it measures an observer at its end, which takes some seconds.

    >>> played = play(alone(Settings(), "greedy"), SimulationParameters(events=300, n_users=50, n_items=160))
    >>> sorted(played.quarters)
    ['greedy', 'random']
    """
    begun_s = time.process_time()
    parameters = replace(
        fit_to_workers(parameters, settings), decision_timeout_s=_NEVER_S, first_decision_timeout_s=_NEVER_S
    )
    shop = MemoryShop(settings)
    judge = Judge(parameters, shop)
    simulation = Simulation(parameters, shop, shop, judge.see)
    for item in simulation.items:
        shop.pipeline.topics.append(Output(CATALOGUE, item.item_id.encode(), encode_catalogue_item(item)))
    shop.pipeline.refresh()
    summary = simulation.run(judge.progress)
    rate = None
    if attainable:
        found = measure_attainable(
            simulation.journal, simulation.population, settings.targets, summary.complete_until_ms
        ).click_rate
        rate = None if found is None else found.attainable_ctr
    return Played(judge.quarters, rate, time.process_time() - begun_s)


def alone(settings: Settings, policy: str) -> Settings:
    """Gives one policy all shoppers but those of the control ``random``; it learns from its own slates alone."""
    decisions = settings.decisions
    policies = {name: each for name, each in decisions.policies.items() if name in (policy, decisions.q_filled_by)}
    if policy in policies and isinstance(own := policies[policy], Learned):
        policies[policy] = replace(own, learns_from="own")
    shares = {RANDOM: 1.0} if policy == RANDOM else {RANDOM: _CONTROL_SHARE, policy: 1.0 - _CONTROL_SHARE}
    return replace(settings, decisions=replace(decisions, policies=policies, shares=shares))


class Job(NamedTuple):
    """One policy alone in the shop of one seed, or all together; ``attainable`` as :func:`play` has it."""

    policy: str | None
    events: int
    seed: int
    attainable: bool

    @property
    def name(self) -> str:
        observed = "-attainable" if self.attainable else ""
        return f"{self.policy or 'together'}-{self.events}-{self.seed}{observed}.json"

    def play(self) -> dict[str, Any]:
        settings = with_demo_clock(load_settings())
        settings = with_demo_shares(settings) if self.policy is None else alone(settings, self.policy)
        parameters = SimulationParameters(events=self.events, seed=self.seed)
        played: dict[str, Any] = msgspec.to_builtins(play(settings, parameters, attainable=self.attainable)._asdict())
        return played


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual_shop", description=__doc__)
    parser.add_argument(
        "--policies", default="bandit,thompson,epsilon,linucb,greedy,q,ranked", help="separated by commas"
    )
    parser.add_argument("--together", action="store_true", help="all policies in one shop instead")
    parser.add_argument("--events", type=int, default=100_000, help="of each run, feedback included")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--attainable", action="store_true", help="measure an observer at the end of each run, too")
    parser.add_argument("--results", type=Path, default=Path("virtual-shop"), help="folder of runs that have ended")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    names = [None] if arguments.together else arguments.policies.split(",")
    jobs = [Job(name, arguments.events, seed, arguments.attainable) for seed in seeds for name in names]
    played = results(jobs, Job.play, arguments.results)
    by_policy: dict[str, list[Mapping[str, float]]] = {}
    for job, result in played.items():
        for policy in sorted(result["quarters"]) if job.policy is None else [job.policy]:
            by_policy.setdefault(policy, []).append(result["quarters"][policy][-1])
    print("\n".join(table(by_policy)))
    if rates := [result["attainable"] for result in played.values() if result["attainable"] is not None]:
        print(f"\nan observer's slates from the whole shop: {interval(rates, 3)}")


def table(by_policy: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[str]:
    """Draws the click rates of the last quarter of the events; the last column is paired with the first policy."""
    first = next(iter(by_policy))
    yield f"| policy | click rate | random from the shortlist | best of it | best of the shop | less than {first} |"
    yield "|---|---|---|---|---|---|"
    shown = {policy: _rates(runs, "expected") for policy, runs in by_policy.items()}
    for policy, runs in by_policy.items():
        others = [interval(_rates(runs, name), 3) for name in ("random", "shortlist", "shop")]
        behind = [own - other for own, other in zip(shown[first], shown[policy], strict=True)]
        yield f"| {policy} | {interval(shown[policy], 3)} | {' | '.join(others)} | {interval(behind, 3)} |"


def _rates(runs: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [run[name] / run["slots"] for run in runs]


if __name__ == "__main__":
    main()
