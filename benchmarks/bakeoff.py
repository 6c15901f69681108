"""Every policy in every world of the laboratory: hyper-parameters chosen in some worlds, confirmed in others.

    python -m benchmarks.bakeoff --page docs/measurements/bake-off.md

plays each kind of policy with each value of its grid in the worlds that choose, and the best value beside the one that
ships in the worlds that confirm, on other seeds; so it does Vowpal Wabbit, if it is installed. Rewards are learned at
once and in batches of 400 decisions. The page has the tables; what is in the folder of the results is not played again.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import exp, log
from pathlib import Path
from statistics import mean
from time import process_time_ns
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.classification import SETS, Classification
from benchmarks.peers import vowpal_wabbit
from benchmarks.runs import interval, results
from streams.contract.settings.policies import POLICY_TYPES
from streams.core.policies.policy import Policy
from streams.core.policies.registry import new_policy
from streams.core.policies.reward_models import RewardModel
from streams.evaluation.laboratory.run import run
from streams.evaluation.laboratory.study import GRIDS, configuration, is_end_of_grid
from streams.evaluation.laboratory.worlds import N_ARMS, N_FEATURES, WORLDS, Drift, World


class Setting(NamedTuple):
    """A world with its drift, the rate of clicks, and how many decisions are learned together."""

    world: str
    drift: Drift
    rate: float
    delay: int

    @property
    def label(self) -> str:
        drift = "" if self.drift == "none" else f", {self.drift}"
        has_clicks = self.world not in {"disjoint-linear", *SETS}
        return f"{self.world}{drift}, {self.rate:.0%}" if has_clicks else f"{self.world}{drift}"


VW: Final = "vw"


class Player(NamedTuple):
    """A policy to play.

    Attributes:
        kind: Of policy, or :data:`VW`.
        value: Of its tuned hyper-parameter; ``None`` where it has none.
        floor: ``None`` for the one that ships.
        explores: Vowpal Wabbit's way to explore.
        learning_rate: Vowpal Wabbit's.
    """

    kind: str
    value: float | None
    floor: float | None = None
    explores: str = ""
    learning_rate: float = vowpal_wabbit.LEARNING_RATE

    @property
    def label(self) -> str:
        if self.kind == VW:
            return f"VW {self.arguments}"
        name = self.kind if self.value is None else f"{self.kind}, {GRIDS[self.kind][0]} {self.value:g}"
        return name if self.floor is None else f"{name}, floor {self.floor:g}"

    @property
    def arguments(self) -> str:
        """Vowpal Wabbit's."""
        return f"{vowpal_wabbit.EXPLORATIONS[self.explores][0]} {self.value:g} -l {self.learning_rate:g}"

    @property
    def ships(self) -> bool:
        return self.kind != VW and self == shipped(self.kind)

    def policy(self) -> Policy:
        given = {} if self.floor is None else {"floor": self.floor}
        return new_policy(configuration(self.kind, self.value, **given))


Worlds = Sequence[tuple[str, Drift, float]]
Played = Mapping[Setting, Mapping[Player, Any]]

DELAYS: Final = (0, 400)
CHOOSING: Final[Worlds] = (
    ("shared-linear", "none", 0.3),
    ("disjoint-linear", "none", 0.3),
    ("fatigue", "none", 0.3),
)
CONFIRMING: Final[Worlds] = (
    ("non-linear", "none", 0.3),
    ("leaving", "none", 0.3),
    ("shared-linear", "abrupt", 0.3),
    ("disjoint-linear", "gradual", 0.3),
    ("disjoint-linear", "churn", 0.3),
)
CLASSIFICATION: Final[Worlds] = tuple((name, "none", 1.0) for name in SETS)
RATES: Final[Worlds] = tuple(("non-linear", "none", rate) for rate in (0.01, 0.1, 0.5))
SEEDS: Final = 20
RATE_SEEDS: Final = 10
"""Seeds of the table by rates, the first of those that confirm."""
VW_SEEDS: Final = 3
"""Seeds that Vowpal Wabbit is tuned on, the first of those that choose; it takes ten times as long."""
LEAST_EFFECTIVE: Final = 0.1
"""Effective size that the log of a chosen policy has in every world that chooses, if there is such a candidate."""
FLOORED: Final = "thompson"
LOW_FLOORS: Final = (0.01, 0.05)
"""Kind of policy whose floor is compared, and the floors beside the one that ships."""
_FIRST_CHOOSING, _FIRST_CONFIRMING = 10_000, 20_000
_KINDS: Final = ("greedy", "epsilon-greedy", "squarecb", "linucb", "thompson")
_TIMED: Final = 300


