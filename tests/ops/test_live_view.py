"""The demo's view: whole at every width, the same for people and for files, and nothing that a process logs is lost."""

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import pytest
from confluent_kafka import Consumer
from rich.console import Console

from producers.simulator.simulation import SimulationSummary
from streams.contract.experiment import misfit_of
from streams.contract.metrics import (
    AmountModels,
    AmountQuality,
    Drift,
    Estimate,
    FoldMetrics,
    GroundTruthMetrics,
    LastRecovery,
    LearnerMetrics,
    PartitionMetrics,
    Percentiles,
    PolicyRegret,
    ProbabilityModels,
    ProbabilityQuality,
    RecoveryMetrics,
    ServedAmounts,
    ServedProbabilities,
    WorkerMetrics,
    encode_metrics,
)
from streams.contract.records import JSON, Recommendation, RecommendedItem
from streams.contract.settings import Decisions, Settings
from streams.contract.settings.policies import CONTROLS
from streams.contract.topics import CATALOGUE, RECOMMENDATIONS, SOURCES
from streams.core.behaviour.tallies import summarise
from streams.demo.closed_loop import wait_for_learning
from streams.demo.live_view import PlainView, Progress, ScreenView, awaited, open_console, screen
from streams.demo.log_tail import LogTail
from streams.demo.policies_view import lift_line, lift_report, lift_text, policies_table, recommendations_grid
from streams.demo.recommendations import N_RECENT, RecentRecommendations
from streams.demo.report import make_report, outcome_of
from streams.demo.shares import DEMO_SHARES, with_demo_shares
from streams.observability.metrics_view import MetricsView

POLICIES: Final = tuple(DEMO_SHARES)
HEADERS: Final = {
    "target": ("served", "positives", "from prior", "AUC", "loss above base", "calibration"),
    "policy": ("shown", "clicks", "rate", "95 %", "regret", "thompson over it"),
}


def fold(lag: int, counts: dict[str, int], exposures: dict[str, Any]) -> FoldMetrics:
    partition = PartitionMetrics(
        lag=lag,
        applied_offset=1,
        schema=1,
        watermark_ms=1,
        applied_positions={},
        counts=counts,
        exposures=exposures,
        funnel={},
    )
    latency = Percentiles(123.4, 1234.5, 12345.6)
    return FoldMetrics(
        records_per_s=1234.5,
        records=1,
        step_us_per_record={},
        latency_ms=latency,
        latency_ms_overall=latency,
        partitions={0: partition},
    )


LATER_MS: Final = 10**15
"""After any reading of the clock."""

Exposure = tuple[int, int, int, int, int, int]

WORSE: Final = (65_000, 975_000, 97_500, 14_700_000, 1_400_000, 200_000)
LARGE: Final = (65_000, 975_000, 146_250, 14_700_000, 2_200_000, 400_000)
FEW_CLICKS: Final = (31, 975_000, 30, 10**12, 10**7, 10**3)
"""So few that the lift over them is unbounded."""
NO_USERS: Final = (1, 5, 0, 25, 0, 0)


def worker(
    *,
    done: float = 1.0,
    lag: int = 0,
    examples: int = 0,
    folds: Collection[str] = tuple(SOURCES),
    at_ms: int = 1,
    exposures: Mapping[str, Exposure] = MappingProxyType({}),
) -> bytes:
    """A worker's report after a million events."""
    counts = {
        "applied": 1_000_004,
        **{f"decisions.{name}": 325_000 for name in POLICIES},
        "decisions.thompson": 325_001,
    }
    recovery = LastRecovery(rows=0, rows_per_s=0.0, done=done, seconds=1.0)
    measured = {
        "behaviour": fold(lag, counts, {**dict.fromkeys(POLICIES, LARGE), **exposures}),
        "items": fold(0, {}, {}),
        "learning": fold(examples, {}, {}),
    }
    return encode_metrics(
        WorkerMetrics(
            source=f"worker/{'-'.join(folds)}",
            timestamp_ms=at_ms,
            interval_s=1.0,
            recovery=RecoveryMetrics(recovered_rows=0, standby_rows=0, last=recovery),
            totals=summarise([]),
            experiment=None,
            folds={SOURCES[name]: measured[name] for name in folds},
            unread={},
        )
    )


