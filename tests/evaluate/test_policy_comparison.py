"""`headrace evaluate policy --against`: paired differences of policies on the same rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from streams.cli.main import run
from streams.contract.errors import ConfigurationError
from streams.contract.settings import Settings
from streams.evaluation.offpolicy.evaluation import Options, evaluate_policy
from tests.evaluate.test_evaluate_policy import MODEL, SETTINGS, bandit_csv, decisions, written
from tests.evaluate.test_policy_support import CLICKS, PROBABILITIES, log_csv


def compared(log: Path, policy: str, *against: str, **options: Any) -> dict[str, Any]:
    return evaluate_policy(Settings(), log, Options(policy, against=against, **options))


def test_columns_of_a_log_are_policies_whose_difference_is_paired(tmp_path: Path) -> None:
    old, new = np.array([0.2, 0.4, 0.4]), np.array([0.2, 0.3, 0.5])
    file = log_csv(tmp_path, 8_000, old=lambda actions: old[actions], new=lambda actions: new[actions])
    report, other = compared(file, "new", "old"), compared(file, "old")
    for name in ("ips", "snips"):
        difference = report["against"]["old"][name]
        own, theirs = report["estimates"][name], other["estimates"][name]
        assert difference["difference"] == own["value"] - theirs["value"]
        assert difference["ci95"][0] < CLICKS @ (new - old) < difference["ci95"][1]
        assert np.diff(difference["ci95"]) < 0.5 * np.diff(own["ci95"])
    assert "only the policy's probability of the chosen action" in report["estimates"]["doubly_robust"]["refused"]


def test_fixed_arms_are_among_the_policies(tmp_path: Path) -> None:
    report = compared(log_csv(tmp_path), "arm:c", "arm:a", "uniform")
    assert set(report["against"]) == {"arm:a", "uniform"}
    for name, truth in (("arm:a", CLICKS[2] - CLICKS[0]), ("uniform", CLICKS[2] - CLICKS.mean())):
        for estimator in ("ips", "snips", "doubly_robust"):
            low, high = report["against"][name][estimator]["ci95"]
            assert 0.0 < low < truth < high
    assert "ci95" not in report["against"]["uniform"]["direct_method"]
    assert compared(log_csv(tmp_path), "arm:c")["estimates"]["ips"] == report["estimates"]["ips"]


def test_intervals_against_several_policies_are_wider(tmp_path: Path) -> None:
    file = log_csv(tmp_path)
    one = compared(file, "arm:c", "arm:a")["against"]["arm:a"]["ips"]["ci95"]
    two = compared(file, "arm:c", "arm:a", "arm:b")["against"]["arm:a"]["ips"]["ci95"]
    assert two[0] < one[0] < one[1] < two[1]
    assert np.diff(two) < 1.2 * np.diff(one)


def test_simultaneous_intervals_hold_all_differences_as_often_as_they_say(tmp_path: Path) -> None:
    held = judged = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        actions = random.choice(3, 1_500, p=PROBABILITIES)
        rewards = random.random(1_500) < CLICKS[actions]
        rows = zip(actions, PROBABILITIES[actions], rewards, strict=True)
        file = tmp_path / "log.csv"
        file.write_text("action,propensity,reward\n" + "".join(f"{'abc'[a]},{p},{r:d}\n" for a, p, r in rows))
        report = compared(file, "uniform", "arm:a", "arm:b", "arm:c", least_effective=100.0)
        differences = [each["ips"] for each in report["against"].values()]
        if any("refused" in each for each in differences):
            continue
        judged += 1
        bounds = np.array([each["ci95"] for each in differences])
        truth = CLICKS.mean() - CLICKS
        held += bool(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).all())
    assert judged >= 50
    assert held >= binom.ppf(1e-3, judged, 0.95)


def test_policies_that_learn_are_compared_on_the_second_half(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(bandit_csv())
    report = evaluate_policy(SETTINGS, file, Options("uniform", against=("greedy",)))
    assert report["rows"] == 3_000
    assert report["against"]["greedy"]["ips"]["ci95"][1] < 0.0
    alone = evaluate_policy(SETTINGS, file, Options("greedy"))
    assert report["estimates"]["ips"]["value"] - alone["estimates"]["ips"]["value"] == pytest.approx(
        report["against"]["greedy"]["ips"]["difference"], abs=1e-15
    )


def test_policies_are_compared_on_slates(tmp_path: Path) -> None:
    report = evaluate_policy(
        SETTINGS, written(tmp_path, MODEL, *decisions()), Options("epsilon", against=("random",), least_effective=1.0)
    )
    difference = report["against"]["random"]["reward_interaction"]
    assert difference["difference"] == pytest.approx(
        report["estimates"]["reward_interaction"]["value"] - report["logged_value"]
    )
    assert difference["ci95"][0] > 0.0


def test_an_estimate_that_one_policy_lacks_has_no_difference(tmp_path: Path) -> None:
    report = compared(log_csv(tmp_path, 2_000), "uniform", "arm:c")
    assert report["against"]["arm:c"]["ips"]["refused"].startswith("arm:c: the effective sample size is")
    assert "replay" not in report["against"]["arm:c"]


def test_the_command_compares(tmp_path: Path) -> None:
    file, report = log_csv(tmp_path), tmp_path / "report.json"
    arguments = ["--log", str(file), "--policy", "arm:c", "--against", "arm:a", "--report", str(report)]
    assert run(["evaluate", "policy", *arguments]) == 0
    assert set(json.loads(report.read_text())["against"]["arm:a"]["ips"]) == {"difference", "ci95"}


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    file = log_csv(tmp_path)
    with pytest.raises(ConfigurationError, match="named twice"):
        compared(file, "uniform", "uniform")
    with pytest.raises(ConfigurationError, match="empirical likelihood only"):
        compared(file, "uniform", "arm:a", interval="betting")