class Job(NamedTuple):
    """One policy in one world, on all seeds."""

    player: Player
    setting: Setting
    first_seed: int
    seeds: int
    decisions: int

    @property
    def name(self) -> str:
        kind, value, floor, explores, learning_rate = self.player
        shipped_floor = POLICY_TYPES[kind]().floor if kind in POLICY_TYPES else 0.0
        player = f"{kind}-{explores}-{value}-{learning_rate if explores else shipped_floor if floor is None else floor}"
        world, drift, rate, delay = self.setting
        return f"{player}-{world}-{drift}-{rate:g}-{delay}-{self.first_seed}-{self.seeds}-{self.decisions}.json"


def play(job: Job) -> dict[str, Any]:
    """Plays one job: regret and effective size by seed."""
    seeds = range(job.first_seed, job.first_seed + job.seeds)
    delay, world = job.setting.delay, _world(job.setting, seeds, job.decisions)
    if job.player.kind == VW:
        played = vowpal_wabbit.run(world, job.player.arguments, seeds.start, delay)
    else:
        played = run(world, job.player.policy(), 1.0, seeds.start, lambda _: None, delay)
    return {"regret": played.regret.sum(axis=1).tolist(), "effective": played.effective.tolist()}


def _world(setting: Setting, seeds: range, decisions: int) -> World:
    name, drift, rate, _ = setting
    if name in SETS:
        return Classification(name, seeds, decisions)
    return WORLDS[name](seeds, decisions, drift, rate)


def price(setting: Setting, decisions: int) -> float:
    """Returns the regret of a policy that knows the expected rewards and has the floor of :data:`FLOORED`."""
    world = _world(setting, range(_FIRST_CONFIRMING, _FIRST_CONFIRMING + SEEDS), decisions)
    gaps = 0.0
    for number in range(decisions):
        world.replaced(number)
        expected = world.expected(number)
        gaps += float((expected.max(axis=1) - expected.mean(axis=1)).mean())
    return shipped(FLOORED).policy().floor * gaps


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bakeoff", description=__doc__)
    parser.add_argument("--decisions", type=int, default=4_000, help="of each world")
    parser.add_argument("--results", type=Path, default=Path("bake-off"), help="folder of what was played")
    parser.add_argument("--page", type=Path, help="write the tables to this file, as Markdown")
    parser.add_argument("--processes", type=int, help="that play at once; by default one for each core")
    arguments = parser.parse_args()

    def played(players: Iterable[Player], worlds: Worlds, first_seed: int, seeds: int = SEEDS) -> Played:
        settings = [Setting(*world, delay) for world in worlds for delay in DELAYS]
        jobs = [
            Job(player, setting, first_seed, seeds, arguments.decisions) for setting in settings for player in players
        ]
        found = results(jobs, play, arguments.results, arguments.processes)
        return {setting: {job.player: found[job] for job in jobs if job.setting == setting} for setting in settings}

    tried = played(_grid(), CHOOSING, _FIRST_CHOOSING)
    scores = relative(tried)
    best = chosen(scores, tried)
    vw_scores: dict[Player, float] = {}
    tuned: list[Player] = []
    if vowpal_wabbit.is_installed():
        explorations = _vw_explorations()
        first = relative(played(explorations, CHOOSING, _FIRST_CHOOSING, VW_SEEDS))
        fastest = min(first, key=first.__getitem__)
        others = [fastest._replace(learning_rate=rate) for rate in vowpal_wabbit.OTHER_LEARNING_RATES]
        vw_scores = relative(played([*explorations, *others], CHOOSING, _FIRST_CHOOSING, VW_SEEDS))
        tuned = [min(vw_scores, key=vw_scores.__getitem__)]
    finalists = [*dict.fromkeys(player for kind in _KINDS for player in (shipped(kind), best[kind])), *tuned]
    confirmed = played(finalists, (*CONFIRMING, *CLASSIFICATION), _FIRST_CONFIRMING)
    rates = played(finalists, RATES, _FIRST_CONFIRMING, RATE_SEEDS)
    lower = [shipped(FLOORED)._replace(floor=floor) for floor in LOW_FLOORS]
    floored = played([*lower, shipped(FLOORED)], (*CONFIRMING, *CLASSIFICATION), _FIRST_CONFIRMING)
    costs = _costs(finalists, arguments.results)
    prices = {setting: price(setting, arguments.decisions) for setting in confirmed if setting.delay == 0}
    tables = Tables(scores, best, vw_scores, confirmed, rates, floored, prices, costs)
    text = "\n".join(page(tables, arguments.decisions)) + "\n"
    print(text)
    if arguments.page:
        arguments.page.write_text(text, "utf-8")


