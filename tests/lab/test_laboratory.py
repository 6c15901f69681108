"""The laboratory plays the core's policies in worlds whose best choice is known, the same for all of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from streams.cli.main import headrace
from streams.contract.errors import ConfigurationError
from streams.contract.settings.policies import Greedy, SquareCB, Uniform
from streams.core.models.ridge import PENALTY, Ridge
from streams.core.policies.q_agent import N_ACTIONS
from streams.core.policies.registry import new_policy
from streams.evaluation.laboratory import funnel
from streams.evaluation.laboratory.ridge import StackedRidge
from streams.evaluation.laboratory.run import run
from streams.evaluation.laboratory.study import FUNNEL, Study, play, read_contenders
from streams.evaluation.laboratory.worlds import DRIFTS, N_ARMS, WORLDS, Drift


def nothing(_: int) -> None:
    """Shows no progress."""


def regret(world: str, kind: Any, n_decisions: int = 600, drift: Drift = "none", delay: int = 0) -> np.ndarray:
    return run(WORLDS[world](range(3), n_decisions, drift), new_policy(kind), 1.0, 0, nothing, delay).regret


@pytest.mark.parametrize("discount", [1.0, 0.95])
@pytest.mark.parametrize("n_blocks", [1, 4])
def test_stacked_models_are_those_of_the_core(discount: float, n_blocks: int) -> None:
    random = np.random.default_rng(0)
    n_worlds, n_features = 2, 5
    stacked = StackedRidge(n_worlds, n_blocks, n_features, discount)
    single = [[Ridge(n_features, 1, discount) for _ in range(n_blocks)] for _ in range(n_worlds)]
    mean = np.zeros((n_worlds, 2))
    for _ in range(60):
        vectors, rewards = random.normal(size=(n_worlds, n_features)), random.random(n_worlds)
        vectors[:, 0] = 1.0
        arms, there = random.integers(0, 4, n_worlds), random.random(n_worlds) < 0.8
        stacked.learn(vectors, arms, rewards, there)
        mean[there] = mean[there] * discount + np.stack([np.ones(n_worlds), rewards], axis=1)[there]
        for world in np.flatnonzero(there).tolist():
            block = arms[world] if n_blocks > 1 else 0
            single[world][block].learn_many(vectors[[world]], np.zeros(1, np.int64), rewards[[world]], np.ones(1))
    features = random.normal(size=(n_worlds, 4, n_features))
    estimates = stacked.estimate(features, deviations=True)
    for world in range(n_worlds):
        for arm in range(4):
            core, x = single[world][arm if n_blocks > 1 else 0], features[world, arm]
            moment = core.arrays()["moment"][0] + [PENALTY * mean[world, 1] / mean[world, 0], 0.0, 0.0, 0.0, 0.0]
            theta = np.linalg.solve(core.precision(np.ones(1)), moment)
            assert estimates.means[world, arm] == pytest.approx(x @ theta)
            if n_blocks == 1:
                assert theta == pytest.approx(core.coefficients(np.ones(1)))
            assert estimates.deviations[world, arm] == pytest.approx(np.linalg.norm(core.factor(np.ones(1)) @ x))


@pytest.mark.parametrize("world", [name for name in WORLDS if name != "leaving"])
@pytest.mark.parametrize("drift", DRIFTS)
def test_regret_is_never_negative_and_the_same_when_played_again(world: str, drift: Drift) -> None:
    first = regret(world, Uniform(), 100, drift)
    assert (first >= 0.0).all()
    assert (first == regret(world, Uniform(), 100, drift)).all()
    assert first.sum() > 0.0


def test_a_visitor_who_left_pays_nothing_until_the_next_visit() -> None:
    world = WORLDS["leaving"](range(200), 20, "none")
    worst = world.expected(0).argmin(axis=1)
    world.show(0, worst, world.expected(0))
    assert 0 < world.visited().sum() < 200
    assert (world.best(world.expected(1)) <= world.expected(1).max(axis=1)).all()
    for number in range(1, 10):
        world.show(number, worst, world.expected(number))
    assert world.visited().all()


def test_what_was_shown_tires_and_recovers() -> None:
    world = WORLDS["fatigue"](range(4), 100, "none")
    arms = np.full(4, 3)
    before = world.expected(0)[:, 3]
    world.show(0, arms, world.expected(0))
    tired = world.expected(0)[:, 3]
    for _ in range(60):
        world.show(0, np.full(4, 5), world.expected(0))
    assert (tired < before).all()
    assert world.expected(0)[:, 3] == pytest.approx(before, rel=0.05)


def test_an_arm_that_is_replaced_is_another_one_and_its_model_begins_anew() -> None:
    world = WORLDS["disjoint-linear"](range(2), 100, "churn")
    before = world.expected(50)
    assert world.replaced(49) is None
    arm = world.replaced(50)
    assert arm is not None
    after = world.expected(50)
    others = np.arange(N_ARMS) != arm
    assert (after[:, others] == before[:, others]).all()
    assert (after[:, arm] != before[:, arm]).all()


def test_learning_beats_drawing_uniformly_and_never_learning_does_not() -> None:
    learning, uniform = (regret("shared-linear", kind, 2000).sum() for kind in (SquareCB(exploration=16.0), Uniform()))
    assert learning < 0.6 * uniform


def test_greedy_tries_arms_that_were_never_shown_if_the_others_are_below_the_mean() -> None:
    found = regret("disjoint-linear", Greedy(floor=0.0), 2000)
    assert found[:, 1500:].mean() < 0.6 * found[:, :500].mean()


def test_the_q_agent_beats_the_best_fixed_kind_and_itself_without_foresight() -> None:
    study = Study(read_contenders("q,q-myopic,fixed", FUNNEL), FUNNEL, "none", 3, 8000)
    told = play(study, nothing)["policies"]
    assert told["q"]["regret"] < 0.8 * told["fixed"]["regret"]
    assert told["q"]["regret"] < 0.8 * told["q-myopic"]["regret"]
    assert max(told["q"]["regret_by_seed"]) < min(told["fixed"]["regret_by_seed"])


def test_the_best_rate_of_the_funnel_is_above_that_of_every_fixed_kind() -> None:
    rates = [funnel.run_fixed(range(3), 4000, action, nothing).mean() for action in range(N_ACTIONS)]
    assert rates[-1] == 0.0
    assert max(rates) < 0.8 * funnel.best_rate()


def test_a_hyper_parameter_that_is_not_given_is_chosen_on_other_seeds() -> None:
    study = Study(
        read_contenders("epsilon-greedy,epsilon-greedy:0.1", "shared-linear"), "shared-linear", "none", 2, 1000
    )
    told: dict[str, Any] = play(study, nothing)["policies"]
    chosen = told["epsilon-greedy"]
    assert str(chosen["epsilon"]) == min(chosen["tried"], key=chosen["tried"].__getitem__)
    assert told["epsilon-greedy:0.1"]["tried"] == {}
    assert chosen["ratio_to_first"] == 1.0
    assert chosen["floor"] == 0.01


def test_rewards_that_come_late_are_learned_in_batches_and_all_of_them() -> None:
    uniform = regret("shared-linear", Uniform(), 1200)
    at_once, one_by_one, late = (regret("shared-linear", SquareCB(), 1200, delay=delay) for delay in (0, 1, 400))
    # What draws uniformly until it has learned draws uniformly for as long as nothing comes.
    assert (late[:, :400] == uniform[:, :400]).all()
    assert late[:, 400:800].mean() < 0.8 * late[:, :400].mean()
    assert one_by_one.mean() == at_once.mean() < late.mean()


def test_what_waits_when_an_arm_is_replaced_is_not_learned_of_the_new_arm() -> None:
    # Of 400 decisions, every twentieth one replaces an arm, so nothing waits for longer.
    late, later = (regret("disjoint-linear", SquareCB(), 400, "churn", delay) for delay in (20, 400))
    never = regret("disjoint-linear", SquareCB(), 400, delay=400)
    assert (late == later).all()
    assert (later[:, 20:] != never[:, 20:]).any()


def test_the_log_of_the_uniform_policy_is_worth_all_its_decisions_and_that_of_a_narrow_one_little() -> None:
    uniform, narrow = (
        run(WORLDS["shared-linear"](range(3), 1000, "none"), new_policy(kind), 1.0, 0, nothing).effective
        for kind in (Uniform(), Greedy(floor=0.01))
    )
    assert uniform == pytest.approx(np.ones(3))
    assert (narrow < 0.1).all()


@pytest.mark.parametrize("world", ["shared-linear", "non-linear", "leaving"])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_a_world_of_clicks_has_the_rate_that_it_is_given(world: str, rate: float) -> None:
    usual, scaled = (WORLDS[world](range(20), 100, "none", each).expected(7) for each in (0.3, rate))
    assert scaled == pytest.approx(usual * rate / 0.3)


def test_the_best_value_at_an_end_of_the_grid_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.evaluation.laboratory.study.GRIDS", {"squarecb": ("exploration", (0.1, 0.2))})
    study = Study(read_contenders("squarecb", "shared-linear"), "shared-linear", "none", 2, 1000)
    assert play(study, nothing)["policies"]["squarecb"]["end_of_grid"] == "exploration 0.2"


@pytest.mark.parametrize(
    ("text", "world", "message"),
    [
        ("oracle", "shared-linear", "no policy 'oracle'"),
        ("squarecb", FUNNEL, "no policy 'squarecb' in world funnel"),
        ("greedy:3", "shared-linear", "greedy takes no number"),
        ("linucb:many", "shared-linear", "many"),
        ("linucb@2", "shared-linear", "a discount must be in (0, 1]"),
        ("linucb,linucb", "shared-linear", "names a policy twice"),
    ],
)
def test_what_cannot_be_played_is_named(text: str, world: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_contenders(text, world)
    assert message in str(error.value)


def test_the_command_writes_a_report_and_a_plot(tmp_path: Path) -> None:
    report, plot = tmp_path / "out.json", tmp_path / "out.png"
    arguments = (
        "lab --policies squarecb:16@0.99,squarecb:16 --world shared-linear --drift abrupt --seeds 2 --decisions 1000"
    )
    result = CliRunner().invoke(headrace, [*arguments.split(), "--report", str(report), "--plot", str(plot)])
    assert result.exit_code == 0, result.output
    told = json.loads(report.read_text("utf-8"))
    assert set(told["policies"]) == {"squarecb:16@0.99", "squarecb:16"}
    assert "decisions_to_adapt" in told["policies"]["squarecb:16"]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "greedy", "--world", "moon"], "'moon' is not one of 'shared-linear'"),
        (["--policies", "greedy", "--world", "fatigue", "--drift", "up"], "'up' is not one of 'none'"),
        (["--policies", "q", "--world", "funnel", "--drift", "abrupt"], "the world funnel has no drift"),
        (["--policies", "greedy", "--world", "fatigue", "--plot", "x.gif"], "takes a .png file"),
    ],
)
def test_wrong_arguments_are_plain_errors(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(headrace, ["lab", *arguments])
    assert result.exit_code == 2
    assert message in result.output
