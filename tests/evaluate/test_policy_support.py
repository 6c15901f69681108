"""`headrace evaluate policy` refuses what a log of single choices cannot tell, and names the reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.settings import Settings
from streams.evaluation.offpolicy.bandit_log import read_choices
from streams.evaluation.offpolicy.evaluation import Options, evaluate_policy
from streams.evaluation.offpolicy.support import alike, alike_warning

PROBABILITIES = np.array([0.5, 0.3, 0.2])
CLICKS = np.array([0.1, 0.2, 0.3])
NAMES = ("a", "b", "c")


def log_csv(
    folder: Path,
    n: int = 4_000,
    probabilities: np.ndarray = PROBABILITIES,
    names: tuple[str, ...] = NAMES,
    **columns: Any,
) -> Path:
    """Writes a log of users with two choices each; ``columns`` are computed from the actions' numbers."""
    random = np.random.default_rng(1)
    actions = random.choice(len(probabilities), n, p=probabilities)
    rewards = (random.random(n) < CLICKS[actions % 3]).astype(int)
    cells = {"propensity": probabilities[actions], **{name: column(actions) for name, column in columns.items()}}
    lines = [",".join(["user_id", "action", "reward", *cells])]
    for row in range(n):
        values = [f"{column[row]:.10g}" for column in cells.values()]
        lines.append(",".join([f"u{row // 2}", names[actions[row]], str(rewards[row]), *values]))
    file = folder / "log.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def table(folder: Path, **probabilities: float) -> Path:
    file = folder / "table.csv"
    file.write_text("action,probability\n" + "".join(f"{name},{each}\n" for name, each in probabilities.items()))
    return file


def evaluated(log: Path, policy: str, **options: Any) -> dict[str, Any]:
    report = evaluate_policy(Settings(), log, Options(policy, **options))
    estimates = report["estimates"]
    assert isinstance(estimates, dict)
    return estimates


def refusal(log: Path, policy: str, **options: Any) -> str:
    with pytest.raises(UnreadableSource) as refused:
        evaluated(log, policy, **options)
    return str(refused.value)


def test_weighted_estimates_have_an_interval_and_a_model_has_none(tmp_path: Path) -> None:
    estimates = evaluated(log_csv(tmp_path), "uniform")
    truth = float(CLICKS.mean())
    for name in ("ips", "snips", "doubly_robust"):
        low, high = estimates[name]["ci95"]
        assert low < truth < high
        assert estimates[name]["mean_weight_ci99"][0] < 1.0 < estimates[name]["mean_weight_ci99"][1]
    assert set(estimates["direct_method"]) == {"value", "no_interval"}


def test_bets_on_request_hold_and_are_wider(tmp_path: Path) -> None:
    file = log_csv(tmp_path)
    likelihood, betting = evaluated(file, "uniform"), evaluated(file, "uniform", interval="betting")
    low, high = betting["ips"]["ci95"]
    assert low < likelihood["ips"]["ci95"][0] < likelihood["ips"]["ci95"][1] < high
    assert betting["ips"]["value"] == likelihood["ips"]["value"]
    assert "ci95" not in betting["doubly_robust"]


def test_a_constant_propensity_is_uniform_only_if_it_is_that_of_all_actions(tmp_path: Path) -> None:
    third = np.full(3, 1.0 / 3.0)
    assert "value" in evaluated(log_csv(tmp_path, probabilities=third), "arm:a")["replay"]
    quarter = log_csv(tmp_path, probabilities=third, propensity=lambda actions: np.full(len(actions), 0.25))
    assert "the mean importance weight is 1.3" in refusal(quarter, "arm:a")
    actions = tmp_path / "actions.csv"
    actions.write_text("action\na\nb\nc\nd\n")
    assert "replay: the log is not uniform" in refusal(
        log_csv(tmp_path, probabilities=third), "uniform", actions=actions
    )


def test_a_list_of_actions_says_what_uniform_is(tmp_path: Path) -> None:
    actions = tmp_path / "actions.csv"
    actions.write_text("action\na\nb\nc\nd\ne\n")
    said = refusal(log_csv(tmp_path), "uniform", actions=actions)
    assert "uniform gives 40.0% of its choices to 2 actions that were never logged, more than 1%: 'd', 'e'" in said


def test_a_policy_of_what_was_never_logged_is_refused_and_the_actions_are_named(tmp_path: Path) -> None:
    said = refusal(log_csv(tmp_path, names=("A1", "7", "c")), str(table(tmp_path, **{"a1": 0.5, "007": 0.3, "c": 0.2})))
    assert "80.0% of its choices to 2 actions that were never logged, more than 1%: 'a1', '007'" in said
    assert "'A1' and 'a1'" in said
    assert "'7' and '007'" in said


