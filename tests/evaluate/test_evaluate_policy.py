"""`headrace evaluate policy` values frozen policies, and refuses what the log cannot tell."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.cli.main import run
from streams.contract.settings import Decisions, Settings
from streams.contract.settings.policies import EpsilonGreedy, Greedy, SquareCB, Thompson
from streams.core.policies.registry import new_policy
from streams.core.policies.reward_models import RewardModel
from streams.core.policies.slates import CategoryLimit, draw_slates
from streams.evaluation.offpolicy.evaluation import Options, evaluate_policy

BTS = Path(__file__).parents[1] / "offpolicy" / "bts_all.csv"
THETA = np.array([0.3, -0.2, 0.0])
FACTOR = np.eye(3) / 20.0
SETTINGS = Settings(
    decisions=Decisions(
        policies={
            "bandit": SquareCB(floor=0.1),
            "thompson": Thompson(scale=1.0),
            "greedy": Greedy(floor=0.0),
            "epsilon": EpsilonGreedy(epsilon=0.5),
        }
    )
)


def decisions(n: int = 4_000, n_items: int = 8, policy: str = "random", most: int = 0) -> list[dict[str, Any]]:
    """Uniform slates of three; a click is likelier the higher the first feature, which the frozen bandit likes.

    The first six items are of two categories; ``most`` of one are in a slate.
    """
    random = np.random.default_rng(8)
    features = np.round(random.random((n, n_items, 3)), 3)
    there = np.ones((n, n_items), bool)
    categories = [f"c{item % 2}" if item < 6 else None for item in range(n_items)]
    slates, propensities = draw_slates(
        there,
        there,
        lambda eligible: eligible / eligible.sum(axis=1, keepdims=True),
        random.random((n, 3)),
        CategoryLimit.of_names([categories] * n, [most] * n, n_items),
    )
    probabilities = 0.6 * np.take_along_axis(features[:, :, 0], slates, axis=1) * np.array([1.0, 0.7, 0.5])
    clicks = (random.random((n, 3)) < probabilities).astype(float)
    return [
        {
            "decision_id": f"d{row}",
            "user_id": f"u{row // 4}",
            "timestamp_ms": row,
            "policy": policy,
            "shortlist": [f"i{item}" for item in range(n_items)],
            "features": features[row].tolist(),
            "slate": slates[row].tolist(),
            "propensities": propensities[row].tolist(),
            "rewards": clicks[row].tolist(),
            "categories": categories,
            "max_per_category": most,
        }
        for row in range(n)
    ]


MODEL = {"model": "bandit", "theta": THETA.tolist(), "examples": 400.0, "factor": FACTOR.tolist()}


def written(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "decisions.jsonl"
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return file


def value(report: dict[str, Any], name: str) -> float:
    found = report["estimates"][name]["value"]
    assert isinstance(found, float)
    return found


@pytest.mark.parametrize("most", [0, 1])
def test_the_control_earns_what_it_logged(tmp_path: Path, most: int) -> None:
    report = evaluate_policy(SETTINGS, written(tmp_path, *decisions(most=most)), Options("random", resamples=100))
    assert report["logged_by"] == {"random": 4_000}
    for name in ("reward_interaction", "full_slate"):
        assert value(report, name) == pytest.approx(report["logged_value"])
    assert value(report, "first_slot_ips") == pytest.approx(report["logged_first_slot"])
    assert "marginal" in report["estimates"]["independent_positions"]["refused"]
    assert report["estimates"]["first_slot_replay"] == {"refused": "the policy randomises"}


@pytest.mark.parametrize("name", ["bandit", "thompson", "epsilon"])
def test_a_policy_is_valued_by_what_it_would_have_shown(tmp_path: Path, name: str) -> None:
    """Against fresh decisions that the policy itself drew, with the same clicks."""
    file = written(tmp_path, MODEL, *decisions())
    report = evaluate_policy(SETTINGS, file, Options(name, resamples=200))
    random = np.random.default_rng(9)
    features = random.random((20_000, 8, 3))
    policy = new_policy(SETTINGS.decisions.policies[name])
    estimates = RewardModel(THETA, FACTOR, 400.0).estimate(features, deviations=True)
    slates, _ = policy.choose(estimates, np.full(20_000, 8), random.random((20_000, 3)))
    shown = 0.6 * np.take_along_axis(features[:, :, 0], slates, axis=1)
    first = report["estimates"]["first_slot_doubly_robust"]
    assert first["ci95"][0] <= shown[:, 0].mean() <= first["ci95"][1]
    assert first["ci95"][0] > report["logged_first_slot"]


def test_a_policy_that_does_not_randomise_is_replayed_on_a_uniform_log(tmp_path: Path) -> None:
    file = written(tmp_path, MODEL, *decisions())
    report = evaluate_policy(SETTINGS, file, Options("greedy", resamples=100))
    assert value(report, "first_slot_replay") == pytest.approx(value(report, "first_slot_snips"))
    assert value(report, "first_slot_replay") > report["logged_first_slot"]


def test_repeats_the_q_agents_and_empty_decisions_are_left_out(tmp_path: Path) -> None:
    made = decisions(400)
    nothing = {**made[0], "decision_id": "empty", "slate": [], "propensities": [], "rewards": []}
    by_kind = [
        {**line, "decision_id": f"q{n}", "policy": "q", "source_probability": 0.5} for n, line in enumerate(made)
    ]
    elsewhere = [{**line, "decision_id": f"p{n}", "policy": "popular"} for n, line in enumerate(made)]
    file = written(tmp_path, *made, *made[:50], nothing, *by_kind[:7], *elsewhere[:3])
    report = evaluate_policy(SETTINGS, file, Options("random", resamples=100, least_effective=1.0))
    assert report["decisions"] == 400
    assert report["left_out"] == {"by_source": 7, "elsewhere": 3, "deterministic": 0, "empty": 1}


def certain(line: dict[str, Any], policy: str) -> dict[str, Any]:
    """A decision that shows the first items, and is clicked; weighted, it would be worth 3 clicks."""
    shown = {"slate": [0, 1, 2], "propensities": [1.0, 1.0, 1.0], "rewards": [1.0, 1.0, 1.0]}
    return {**line, "decision_id": f"{policy}-{line['decision_id']}", "policy": policy, **shown}


@pytest.mark.parametrize("name", ["random", "ranked", "bandit", "greedy"])
def test_decisions_without_a_random_choice_change_no_estimate(tmp_path: Path, name: str) -> None:
    made = decisions(1000)
    file = written(tmp_path, MODEL, *made)
    options = Options(name, resamples=100, least_effective=1.0)
    expected = evaluate_policy(SETTINGS, file, options)
    file = written(
        tmp_path, MODEL, *made, *(certain(line, policy) for line in made[:300] for policy in ("ranked", "greedy"))
    )
    found = evaluate_policy(SETTINGS, file, options)
    assert found["left_out"].pop("deterministic") == 600
    assert expected["left_out"].pop("deterministic") == 0
    assert found == expected


def test_a_shortlist_of_one_item_was_certain_and_stays(tmp_path: Path) -> None:
    made = decisions(400)
    single = {
        **made[0],
        "decision_id": "single",
        "shortlist": ["i"],
        "features": made[0]["features"][:1],
        "slate": [0],
        "propensities": [1.0],
        "rewards": [1.0],
    }
    last = {**made[1], "decision_id": "last", "slate": [0, 1, 2], "propensities": [0.5, 0.5, 1.0]}
    file = written(tmp_path, *made, single, last)
    report = evaluate_policy(SETTINGS, file, Options("random", resamples=100, least_effective=1.0))
    assert report["decisions"] == 402


def test_the_order_of_the_shortlist_is_valued_on_a_random_log(tmp_path: Path) -> None:
    made = [
        {**line, "rewards": [float(place == 0 and slot == 0) for slot, place in enumerate(line["slate"])]}
        for line in decisions()
    ]
    report = evaluate_policy(SETTINGS, written(tmp_path, *made), Options("ranked", resamples=100, least_effective=5.0))
    assert value(report, "first_slot_replay") == value(report, "first_slot_snips") == 1.0


def test_a_cap_says_what_it_costs(tmp_path: Path) -> None:
    file = written(tmp_path, MODEL, *decisions())
    free = evaluate_policy(SETTINGS, file, Options("epsilon", resamples=100, least_effective=1.0))
    capped = evaluate_policy(SETTINGS, file, Options("epsilon", resamples=100, least_effective=1.0, cap=3.0))
    lost = value(capped, "reward_interaction") - value(free, "reward_interaction")
    assert lost == pytest.approx(capped["cap"]["bias_reward_interaction"])
    assert lost < 0.0


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["evaluate", "policy", *arguments]) == 2
    return capsys.readouterr().err


def test_what_the_log_cannot_tell_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = str(written(tmp_path, MODEL, *decisions(60)))
    assert "effective sample size" in complaint(capsys, "--log", few, "--policy", "random")
    assert "there is no policy 'best'" in complaint(capsys, "--log", few, "--policy", "best")
    assert "go together" in complaint(capsys, "--log", few, "--policy", "table")
    assert "use a CSV log" in complaint(capsys, "--log", few, "--policy", "table", "--table", str(BTS))
    wide = str(written(tmp_path, {**MODEL, "theta": [1.0]}, *decisions(60)))
    assert "has 1 weights, but 3 features were logged" in complaint(capsys, "--log", wide, "--policy", "bandit")
    unsure = str(written(tmp_path, {**MODEL, "factor": []}, *decisions(60)))
    assert "needs the factor" in complaint(capsys, "--log", unsure, "--policy", "thompson")
    assert "only those for the chosen source" in complaint(capsys, "--log", unsure, "--policy", "q")
    assert "its own shortlist" in complaint(capsys, "--log", unsure, "--policy", "popular")
    unknown = str(written(tmp_path, *decisions(60)))
    assert 'the log has no line {"model": "bandit", ...} with the weights of greedy' in complaint(
        capsys, "--log", unknown, "--policy", "greedy"
    )
    by_kind = [{**line, "policy": "q"} for line in decisions(60)]
    q = str(written(tmp_path, *by_kind))
    assert "60 are the Q agent's" in complaint(capsys, "--log", q, "--policy", "random")
    ranked = str(written(tmp_path, *(certain(line, "ranked") for line in decisions(60))))
    assert "60 were made without a random choice" in complaint(capsys, "--log", ranked, "--policy", "bandit")
    assert "nowhere.jsonl" in complaint(capsys, "--log", str(tmp_path / "nowhere.jsonl"), "--policy", "random")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"propensities": [0.1, 0.0, 0.2]}, "line 2"),
        ({"slate": [0, 0, 1]}, "line 2: slate [0, 0, 1] is not a list of distinct places"),
        ({"slate": [0, 1, 99]}, "line 2: slate [0, 1, 99] is not a list of distinct places"),
        ({"rewards": [1.0]}, "line 2: slate, propensities and rewards have different lengths"),
        ({"features": [[1.0, 2.0, 3.0]]}, "line 2: features has 1 rows for a shortlist of 8"),
        ({"features": [[1.0]] * 8}, "line 2: the number of features differs from the lines before"),
        ({"user_id": 7}, "line 2"),
    ],
)
def test_a_line_that_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: dict[str, Any], said: str
) -> None:
    good, bad = decisions(2)
    assert said in complaint(capsys, "--log", str(written(tmp_path, good, {**bad, **wrong})), "--policy", "random")


def bandit_csv(n: int = 6_000) -> str:
    """Two contexts, three actions, each best in its own; logged by a policy that prefers action c."""
    random = np.random.default_rng(2)
    probabilities = np.array([0.25, 0.25, 0.5])
    lines = ["context_x,action,propensity,reward,user_id"]
    for row in range(n):
        x, action = int(random.integers(0, 2)), int(random.choice(3, p=probabilities))
        reward = int(random.random() < (0.8 if action == x else 0.2))
        lines.append(f"{x},{'abc'[action]},{probabilities[action]},{reward},u{row // 2}")
    return "\n".join(lines) + "\n"


def test_a_csv_is_evaluated_for_policies_that_learn_on_its_first_half(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(bandit_csv())
    uniform = evaluate_policy(SETTINGS, file, Options("uniform", resamples=100))
    assert value(uniform, "ips") == pytest.approx(0.4, abs=0.05)
    greedy = evaluate_policy(SETTINGS, file, Options("greedy", resamples=100))
    assert greedy["rows"] == 3_000
    for name in ("ips", "snips", "doubly_robust", "direct_method"):
        assert value(greedy, name) == pytest.approx(0.8, abs=0.09)
    assert greedy["estimates"]["replay"] == {"refused": "the log is not uniform"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("action,reward\na,1\n", "has no column propensity"),
        ("action,propensity,reward\na,0.5,1\nb,0,1\n", "line 3: propensity is 0; it must be above 0 and at most 1"),
        ("action,propensity,reward\na,0.5,often\n", "line 2: reward is 'often', not a number"),
        ("action,propensity,reward\na,0.5\n", "line 2: there are 2 values for 3 columns"),
        ("action,propensity,reward\n", "has no rows"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    file = tmp_path / "log.csv"
    file.write_text(content)
    assert said in complaint(capsys, "--log", str(file), "--policy", "uniform")


def test_a_table_that_is_no_distribution_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, table = tmp_path / "log.csv", tmp_path / "table.csv"
    log.write_text(bandit_csv(200))
    table.write_text("action,probability\na,0.5\nb,0.4\n")
    arguments = ("--log", str(log), "--policy", "table", "--table", str(table))
    assert "sum to 0.9000" in complaint(capsys, *arguments)
    table.write_text("action,position,probability\na,1,1.0\n")
    assert "has a column position, but the log has none" in complaint(capsys, *arguments)


def test_a_folder_without_a_log_is_no_open_bandit_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a folder of the Open Bandit data" in complaint(capsys, "--log", str(tmp_path), "--policy", "uniform")


@pytest.mark.data
def test_thompson_sampling_from_the_random_log_is_worth_what_obp_says(data_dir: Path) -> None:
    """The table is what obp 0.4.1 makes of `BernoulliTS(80, 3, is_zozotown_prior=True, campaign="all",
    random_state=12345).compute_batch_action_dist(n_sim=100000)`; its documentation gives 0.004553."""
    log = data_dir / "obd_small" / "obd" / "random" / "all"
    report = evaluate_policy(SETTINGS, log, Options("table", BTS, resamples=100))
    assert value(report, "ips") == pytest.approx(0.00455288, abs=1e-9)
    assert value(report, "snips") == pytest.approx(0.0047758330812309535, abs=1e-9)
    assert report["actions"] == 80