def learner(name: str, quality: ProbabilityModels | AmountModels) -> bytes:
    return encode_metrics(
        LearnerMetrics(
            source=f"learning/{name}",
            timestamp_ms=1,
            learner=name,
            version=1,
            examples=1_000_000,
            champion="m",
            quality=quality,
        )
    )


def full_view(**measured: Any) -> MetricsView:
    """What the demo shows at its end, with numbers as large as they get."""
    metrics_view = MetricsView()
    drift = Drift(alarms=0, recoveries=0, open=False, window_examples=0, window_loss=0.0)
    chance = dict.fromkeys(ProbabilityQuality.__annotations__, 0.123)
    amount = dict.fromkeys(AmountQuality.__annotations__, 1234.567)
    probability = ProbabilityQuality(**chance | {"examples": 1_000_000, "positives": 100_000})  # type: ignore[arg-type]
    expected = AmountQuality(**amount | {"examples": 1_000_000, "positives": 100_000})  # type: ignore[arg-type]
    common: dict[str, Any] = {"switches": 0, "replacement": None, "drift": drift}
    interval = Estimate(-0.123, -0.234, -0.012)
    probabilities = ServedProbabilities(probability, 1000, interval, interval)
    amounts = ServedAmounts(expected, 1000, interval, interval)
    metrics_view.take(worker(**measured))
    for target in ("purchase", "cart", "click"):
        models = ProbabilityModels(positives=100_000, served=probabilities, models={"m": probability}, **common)
        metrics_view.take(learner(target, models))
    models_of_amounts = AmountModels(amount_sum=1.0, served=amounts, models={"m": expected}, **common)
    metrics_view.take(learner("spend", models_of_amounts))
    regret = PolicyRegret(slates=1, true_ctr=0.1, best_ctr=0.2, regret=1.0, regret_per_slate=1.234)
    truth = GroundTruthMetrics(source="simulator", timestamp_ms=1, policies=dict.fromkeys(POLICIES, regret))
    metrics_view.take(encode_metrics(truth))
    return metrics_view


def recommendation(number: int, *, user: str = "user-4999", items: int = 5) -> Recommendation:
    slate = [RecommendedItem(f"item-{1000 * number + slot}", None, 1.0, "popular") for slot in range(items)]
    return Recommendation(f"r-{number}", f"clickstream-0-{number}", user, 1, "thompson", slate, {})


RECOMMENDED: Final = [recommendation(number) for number in range(1, 11)]


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def has_whole_tables(lines: list[str]) -> bool:
    headers = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in HEADERS}
    return all(name in headers.get(first, "") for first, names in HEADERS.items() for name in names)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 30), (120, 40), (200, 50)])
@pytest.mark.parametrize("logged", [[], ["x" * 500]])
@pytest.mark.parametrize("is_ended", [False, True])
def test_the_screen_is_whole_at_every_size(width: int, height: int, logged: list[str], *, is_ended: bool) -> None:
    console = Console(file=io.StringIO(), width=width, height=height)
    metrics_view = full_view(exposures={"random": FEW_CLICKS, "popular": WORSE})
    progress = Progress(1_000_000, 80.0, is_ended=is_ended)
    console.print(screen(metrics_view, progress, logged, RECOMMENDED, console.size))
    lines = printed(console)
    assert has_whole_tables(lines)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert "…" not in "".join(line for line in lines if "xxx" not in line)
    assert all(any(line.startswith(name) for line in lines) for name in (*POLICIES, "purchase", "cart", "click"))
    assert any(line.startswith("1,000,004 applied") for line in lines)
    assert sum(line.startswith(POLICIES) and " 1.234" in line for line in lines) == len(POLICIES)
    assert "thompson better than popular, not distinguishable from random and ranked" in lines
    (first, *_) = found = [line for line in lines if "user-4999" in line]
    assert len(found) == {24: 1, 30: 4, 40: 10, 50: 10}[height]
    assert " ".join(first.split()).startswith("recommended to user-4999 thompson item-1000, item-1001, item-1002")


