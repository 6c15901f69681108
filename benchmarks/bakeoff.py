"""Every policy in every world of the laboratory: hyper-parameters chosen in some worlds, confirmed in others.

    python -m benchmarks.bakeoff --page docs/measurements/bake-off.md

plays each kind of policy with each value of its grid in the worlds that choose, and the best value beside the one that
ships in the worlds that confirm, on other seeds. Rewards are learned at once and in batches of 400 decisions. The page
has the tables; runs that are in the folder of the results already are not played again.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any, Final, NamedTuple

import numpy as np

from streams.contract.settings.policies import POLICY_TYPES
from streams.core.policies.registry import new_policy
from streams.evaluation.laboratory.run import run
from streams.evaluation.laboratory.study import GRIDS, configuration, half_width, is_end_of_grid
from streams.evaluation.laboratory.worlds import WORLDS, Drift


class Setting(NamedTuple):
    """A world with its drift, the rate of clicks, and how many decisions are learned together."""

    world: str
    drift: Drift
    rate: float
    delay: int

    @property
    def label(self) -> str:
        drift = "" if self.drift == "none" else f", {self.drift}"
        return f"{self.world}{drift}, {self.rate:.0%}" if self.world != "disjoint-linear" else f"{self.world}{drift}"


class Player(NamedTuple):
    """A kind of policy with the value of its hyper-parameter; ``None`` where it has none."""

    kind: str
    value: float | None

    @property
    def label(self) -> str:
        return self.kind if self.value is None else f"{self.kind}, {GRIDS[self.kind][0]} {self.value:g}"


Worlds = Sequence[tuple[str, Drift, float]]

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
RATES: Final[Worlds] = tuple(("non-linear", "none", rate) for rate in (0.01, 0.1, 0.5))
SEEDS: Final = 20
_FIRST_CHOOSING, _FIRST_CONFIRMING = 10_000, 20_000
_KINDS: Final = ("greedy", "epsilon-greedy", "squarecb", "linucb", "thompson")


class Job(NamedTuple):
    """One policy in one world, on all seeds."""

    player: Player
    setting: Setting
    first_seed: int
    decisions: int

    @property
    def name(self) -> str:
        value = "" if self.player.value is None else f"-{self.player.value:g}"
        world, drift, rate, delay = self.setting
        return f"{self.player.kind}{value}-{world}-{drift}-{rate:g}-{delay}-{self.first_seed}-{self.decisions}.json"


def play(job: Job) -> dict[str, Any]:
    """Plays one job: regret and effective size by seed."""
    seeds = range(job.first_seed, job.first_seed + SEEDS)
    world, drift, rate, delay = job.setting
    policy, worlds = new_policy(configuration(*job.player)), WORLDS[world](seeds, job.decisions, drift, rate)
    played = run(worlds, policy, 1.0, seeds.start, lambda _: None, delay)
    return {"regret": played.regret.sum(axis=1).tolist(), "effective": played.effective.tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bakeoff", description=__doc__)
    parser.add_argument("--decisions", type=int, default=10_000, help="of each world")
    parser.add_argument("--results", type=Path, default=Path("bake-off"), help="folder of what was played")
    parser.add_argument("--page", type=Path, help="write the tables to this file, as Markdown")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)

    def played(players: Iterable[Player], worlds: Worlds, first_seed: int) -> dict[Setting, dict[Player, Any]]:
        settings = [Setting(*world, delay) for world in worlds for delay in DELAYS]
        jobs = [Job(player, setting, first_seed, arguments.decisions) for setting in settings for player in players]
        results = _results(jobs, arguments.results)
        return {setting: {job.player: results[job] for job in jobs if job.setting == setting} for setting in settings}

    grid = [Player(kind, value) for kind in _KINDS for value in (GRIDS[kind][1] if kind in GRIDS else (None,))]
    tried = played(grid, CHOOSING, _FIRST_CHOOSING)
    scores = relative(tried)
    best = {kind: min((each for each in grid if each.kind == kind), key=scores.__getitem__) for kind in _KINDS}
    finalists = [player for kind in _KINDS for player in dict.fromkeys((best[kind], shipped(kind)))]
    confirmed = played(finalists, CONFIRMING, _FIRST_CONFIRMING)
    rates = played(finalists, RATES, _FIRST_CONFIRMING)
    text = "\n".join(page(scores, best, confirmed, rates, arguments.decisions)) + "\n"
    print(text)
    if arguments.page:
        arguments.page.write_text(text, "utf-8")


def shipped(kind: str) -> Player:
    """Returns a kind with the value that the settings give it.

    >>> shipped("epsilon-greedy")
    Player(kind='epsilon-greedy', value=0.1)
    """
    return Player(kind, getattr(POLICY_TYPES[kind](), GRIDS[kind][0]) if kind in GRIDS else None)


def _results(jobs: Sequence[Job], folder: Path) -> dict[Job, dict[str, Any]]:
    missing = [job for job in jobs if not (folder / job.name).exists()]
    with ProcessPoolExecutor() as pool:
        for number, (job, result) in enumerate(zip(missing, pool.map(play, missing), strict=True), 1):
            (folder / job.name).write_text(json.dumps(result), "utf-8")
            print(f"{number} of {len(missing)} {job.name}", flush=True)
    return {job: json.loads((folder / job.name).read_text("utf-8")) for job in jobs}


def relative(played: Mapping[Setting, Mapping[Player, Any]]) -> dict[Player, float]:
    """Returns the geometric mean, over settings, of each player's regret by the least of that setting."""
    shares: dict[Player, list[float]] = {}
    for by_player in played.values():
        means = {player: mean(result["regret"]) for player, result in by_player.items()}
        for player, regret in means.items():
            shares.setdefault(player, []).append(log(regret / min(means.values())))
    return {player: exp(mean(logs)) for player, logs in shares.items()}


