"""The demo's clock, and what it says of the best attainable quality."""

from producers.simulator.attainable import Attainable, AttainableClickRate
from producers.simulator.quality import AttainableAmount, AttainableProbability
from streams.contract.settings import Settings, Time
from streams.demo.attainable_lines import attainable_lines, attainable_report
from streams.demo.simulator import with_demo_clock

CART = AttainableProbability(
    examples=10, positives=2, auc=0.75, log_loss=0.4, base_log_loss=0.5, calibration=None
)  # fmt: skip
SPEND = AttainableAmount(
    examples=10, positives=0, rmse=1.5, base_rmse=1.75, deviance=0.1, base_deviance=None, calibration=None
)


def test_the_demo_allows_more_lateness_unless_time_was_set() -> None:
    assert with_demo_clock(Settings()).time.allowed_lateness_s == 3600.0
    declared = Settings(time=Time(session_gap_s=900.0))
    assert with_demo_clock(declared) == declared


def test_what_is_attainable_is_reported_by_target() -> None:
    rate = AttainableClickRate(slates=3, shown_ctr=0.1, attainable_ctr=0.2, best_ctr=0.3)
    attainable = Attainable(users=4, targets={"cart": CART}, amounts={"spend": SPEND}, click_rate=rate)
    report = attainable_report(attainable)
    assert report["attainable"]["cart"]["auc"] == 0.75
    assert report["attainable"]["spend"]["base_rmse"] == 1.75
    assert report["attainable_ctr"]["attainable_ctr"] == 0.2
    assert str(attainable_lines(attainable)).splitlines() == [
        (
            "attainable from the events alone (base rate's), by 4 shoppers: cart AUC 0.750, log loss 0.400 (0.500); "
            "spend RMSE 1.500 (1.750)"
        ),
        "click rate of a slot: shown 10.0%, attainable from the events alone 20.0%, best 30.0%",
    ]


def test_a_run_too_short_for_a_label_says_so() -> None:
    attainable = Attainable(users=4, targets={}, amounts={}, click_rate=None)
    assert attainable_report(attainable) == {"attainable": {}, "attainable_ctr": None}
    assert str(attainable_lines(attainable)) == "attainable: the run was too short for final labels"