def test_a_terminal_that_became_too_narrow_has_one_paragraph() -> None:
    console = Console(file=io.StringIO(), width=40, height=24)
    console.print(screen(full_view(), Progress(1_000_000, 80.0), [], RECOMMENDED, console.size))
    assert max(map(len, printed(console))) <= 40
    assert "1,000,004 of 1,000,000 events applied" in " ".join(" ".join(printed(console)).split())


def test_a_lift_is_beside_its_control_and_nowhere_else() -> None:
    metrics_view = full_view(exposures={"ranked": WORSE, "popular": NO_USERS})
    console = Console(file=io.StringIO(), width=80)
    policies = metrics_view.totals().policies
    console.print(policies_table(policies, metrics_view.ground_truth()))
    cells = {line.split()[0]: line.split()[6:] for line in printed(console)[2:]}
    assert cells.keys() == set(POLICIES)
    assert {name: " ".join(cell) for name, cell in cells.items() if cell} == {
        "random": " ".join(lift_text(policies["thompson"].lift["random"]).split()),
        "ranked": " ".join(lift_text(policies["thompson"].lift["ranked"]).split()),
        "popular": "too early",
    }
    assert cells["ranked"][0] == "+50%"
    line = "thompson better than ranked, not distinguishable from random"
    assert lift_line(policies).plain == line
    told = lift_report(policies)
    assert {control: (of["policy"], of["verdict"]) for control, of in told.items()} == {
        "random": ("thompson", "not distinguishable"),
        "ranked": ("thompson", "better"),
        "popular": ("thompson", "too early"),
    }
    assert told["ranked"]["estimate"] == pytest.approx(0.5)
    assert told["ranked"]["anytime95"][0] < told["ranked"]["ci95"][0] < 0.5
    assert told["popular"]["estimate"] is None


def test_what_is_alike_is_listed_together() -> None:
    worse = full_view(exposures=dict.fromkeys(CONTROLS, WORSE)).totals().policies
    assert lift_line(worse).plain == "thompson better than random, ranked and popular"
    better = full_view(exposures={"thompson": WORSE, "popular": WORSE}).totals().policies
    assert lift_line(better).plain == "thompson worse than random and ranked, not distinguishable from popular"


def test_controls_alone_have_no_lift() -> None:
    policies = {name: policy for name, policy in full_view().totals().policies.items() if name in CONTROLS}
    console = Console(file=io.StringIO(), width=80)
    console.print(policies_table(policies, {}))
    assert printed(console)[0].split()[-1] == "regret"
    assert (lift_line(policies).plain, lift_report(policies)) == ("", {})


@pytest.mark.parametrize("width", [80, 200])
def test_a_recommendation_names_whole_items_and_counts_those_that_do_not_fit(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    long_name = "x" * 300
    recommended = [
        recommendation(1, items=20),
        recommendation(2, user="\x1b[2J" + long_name),
        recommendation(3, items=0),
        Recommendation("r", "c", "user-1", 1, "q", [RecommendedItem(long_name, None, 1.0, "popular")], {}),
    ]
    console.print(recommendations_grid(recommended, width))
    first, second, third, fourth = printed(console)
    assert max(map(len, printed(console))) <= width
    shown = [word for word in first.replace(",", "").split() if word.startswith("item-")]
    assert shown == [f"item-{1000 + slot}" for slot in range(len(shown))]
    assert first.split()[-1] == f"+{20 - len(shown)}"
    assert "\x1b" not in second
    assert "item-2000" in second
    assert third.split()[-1] == "nothing"
    assert fourth.split()[-2:] == ["1", "items"]


def test_the_screen_follows_the_width_of_the_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, height=50)
    view = ScreenView(console)
    for width in (200, 80, 40):
        console.width = width
        view.show(full_view(), Progress(1_000_000, 80.0))
        lines = [
            "".join(segment.text for segment in line) for line in console.render_lines(view._live.renderable, pad=False)
        ]
        assert max(map(len, lines)) <= width
        assert has_whole_tables(lines) == (width >= 80)
    view.close()


