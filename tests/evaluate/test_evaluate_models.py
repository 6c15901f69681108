import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from streams.cli.main import run

MEASURES = {
    "auc",
    "auc_last30",
    "average_precision",
    "log_loss",
    "brier",
    "calibration",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "us_per_event",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("table") / "visits.csv"
    pages, kinds = random.poisson(4.0, 1500), random.choice(["new", "known"], 1500)
    chance = 1.0 / (1.0 + np.exp(3.0 - 0.6 * pages + 1.5 * (kinds == "new")))
    bought = random.random(1500) < chance
    rows = [f"{n},{pages[n]},{kinds[n]},{bought[n]}" for n in range(1500)]
    path.write_text("id,pages,kind,bought\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def evaluated(table: Path, report: Path, *arguments: str) -> dict:
    of_table = ["--dataset", "csv", str(table), "--label", "bought", "--ignore", "id", "--seeds", "2"]
    assert run(["evaluate", "models", *of_table, "--report", str(report), *arguments]) == 0
    document: dict = json.loads(report.read_text("utf-8"))
    return document


def test_any_table_gets_a_report_of_champion_members_and_baseline(table: Path, tmp_path: Path) -> None:
    arguments = ["--models", "linear,perceptron", "--baseline", "--plot", str(tmp_path / "curves.html")]
    report = evaluated(table, tmp_path / "out.json", *arguments)
    assert set(report["champion"]) >= MEASURES
    assert {name: set(numbers) >= MEASURES for name, numbers in report["models"].items()} == {
        "linear": True,
        "perceptron": True,
    }
    assert report["champion"]["auc"] == pytest.approx(report["models"]["linear"]["auc"], abs=0.05)
    assert 0.7 < report["champion"]["auc_last30"] < 0.95
    assert 0.7 < report["baseline"]["auc_last30"] < 0.95
    assert report["champion"]["std"]["auc"] > 0.0
    assert (report["examples"], report["seeds"]) == (1500, 2)
    assert "data:image/png;base64" in (tmp_path / "curves.html").read_text("utf-8")


def test_a_seed_gives_the_same_report_again(table: Path, tmp_path: Path) -> None:
    once, again = (evaluated(table, tmp_path / f"{n}.json", "--models", "linear") for n in range(2))
    for report in (once, again):
        del report["champion"]["us_per_event"], report["models"]["linear"]["us_per_event"]
    assert once == again


def test_a_label_that_is_noise_is_not_predicted(table: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = table.read_text("utf-8").splitlines()
    noise = [f"{line.rsplit(',', 1)[0]},{random.random() < 0.4}" for line in lines[1:]]
    shuffled = tmp_path / "noise.csv"
    shuffled.write_text("\n".join([lines[0], *noise]) + "\n", "utf-8")
    assert abs(evaluated(shuffled, tmp_path / "out.json")["champion"]["auc"] - 0.5) < 0.06


def test_a_report_says_what_was_read_and_another_way_of_writing_changes_nothing(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quoted = [";".join(f'"{cell}"' for cell in line.split(",")) for line in table.read_text("utf-8").splitlines()]
    written = "\ufeff" + "\r\n".join([*quoted[:2], '"short"', *quoted[2:]]) + "\r\n"

    class Input:
        buffer = io.BufferedReader(io.BytesIO(gzip.compress(written.encode())))

    plain = evaluated(table, tmp_path / "plain.json", "--models", "linear")
    monkeypatch.setattr(sys, "stdin", Input())
    other = evaluated(Path("-"), tmp_path / "other.json", "--models", "linear")
    assert "1 bad rows are left out (--strict refuses them): line 3: there are 1 values" in capsys.readouterr().err
    assert (plain.pop("left_out"), other.pop("left_out")) == (0, 1)
    assert plain["columns"] == {
        "id": "left out: --ignore",
        "pages": "number",
        "kind": "category of 2 values",
        "bought": f"label, {plain['positive']!r} is positive",
    }
    for report in (plain, other):
        del report["champion"]["us_per_event"], report["models"]["linear"]["us_per_event"]
    assert other == plain


def test_the_other_class_is_positive_if_it_is_named(table: Path, tmp_path: Path) -> None:
    reports = [
        evaluated(table, tmp_path / f"{value}.json", "--models", "linear", "--positive", value)
        for value in ("true", "FALSE")
    ]
    assert [(report["positive"], report["negative"]) for report in reports] == [("True", "False"), ("False", "True")]
    assert sum(report["positives"] for report in reports) == 1500


@pytest.mark.parametrize("dataset", ["online-shoppers", "taobao"])
def test_a_data_set_that_is_not_there_says_where_to_get_it(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path))
    assert run(["evaluate", "models", "--dataset", dataset]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "get the data set from https://" in complaint
    assert "set HEADRACE_DATA to the folder" in complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dataset", "csv"], "needs the path of a file"),
        (["--dataset", "csv", "nowhere.csv", "--label", "y"], "nowhere.csv: No such file"),
        (["--dataset", "online-shoppers", "some.csv"], "has a path of its own"),
        (
            ["--dataset", "csv", "some.csv", "--models", "linear,oracle"],
            "there is no model 'oracle' here; known: blend, linear",
        ),
        (["--dataset", "csv", "some.csv", "--plot", "curves.gif"], "takes a .png or an .html file"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "models", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(("extra", "module"), [("--baseline", "sklearn.ensemble"), ("--plot=x.png", "matplotlib")])
def test_a_missing_extra_is_named(
    table: Path, extra: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    arguments = ["--dataset", "csv", str(table), "--label", "bought", "--seeds", "1", extra]
    assert run(["evaluate", "models", *arguments]) == 2
    assert "pip install 'headrace[" in capsys.readouterr().err


@pytest.mark.data
def test_online_shoppers_are_read_with_their_label(data_dir: Path) -> None:
    from streams.evaluation.datasets import DATASETS
    from streams.evaluation.table import read_table

    for each in DATASETS.values():
        if each.format:
            continue
        table = read_table(data_dir / each.file, each.label, each.ignored)
        assert 0.1 < table.labels.mean() < 0.3
        assert np.isfinite(table.vectors).all()


@pytest.mark.data
def test_one_pass_over_online_shoppers_comes_near_to_batch_boosting(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_DATA", str(data_dir))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    report = tmp_path / "out.json"
    models = "blend,linear,additive,perceptron"
    arguments = ["--dataset", "online-shoppers", "--seeds", "1", "--baseline", "--models", models]
    assert run(["evaluate", "models", *arguments, "--report", str(report)]) == 0
    champion = json.loads(report.read_text("utf-8"))["champion"]
    assert champion["auc"] >= 0.908
    assert champion["auc_last30_behind_baseline"] <= 0.015
    assert 0.95 < champion["calibration"] < 1.05
