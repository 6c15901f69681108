"""A recorded file is replayed through a real worker; what is in its tables is what plain Python counts in the file."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.contract.events import Event
from streams.contract.metrics import LearnerMetrics, ProbabilityModels, WorkerMetrics, decode_metrics
from streams.contract.settings import Settings
from tests.fuzzing import AT_LENGTH
from tests.producers.files import read_taobao
from tests.system import shoppers
from tests.system.cluster import Cluster, cluster

BEGIN_S = 1_511_539_200
LINES = 2500


def write_taobao(path: Path, n_lines: int = LINES) -> None:
    """Shoppers who come and go, a day a thousand lines; some are later than their place."""
    draw = random.Random(5)
    now_s = BEGIN_S
    lines = ["user_id,item_id,category_id,behavior,timestamp"]
    for _ in range(n_lines):
        now_s += draw.choice((0, 1, 20, 300))
        behind_s = draw.choices((0, 100, 4000), [90, 8, 2])[0]
        user, item = min(int(draw.expovariate(0.05)), 120), min(int(draw.expovariate(0.02)), 300)
        behavior = draw.choices(["pv", "cart", "buy", "fav"], [85, 6, 4, 5])[0]
        lines.append(f"{user},{item},{item % 9},{behavior},{now_s - behind_s}")
    path.write_text("\n".join(lines) + "\n")


def check_replay(it: Cluster, file: Path) -> dict[str, Any]:
    """Replays a file through a worker and compares; returns the worker's totals."""
    worker = it.start("disk")
    report = it.folder / "replay.json"
    worker = it.replay(file, worker, "--keep-order", "--report", str(report))
    (worker,) = it.settle(worker)
    worker.stop()
    events = list(read_taobao(file))
    assert orjson.loads(report.read_bytes())["produced"] == len(events) + it.settings.kafka.partitions
    return check_rows(it, events, "disk")


def check_rows(it: Cluster, events: Sequence[Event], disk: str) -> dict[str, Any]:
    """Compares the rows of a worker that has ended with what plain Python counts; returns the workers' totals."""
    ticks = it.settings.kafka.partitions
    counts = [row.counts for row in it.rows_of_partitions("clickstream").values()]
    assert sum(count.get("applied", 0) for count in counts) == len(events) + ticks
    assert not it.records("dead-letters")
    rows = {row["user_id"]: row for row in it.inspect("users", disk)}
    users = shoppers.by_user(events)
    assert rows.keys() == users.keys()
    for user, own in users.items():
        expected = shoppers.session(own, it.settings)
        assert {name: rows[user]["session"][name] for name in expected} == expected, user
        assert rows[user]["windows"] == shoppers.windows(own, it.settings), user
    return {"late": sum(count.get("late", 0) for count in counts)}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("replayed")
    write_taobao(folder / "small.csv")
    with cluster(folder) as it:
        yield it, check_replay(it, folder / "small.csv")


def test_every_line_is_in_its_users_row_once(replayed: tuple[Cluster, dict[str, Any]]) -> None:
    _, totals = replayed
    assert totals["late"] > 10


def test_items_and_models_can_be_inspected(replayed: tuple[Cluster, dict[str, Any]]) -> None:
    it, _ = replayed
    views = sum(event.kind == "view" for event in read_taobao(it.folder / "small.csv"))
    items = it.inspect("items", "disk")
    assert 0 < sum(item["popularity"] for item in items) <= 5 * views
    assert {"learner", "examples", "version"} <= set(it.inspect("models", "disk")[0])


@pytest.mark.parametrize("topic", ["recommendations", "predictions", "metrics"])
def test_a_topic_that_is_tailed_into_a_pipe_is_lines_of_json(
    replayed: tuple[Cluster, dict[str, Any]], topic: str
) -> None:
    it, _ = replayed
    known = it.records(topic)
    done = it.headrace("tail", topic, "--from-beginning", "--max", str(len(known)))
    assert done.stderr == b""
    lines = done.stdout.splitlines()
    assert sorted(lines) == sorted(record.value for record in known)
    assert all(isinstance(orjson.loads(line), dict) for line in lines)


def test_the_metrics_carry_what_an_operator_needs(replayed: tuple[Cluster, dict[str, Any]]) -> None:
    it, totals = replayed
    records = [decode_metrics(record.value) for record in it.records("metrics")]
    last = [record for record in records if isinstance(record, WorkerMetrics)][-1]
    assert last.totals.applied == LINES + it.settings.kafka.partitions
    assert (last.totals.duplicates, last.totals.late, last.totals.dead_letters) == (0, totals["late"], {})
    fold = last.folds["clickstream"]
    assert {number: each.lag for number, each in fold.partitions.items()} == dict.fromkeys(range(4), 0)
    assert fold.latency_ms_overall is not None
    assert set(last.totals.policies) == set(Settings().decisions.shares)
    learned = {record.learner: record for record in records if isinstance(record, LearnerMetrics)}
    assert {"purchase", "cart"} <= set(learned)
    quality = learned["purchase"].quality
    assert isinstance(quality, ProbabilityModels)
    # A file that is replayed at full speed may be served from the prior throughout.
    assert learned["purchase"].champion in quality.models
    assert quality.served.quality.examples + quality.served.from_prior > learned["purchase"].examples > 0


@pytest.mark.data
def test_every_line_of_the_public_file_is_in_its_users_row_once(data_dir: Path, tmp_path: Path) -> None:
    """One user in four of the file; all of them in ``make fuzz``."""
    file = data_dir / "taobao_userbehavior" / "user_histories.csv"
    with cluster(tmp_path) as it:
        check_replay(it, file if AT_LENGTH else _every_fourth_user(file, tmp_path / "histories.csv"))


def _every_fourth_user(file: Path, part: Path) -> Path:
    heading, *lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if int(line.partition(",")[0]) % 4 == 0]
    assert 20_000 < len(kept) < len(lines) / 3
    part.write_text("".join([heading, *kept]))
    return part