def test_a_few_choices_of_what_was_never_logged_count_as_the_worst_and_the_best(tmp_path: Path) -> None:
    file = log_csv(tmp_path)
    whole = evaluated(file, str(table(tmp_path, a=0.2, b=0.3, c=0.5)))
    report = evaluate_policy(Settings(), file, Options(str(table(tmp_path, a=0.2, b=0.3, c=0.491, d=0.009))))
    assert report["never_logged"] == pytest.approx(0.009)
    for name in ("ips", "snips", "doubly_robust"):
        low, high = report["estimates"][name]["ci95"]
        # 0.9 % of choices of c, worth 0.3 each, are worth between 0 and 1 now.
        assert low == pytest.approx(whole[name]["ci95"][0] - 0.009 * 0.3, abs=5e-4)
        assert high == pytest.approx(whole[name]["ci95"][1] + 0.009 * 0.7, abs=5e-4)


def test_support_is_that_of_each_position(tmp_path: Path) -> None:
    file = log_csv(tmp_path, position=lambda actions: actions)
    by_position = tmp_path / "positions.csv"
    by_position.write_text("action,position,probability\na,0,0.5\nb,0,0.5\nb,1,1\nc,2,1\n")
    # Action a has position 0 only, b has position 1 only.
    assert "25." in refusal(file, str(by_position))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda actions: np.ones(len(actions)),
        lambda actions: PROBABILITIES[actions] / 100.0,
        lambda actions: -np.log(PROBABILITIES[actions]) / 2.0,
        lambda actions: PROBABILITIES[::-1][actions],
    ],
    ids=["deterministic", "percentages", "logarithms", "another policy's"],
)
def test_a_mean_weight_that_is_not_1_is_refused_with_likely_causes(tmp_path: Path, wrong: Any) -> None:
    said = refusal(log_csv(tmp_path, propensity=wrong), "arm:a")
    assert "the mean importance weight is" in said
    for cause in ("a deterministic log", "percentages", "logarithms", "propensities of something else"):
        assert cause in said


def test_rounded_propensities_are_no_wrong_ones(tmp_path: Path) -> None:
    file = log_csv(
        tmp_path, probabilities=np.full(3, 1.0 / 3.0), propensity=lambda actions: np.full(len(actions), 0.333)
    )
    low, high = evaluated(file, "uniform")["ips"]["ci95"]
    assert low < CLICKS.mean() < high


def test_a_heavy_tail_of_weights_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    weights = random.pareto(1.1, 4_000) + 0.01
    file = log_csv(
        tmp_path,
        new=lambda actions: 0.0005 * weights / weights.mean(),
        propensity=lambda actions: np.full(len(actions), 0.0005),
    )
    assert "Pareto k is" in refusal(file, "new", least_effective=1.0)
    low, high = evaluated(file, "new", least_effective=1.0, cap=5.0)["ips"]["ci95"]
    assert low < 0.8 * CLICKS @ PROBABILITIES < 1.2 * CLICKS @ PROBABILITIES < high


def test_rewards_that_are_all_equal_have_no_interval(tmp_path: Path) -> None:
    file = log_csv(tmp_path)
    file.write_text(file.read_text().replace(",1,", ",0,"))
    assert "every reward is 0" in refusal(file, "uniform")


def test_a_cap_widens_the_interval_by_what_it_may_have_taken(tmp_path: Path) -> None:
    file = log_csv(tmp_path)
    free, capped = evaluated(file, "arm:c"), evaluated(file, "arm:c", cap=4.0)
    assert capped["ips"]["value"] == pytest.approx(0.8 * free["ips"]["value"])
    assert capped["ips"]["ci95"][0] == pytest.approx(0.8 * free["ips"]["ci95"][0], rel=0.02)
    assert capped["ips"]["ci95"][1] > free["ips"]["ci95"][1] + 0.1
    assert capped["doubly_robust"]["no_interval"] == "a cap biases it, and the bias has no bound"


def test_ids_that_differ_in_case_or_padding_are_named() -> None:
    assert alike(["a", "A", "b", "7", "07", "7.0", "70", "0", "", "x 1", "X1"]) == [
        ["a", "A"],
        ["7", "07", "7.0"],
        ["x 1", "X1"],
    ]
    assert alike(["0", "00", "a0", "a00", "1.5", "1.50"]) == [["0", "00"]]
    assert alike_warning(["a", "b"]) == ""
    assert "'a' and 'A'" in alike_warning(["a", "A"])


def test_a_log_with_two_ids_of_an_action_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from streams.cli.main import run

    assert (
        run(["evaluate", "policy", "--log", str(log_csv(tmp_path, names=("a", "A", "c"))), "--policy", "uniform"]) == 0
    )
    assert "'A' and 'a'; write each action in one way" in capsys.readouterr().err


def test_an_unknown_arm_is_named_with_its_twin(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no action 'B' .*; did you mean 'b'"):
        evaluated(log_csv(tmp_path), "arm:B")


@pytest.mark.data
def test_open_bandit_data_has_its_list_of_actions(data_dir: Path) -> None:
    log = read_choices(data_dir / "obd_small" / "obd" / "random" / "all")
    assert len(log.names) == log.n_logged == 80
