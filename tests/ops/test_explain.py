"""A shopper is explained from a data directory as they were by the prediction that was published."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from rocksdict import Options, Rdict

from streams.admin.explanation import explain_shopper
from streams.cli import explain
from streams.cli.main import run
from streams.contract.errors import UnreadableSource
from streams.contract.settings import Kafka, Settings, Target
from streams.core.features.groups import SHOPPER_GROUPS
from tests.behaviour.small_shop import SETTINGS, Shop


def data_of(shop: Shop, folder: Path) -> Path:
    """Writes the rows as a worker would keep them."""
    for name, worker in (("users", shop.behaviour), ("learners", shop.learning)):
        for partition, rows in worker.table.rows.items():
            path = folder / "v1" / "tables" / f"{name}-{partition}.db"
            path.parent.mkdir(parents=True, exist_ok=True)
            table = Rdict(str(path), options=Options(raw_mode=True))
            for key, value in rows.items():
                table[key] = value
            table.close()
    return folder


SPEND = Target(name="spend", rule="spend", horizon_s=1000, sampling_rate=1.0, prior=1.0, models=("hurdle",))


def trained() -> Shop:
    shop = Shop(settings=replace(SETTINGS, targets=(*SETTINGS.targets, SPEND)))
    for number in range(30):
        user = f"user-{number % 7}"
        shop.view(1100 * number, f"i{number % 12}", user_id=user, category=f"c{number % 3}", price=5.0 + number)
        if number % 3 == 0:
            shop.send("add_to_cart", 1100 * number + 5, item_id=f"i{number % 12}", user_id=user)
            shop.send("purchase", 1100 * number + 9, item_id=f"i{number % 12}", user_id=user, price=9.0)
    shop.learn(50)
    shop.refresh()
    return shop


def test_a_shopper_is_explained_as_the_last_prediction_said(tmp_path: Path) -> None:
    shop = trained()
    shop.view(34_000, "i3", category="c1", price=12.5)
    shop.view(34_050, "i4", category="c1", price=2.5)
    said = shop.predictions()[-1]
    explained = explain_shopper(shop.settings, data_of(shop, tmp_path), "anna")
    targets = explained["targets"]
    assert {name: target["probability"] for name, target in targets.items() if "probability" in target} == (
        said.probabilities
    )
    assert {name: target["amount"] for name, target in targets.items() if "amount" in target} == said.amounts
    assert {name: target["version"] for name, target in targets.items()} == said.model_versions
    assert said.model_versions["purchase"] > 0
    assert said.model_versions["spend"] > 0
    for name, reasons in said.reasons.items():
        shown = [(reason["group"], reason["contribution"]) for reason in targets[name]["reasons"]]
        assert shown == [(reason.group, reason.contribution) for reason in reasons]
    assert targets["purchase"]["reasons"]
    assert targets["spend"]["reasons"]


def test_a_reason_is_told_by_its_name_and_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = trained()
    shop.view(34_000, "i3", category="c1", price=12.5)
    explained = explain_shopper(shop.settings, data_of(shop, tmp_path), "anna")
    monkeypatch.setenv("COLUMNS", "200")
    explain._show(explained)
    shown = capsys.readouterr().out
    for target in explained["targets"].values():
        for reason in target["reasons"]:
            assert reason["words"] == SHOPPER_GROUPS[reason["group"]]
            assert f"{reason['contribution']:+.2f} {reason['group']}: {reason['words']}" in shown


def test_whoever_is_unknown_is_an_error_that_says_so(tmp_path: Path) -> None:
    shop = trained()
    folder = data_of(shop, tmp_path)
    with pytest.raises(UnreadableSource, match="'bea'"):
        explain_shopper(shop.settings, folder, "bea")
    elsewhere: Settings = replace(shop.settings, kafka=Kafka(partitions=50))
    with pytest.raises(UnreadableSource, match="another worker"):
        explain_shopper(elsewhere, folder, "anna")


def test_the_command_prints_json_when_piped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = Shop()
    shop.view(0, "i1")
    shop.tick(10_000)
    shop.learn(10)
    config = tmp_path / "headrace.toml"
    windows = [f"[[windows]]\nname = '{w.name}'\npane_s = {w.pane_s}\npanes = {w.panes}" for w in shop.settings.windows]
    config.write_text("\n".join(["[kafka]", "partitions = 1", *windows]), "utf-8")
    folder = data_of(shop, tmp_path / "data")
    assert run(["--config", str(config), "explain", "anna", "--data", str(folder)]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert explained["user_id"] == "anna"
    assert set(explained["targets"]) == {"purchase", "cart", "click", "spend"}
    assert run(["--config", str(config), "explain", "nobody", "--data", str(folder)]) == 2