def page(
    scores: Mapping[Player, float],
    best: Mapping[str, Player],
    confirmed: Mapping[Setting, Mapping[Player, Any]],
    rates: Mapping[Setting, Mapping[Player, Any]],
    decisions: int,
) -> Iterator[str]:
    """Draws the page."""
    yield "# Measurements: bake-off of the policies"
    yield ""
    yield (
        f"Made by `python -m benchmarks.bakeoff`: {decisions:,} decisions a world, {SEEDS} paired seeds, 20 arms, 16 "
        "features, a floor of 0.01 for every policy, greedy as well. Regret is against the best choice at each "
        "decision; *delay* is how many decisions are learned together. Percentages are click rates of an arm by "
        "chance; disjoint-linear has amounts around 1 instead. In production rewards come minutes later, as with a "
        "delay of 400."
    )
    yield from ("", "## Hyper-parameters", "")
    yield (
        "Chosen in the worlds "
        + "; ".join(Setting(*each, 0).label for each in CHOOSING)
        + ", with both delays, by the "
        "geometric mean of the regret by the least of that world and delay. Those worlds are in no other table."
    )
    yield from ("", "| policy | grid, with that mean | chosen | shipped |", "|---|---|---|---|")
    for kind, (name, values) in GRIDS.items():
        tried = ", ".join(f"{value:g}: {scores[Player(kind, value)]:.2f}" for value in values)
        chosen = best[kind].value or 0.0
        end = " (an end of the grid)" if is_end_of_grid(kind, chosen) else ""
        yield f"| {kind}, {name} | {tried} | {chosen:g}{end} | {shipped(kind).value:g} |"
    yield f"| greedy | {scores[best['greedy']]:.2f} | | |"
    for heading, played in (("Worlds that confirm", confirmed), ("Rates of reward", rates)):
        yield from ("", f"## {heading}", "", "Mean regret with its 95 % interval over the seeds.", "")
        yield from _table(played)
    yield from (
        "",
        "## Over all worlds that confirm",
        "",
        "| policy | regret by the least | effective size of the log |",
    )
    yield "|---|---|---|"
    for player, score in sorted(relative(confirmed).items(), key=lambda entry: entry[1]):
        sizes = [mean(by_player[player]["effective"]) for by_player in confirmed.values()]
        ships = " (ships)" if player == shipped(player.kind) else ""
        yield f"| {player.label}{ships} | {score:.2f} | {min(sizes):.3f} to {max(sizes):.3f} |"
    yield ""
    yield (
        "The regret is the geometric mean over these worlds and delays, by the least of each. The effective size is "
        "what the log is worth for an estimate of the uniform policy, as a share of its decisions, in the worst and "
        "the best of these worlds."
    )


def _table(played: Mapping[Setting, Mapping[Player, Any]]) -> Iterator[str]:
    players = list(next(iter(played.values())))
    yield "| world | delay | " + " | ".join(player.label for player in players) + " |"
    yield "|---|---|" + "---|" * len(players)
    for setting, by_player in played.items():
        cells = [_interval(by_player[player]["regret"]) for player in players]
        yield f"| {setting.label} | {setting.delay} | " + " | ".join(cells) + " |"


def _interval(values: Sequence[float]) -> str:
    [half] = half_width(np.array(values)[:, None])
    return f"{mean(values):,.0f} ± {half:,.0f}"


if __name__ == "__main__":
    main()