def test_nothing_is_wrapped_in_a_file() -> None:
    console = open_console(io.StringIO())
    view = PlainView(console)
    view.show(full_view(), Progress(1_000_000, 80.0))
    view.warn(["level=warning " + "x" * 300])
    line, warning = printed(console)
    assert "thompson CTR" in line
    assert len(line) > 200
    assert warning == "level=warning " + "x" * 300


def test_the_start_and_the_end_say_what_is_waited_for() -> None:
    console = open_console(io.StringIO())
    view = PlainView(console)
    for at_s, part in enumerate(("the broker", "the workers", "the workers", "the shoppers")):
        view.show(MetricsView(), Progress(100, float(at_s), starting=part))
    metrics_view = full_view(examples=1234, lag=12)
    view.show(metrics_view, Progress(100, 4.0))
    view.show(metrics_view, Progress(100, 5.0))
    view.show(metrics_view, Progress(100, 6.0, is_ended=True))
    view.show(metrics_view, Progress(100, 6.25, is_ended=True))
    *starts, running, end = printed(console)
    assert [line.split("  ")[-1] for line in starts] == [
        "starting the broker",
        "starting the workers",
        "starting the shoppers",
    ]
    assert "lag 12 events, 1,234 examples, 0 item signals" in running
    assert end.endswith("waiting until all is learned: 12 events, 1,234 examples left")
    assert awaited(full_view()) == "nothing left"


def test_a_demo_is_ready_when_the_clickstream_is_folded() -> None:
    metrics_view = MetricsView()
    for report in (worker(folds=("items", "learning")), worker(folds=("behaviour",), done=0.5)):
        metrics_view.take(report)
        assert not metrics_view.is_ready()
    metrics_view.take(worker(folds=("behaviour",)))
    assert metrics_view.is_ready()


def test_the_end_is_when_each_fold_was_measured_after_the_last_event_and_has_nothing_left() -> None:
    """A fold may have been measured before the one that writes its source."""
    summary = SimulationSummary(1_000_004, {}, 0, 0, 0, 0, {}, 0, 0, stopped=False)
    others = ("items", "learning")
    metrics_view = MetricsView()
    nothing_new = None
    reports = [
        worker(folds=others, at_ms=LATER_MS),
        worker(folds=("behaviour",), lag=1),
        worker(folds=("behaviour",)),
        worker(folds=others),
        worker(folds=("behaviour",), at_ms=LATER_MS),
        worker(folds=others, at_ms=LATER_MS, examples=2),
        nothing_new,
        worker(folds=others, at_ms=LATER_MS + 1),
        worker(folds=others),
    ]
    left = iter(reports)

    def poll(*, starting: str = "", is_ended: bool = False) -> None:
        assert is_ended
        if (report := next(left)) is not nothing_new:
            metrics_view.take(report)

    wait_for_learning(metrics_view, poll, summary)
    assert len(list(left)) == 1


def test_the_report_says_how_far_learning_was_at_the_last_event() -> None:
    summary = SimulationSummary(1_000_004, {}, 0, 0, 0, 0, {}, 0, 0, stopped=False)
    outcome = outcome_of(full_view(lag=12, examples=3), summary)
    report = make_report(full_view(), outcome, 80.0)
    assert {fold: lag["records"] for fold, lag in report["lag"].items()} == {"behaviour": 12, "items": 0, "learning": 3}
    assert report["lag"]["learning"]["latency_ms"] == {"p50": 123.4, "p95": 1234.5, "p99": 12345.6}
    assert report["learned_share"] == 1 / (1 + 3)
    assert make_report(full_view(), outcome_of(MetricsView(), summary), 80.0)["learned_share"] == 0.0
    assert make_report(MetricsView(), outcome_of(MetricsView(), summary), 80.0)["learned_share"] is None


