"""A loss of more than 15 % against what is expected is named, and nothing else is."""

import json

from benchmarks.check import EXPECTED, lost
from benchmarks.pipeline import Stages, watched
from benchmarks.table import ratios


def test_only_what_fell_too_far_is_named() -> None:
    expected = {"engine/quix": 4.0, "engine/faust": 40.0, "core/bare_loop": 0.02}
    assert lost(expected, {"engine/quix": 3.45, "engine/faust": 33.9, "core/bare_loop": 0.03}) == ["engine/faust"]
    assert lost(expected, {"engine/quix": 4.0}) == []


def test_what_is_expected_is_what_a_run_with_all_peers_compares() -> None:
    peers = ("bare_loop", "quix", "faust", "quix_pipeline", "faust_pipeline")
    rates = dict.fromkeys((*peers, "engine", "wordcount", "core", "pipeline"), 1.0)
    assert json.loads(EXPECTED.read_text("utf-8"))["ratios"].keys() == ratios(rates).keys()


def test_time_is_charged_to_the_innermost_stage_and_the_functions_are_put_back() -> None:
    class Oven:
        def bake(self) -> str:
            return self.heat() + "cake"

        def heat(self) -> str:
            return "hot "

    stages = Stages()
    before = Oven.bake
    with watched(stages, {(Oven, "bake"): "baking", (Oven, "heat"): "heating"}):
        assert Oven().bake() == "hot cake"
    assert set(stages.ns) == {"baking", "heating"}
    assert all(spent > 0 for spent in stages.ns.values())
    assert Oven.bake is before