def shipped(kind: str) -> Player:
    """Returns a kind with the value that the settings give it.

    >>> shipped("epsilon-greedy").kind
    'epsilon-greedy'
    """
    return Player(kind, getattr(POLICY_TYPES[kind](), GRIDS[kind][0]) if kind in GRIDS else None)


def _grid() -> list[Player]:
    return [Player(kind, value) for kind in _KINDS for value in (GRIDS[kind][1] if kind in GRIDS else (None,))]


def _vw_explorations() -> list[Player]:
    tried = vowpal_wabbit.EXPLORATIONS.items()
    return [Player(VW, value, explores=explores) for explores, (_, values) in tried for value in values]


def relative(played: Played) -> dict[Player, float]:
    """Returns the geometric mean, over settings, of each player's regret by the least of that setting."""
    shares: dict[Player, list[float]] = {}
    for by_player in played.values():
        means = {player: mean(result["regret"]) for player, result in by_player.items()}
        for player, regret in means.items():
            shares.setdefault(player, []).append(log(regret / min(means.values())))
    return {player: exp(mean(logs)) for player, logs in shares.items()}


def chosen(scores: Mapping[Player, float], played: Played) -> dict[str, Player]:
    """Chooses, of each kind, the candidate with the least score whose logs all have :data:`LEAST_EFFECTIVE`."""
    sizes = {player: min(mean(by_player[player]["effective"]) for by_player in played.values()) for player in scores}
    return {
        kind: min(
            (each for each in scores if each.kind == kind),
            key=lambda player: (sizes[player] < LEAST_EFFECTIVE, scores[player]),
        )
        for kind in _KINDS
    }


def shares_of(player: Player, other: Player, played: Played) -> dict[Setting, float]:
    """Returns a player's mean regret by that of another one, in each setting."""
    return {
        setting: mean(by_player[player]["regret"]) / mean(by_player[other]["regret"])
        for setting, by_player in played.items()
    }


def _costs(players: Sequence[Player], folder: Path) -> dict[Player, float]:
    """Measures, or reads from the folder, the processor time of a decision alone, in microseconds."""
    file = folder / "costs.json"
    costs: dict[str, float] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for player in players:
        if player.label not in costs:
            costs[player.label] = cost_us(player)
    file.write_text(json.dumps(costs), "utf-8")
    return {player: costs[player.label] for player in players}