def test_what_is_logged_over_the_screen_is_printed_when_it_closes() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    view = ScreenView(console)
    view.warn(["first"])
    view.warn(["second"])
    assert "first" not in "".join(printed(console))
    view.close()
    *_, first, second = printed(console)
    assert first.endswith("first")  # behind what leaves the screen
    assert second == "second"


def test_only_whole_lines_of_a_log_are_read_and_each_once(tmp_path: Path) -> None:
    log = LogTail(tmp_path / "log")
    assert log.read() == []
    with log.path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert log.read() == ["one"]
        file.write(b"o\n\xff\n")
        assert log.read() == ["two", "\N{REPLACEMENT CHARACTER}"]
    assert log.read() == []


def test_the_demo_gives_every_control_a_share_unless_shares_are_configured() -> None:
    shares = with_demo_shares(Settings()).decisions.shares
    assert misfit_of(shares, (), Settings().decisions.policy_names) is None
    assert all(shares[control] >= 0.1 for control in CONTROLS)
    configured = Settings(decisions=Decisions(shares={"random": 0.5, "bandit": 0.5}))
    assert with_demo_shares(configured) == configured


class MemoryMessage(NamedTuple):
    content: bytes | None
    failure: object = None
    name: str = RECOMMENDATIONS
    item: str = ""

    def topic(self) -> str:
        return self.name

    def key(self) -> bytes:
        return self.item.encode()

    def value(self) -> bytes | None:
        return self.content

    def error(self) -> object:
        return self.failure


class Records:
    """A consumer that hands out what has come, once."""

    def __init__(self) -> None:
        self.come: list[MemoryMessage] = []

    def consume(self, number: int, timeout_s: float) -> list[MemoryMessage]:
        assert timeout_s == 0.0
        taken, self.come = self.come[:number], self.come[number:]
        return taken


def test_the_newest_recommendations_come_first_and_what_cannot_be_read_is_skipped() -> None:
    records = Records()
    recent = RecentRecommendations(cast(Consumer, records), CATALOGUE)
    assert recent.read() == []
    many = [recommendation(number) for number in range(1, 41)]
    records.come = [MemoryMessage(JSON.encode(each)) for each in many]
    records.come += [MemoryMessage(b"\xff"), MemoryMessage(None), MemoryMessage(b"{}", "no broker")]
    assert recent.read() == many[: -N_RECENT + 1 : -1]
    records.come = [MemoryMessage(JSON.encode(many[0]))]
    assert recent.read()[:2] == [many[0], many[-1]]
    assert len(recent.read()) == N_RECENT - 1


def test_titles_come_from_the_catalogue_and_leave_with_their_items() -> None:
    records = Records()
    recent = RecentRecommendations(cast(Consumer, records), CATALOGUE)

    def listed(item: str, title: str) -> MemoryMessage:
        return MemoryMessage(
            b'{"item_id": "%s", "title": "%s"}' % (item.encode(), title.encode()), None, CATALOGUE, item
        )

    decided = [MemoryMessage(JSON.encode(recommendation(number))) for number in range(N_RECENT)]
    records.come = [listed("hat", "Hat"), *decided, listed("cap", "Cap"), listed("hat", "Straw hat")]
    assert len(recent.read()) == N_RECENT
    assert recent.titles == {"hat": "Straw hat", "cap": "Cap"}
    records.come = [MemoryMessage(None, None, CATALOGUE, "cap"), MemoryMessage(b"{", None, CATALOGUE, "hat")]
    assert len(recent.read()) == N_RECENT
    assert recent.titles == {"hat": "Straw hat"}


def test_the_screen_names_items_by_the_titles_that_are_known() -> None:
    console = Console(file=io.StringIO(), width=120, height=40)
    titles = {"item-1001": "Straw \x1b[2Jhat"}
    console.print(screen(full_view(), Progress(1_000_000, 80.0), [], [recommendation(1)], console.size, titles))
    [line] = [line for line in printed(console) if "item-1000" in line]
    assert "item-1000, Straw \ufffd[2Jhat, item-1002" in line