def cost_us(player: Player) -> float:
    """Measures the processor time to score 20 items of 16 features and to draw one, the median of some."""
    random = np.random.default_rng(0)
    features = random.normal(size=(_TIMED, 1, N_ARMS, N_FEATURES))
    n_items, uniforms = np.full(1, N_ARMS), random.random((_TIMED, 1, 1))
    took: list[int] = []
    if player.kind == VW:
        bandit = vowpal_wabbit.Bandit(player.arguments, disjoint=False, least=-1.0)
        for number in range(_TIMED):
            begun = process_time_ns()
            lines = vowpal_wabbit.decision_lines(features[number, 0], None)
            decision = bandit.choose(lines, float(uniforms[number, 0, 0]))
            took.append(process_time_ns() - begun)
            bandit.wait(*decision, None)
        bandit.close()
    else:
        policy, model = player.policy(), RewardModel(random.normal(size=N_FEATURES), np.eye(N_FEATURES) / 50.0, 1_000.0)
        for number in range(_TIMED):
            begun = process_time_ns()
            estimates = model.estimate(features[number], deviations=policy.needs_deviations)
            policy.choose(estimates, n_items, uniforms[number])
            took.append(process_time_ns() - begun)
    return sorted(took)[_TIMED // 2] / 1_000.0


class Tables(NamedTuple):
    """All that the page shows.

    Attributes:
        scores: Of each candidate, see :func:`relative`.
        best: Kind to the candidate with the lowest score.
        vw_scores: The same of Vowpal Wabbit's candidates, among themselves; empty without it.
        floored: The policy of the kind :data:`FLOORED` with other floors.
        prices: Regret of the floor alone in each world, see :func:`price`.
        costs: Processor time of a decision, in microseconds.
    """

    scores: Mapping[Player, float]
    best: Mapping[str, Player]
    vw_scores: Mapping[Player, float]
    confirmed: Played
    rates: Played
    floored: Played
    prices: Mapping[Setting, float]
    costs: Mapping[Player, float]


def page(tables: Tables, decisions: int) -> Iterator[str]:
    """Draws the page."""
    yield from ("# Measurements: bake-off of the policies", "")
    yield (
        f"Made by `python -m benchmarks.bakeoff --decisions {decisions}`: {decisions:,} decisions a world, {SEEDS} "
        "paired seeds, 20 arms, 16 features, and for every policy of ours the floor that ships, "
        f"{shipped('epsilon-greedy').policy().floor:g} for epsilon-greedy and {shipped('greedy').policy().floor:g} for "
        "all others. Regret is against the best choice at each decision; *delay* is how many decisions are learned "
        "together. Percentages are click rates of an arm by chance; disjoint-linear has amounts around 1 instead. In "
        "production rewards come minutes later, as with a delay of 400."
    )
    yield from _hyper_parameters(tables)
    yield from ("", "## Worlds that confirm", "", "Mean regret with its 95 % interval over the seeds.", "")
    yield from _table({setting: each for setting, each in tables.confirmed.items() if setting.world not in SETS})
    yield from ("", "## Classification sets", "")
    yield (
        "Sets of scikit-learn played as bandits (Bietti, Agarwal and Langford 2021): a row is a context, a class an "
        "arm with parameters of its own, and 1 the reward for the right class; the rows come again and again, in "
        "random order."
    )
    yield ""
    yield from _table({setting: each for setting, each in tables.confirmed.items() if setting.world in SETS})
    yield from ("", "## Rates of reward", "", f"On {RATE_SEEDS} of those seeds.", "")
    yield from _table(tables.rates)
    yield from _summary(tables)
    yield from _floors(tables)
    yield from _prices(tables)


def _hyper_parameters(tables: Tables) -> Iterator[str]:
    scores, best = tables.scores, tables.best
    yield from ("", "## Hyper-parameters", "")
    yield (
        "Chosen in the worlds "
        + "; ".join(Setting(*each, 0).label for each in CHOOSING)
        + ", with both delays, by the geometric mean of the regret by the least of that world and delay, among those "
        f"whose logs have an effective size of {LEAST_EFFECTIVE:g} or more there. Those worlds are in no other table. "
        f"Vowpal Wabbit (VW) is chosen in the same way on {VW_SEEDS} of those seeds, beside its "
        "own candidates alone: the ways to explore with one learning rate, then the best of them with others."
    )
    yield from ("", "| policy | grid, with that mean | chosen | shipped |", "|---|---|---|---|")
    for kind, (name, values) in GRIDS.items():
        tried = ", ".join(f"{value:g}: {scores[Player(kind, value)]:.2f}" for value in values)
        value = best[kind].value or 0.0
        end = " (an end of the grid)" if is_end_of_grid(kind, value) else ""
        yield f"| {kind}, {name} | {tried} | {value:g}{end} | {shipped(kind).value:g} |"
    yield f"| greedy | {scores[best['greedy']]:.2f} | | |"
    if tables.vw_scores:
        tried = ", ".join(f"`{player.arguments}`: {score:.2f}" for player, score in tables.vw_scores.items())
        chosen_vw = min(tables.vw_scores, key=tables.vw_scores.__getitem__)
        yield f"| VW | {tried} | `{chosen_vw.arguments}` | |"


def _table(played: Played) -> Iterator[str]:
    players = list(next(iter(played.values())))
    yield "| world | delay | " + " | ".join(player.label for player in players) + " |"
    yield "|---|---|" + "---|" * len(players)
    for setting, by_player in played.items():
        cells = [interval(by_player[player]["regret"], 0) for player in players]
        yield f"| {setting.label} | {setting.delay} | " + " | ".join(cells) + " |"


def _summary(tables: Tables) -> Iterator[str]:
    confirmed, costs = tables.confirmed, tables.costs
    players = list(next(iter(confirmed.values())))
    vw = next((player for player in players if player.kind == VW), None)
    yield from ("", "## Over all worlds and sets that confirm", "")
    yield "| policy | regret by the least | by tuned VW: geometric mean | worlds | sets | worst | effective size | µs |"
    yield "|---|---|---|---|---|---|---|---|"
    for player, score in sorted(relative(confirmed).items(), key=lambda entry: entry[1]):
        sizes = [mean(by_player[player]["effective"]) for by_player in confirmed.values()]
        by_vw = " | | | " if vw is None else _by_vw(shares_of(player, vw, confirmed))
        ships = " (ships)" if player.ships else ""
        yield (
            f"| {player.label}{ships} | {score:.2f} | {by_vw} | {min(sizes):.3f} to {max(sizes):.3f} | "
            f"{costs[player]:,.0f} |"
        )
    yield ""
    yield (
        "*Regret by the least* is the geometric mean over these worlds, sets and delays, by the least of each. *Worst* "
        "is the highest share of tuned VW's regret. *Effective size* is what the log is worth for an estimate of the "
        "uniform policy, as a share of its decisions, in the worst and the best of them. µs is the processor time to "
        "score 20 items and draw one, text for VW included; learning is not in it."
    )


def _by_vw(shares: Mapping[Setting, float]) -> str:
    worst = max(shares, key=shares.__getitem__)
    everywhere = f"{exp(mean(map(log, shares.values()))):.0%}"
    return " | ".join([everywhere, *_by_sort(shares), f"{shares[worst]:.0%} ({worst.label}, {worst.delay})"])


def _by_sort(shares: Mapping[Setting, float]) -> list[str]:
    """Returns the geometric mean over the worlds, and over the sets."""
    return [
        f"{exp(mean(log(share) for setting, share in shares.items() if (setting.world in SETS) == is_set)):.0%}"
        for is_set in (False, True)
    ]


def _floors(tables: Tables) -> Iterator[str]:
    players = list(next(iter(tables.floored.values())))
    ours = players[-1]
    vw = next((player for player in next(iter(tables.confirmed.values())) if player.kind == VW), None)
    yield from ("", "## What the floor costs", "")
    yield (
        f"`{ours.label}` as it ships, with a floor of {ours.policy().floor:g}, and with lower ones, in the same worlds "
        "and sets. A log is paid for: whatever leaves one with an effective size of .1 draws another arm than the best "
        "in about one decision of ten, where there are many arms."
    )
    yield ""
    yield (
        "| floor | by the floor that ships: worlds | sets | by tuned VW: geometric mean | worlds | sets | worst | "
        "effective size |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for player in players:
        by_ours = _by_sort(shares_of(player, ours, tables.floored))
        by_vw = " | | | "
        if vw is not None:
            both = {setting: {**each, vw: tables.confirmed[setting][vw]} for setting, each in tables.floored.items()}
            by_vw = _by_vw(shares_of(player, vw, both))
        sizes = [mean(by_player[player]["effective"]) for by_player in tables.floored.values()]
        yield (
            f"| {player.policy().floor:g} | {' | '.join(by_ours)} | {by_vw} | {min(sizes):.3f} to {max(sizes):.3f} |"
        )


def _prices(tables: Tables) -> Iterator[str]:
    ours, confirmed = shipped(FLOORED), tables.confirmed
    vw = next((player for player in next(iter(confirmed.values())) if player.kind == VW), None)
    players = [ours] if vw is None else [ours, vw]
    yield from (
        "",
        "The floor alone costs a policy that knows the expected rewards, beside the regret of learning at once:",
    )
    yield from ("", "| world | floor alone | " + " | ".join(player.label for player in players) + " |")
    yield "|---|---|" + "---|" * len(players)
    for setting, floor_alone in tables.prices.items():
        regrets = [f"{mean(confirmed[setting][player]['regret']):,.0f}" for player in players]
        yield f"| {setting.label} | {floor_alone:,.0f} | {' | '.join(regrets)} |"


if __name__ == "__main__":
    main()
