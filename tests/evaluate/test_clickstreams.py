from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from streams.contract.errors import ConfigurationError
from streams.contract.settings import DEFAULT_TARGETS, Settings, Time
from streams.evaluation.clickstream import clickstream_table
from streams.evaluation.table import Table
from tests.producers.files import read_taobao

PURCHASE = replace(DEFAULT_TARGETS[0], sampling_rate=1.0)
# One user after another: each of them advances time.
SETTINGS = Settings(targets=(PURCHASE, *DEFAULT_TARGETS[1:]), time=Time(confirming_users=1))


def recorded(folder: Path, lines: list[str]) -> Path:
    path = folder / "UserBehavior.csv"
    path.write_text("user_id,item_id,category_id,behavior,timestamp\n" + "\n".join(lines) + "\n", "ascii")
    return path


def read_clickstream(path: Path, target: str, settings: Settings) -> Table:
    events = sorted(read_taobao(path), key=lambda event: event.timestamp_ms)
    return clickstream_table(events, path.name, target, settings, lambda done: None)


def test_a_recorded_clickstream_makes_the_examples_that_behaviour_would_send(tmp_path: Path) -> None:
    lines = []
    for user in range(20):
        at_s = 1_511_600_000 + 10_000 * user
        lines += [f"{user},{user},7,pv,{at_s}", f"{user},{user},7,pv,{at_s + 5}"]
        if user % 2:
            lines.append(f"{user},{user},7,buy,{at_s + 60}")
    table = read_clickstream(recorded(tmp_path, lines), "purchase", SETTINGS)
    # Of each shopper two views, and of each second one the purchase, which is predicted at as well.
    assert table.labels.tolist() == [0.0, 0.0, 1.0, 1.0, 0.0] * 10
    assert table.known is not None
    # A shopper's first event makes the labels of the shopper before final, so that only the next one knows them.
    n_before = [0, *np.cumsum([2, 3] * 10).tolist()]
    expected = [[n_before[max(user - 1, 0)], *[n_before[user]] * (1 + user % 2)] for user in range(20)]
    assert table.known.tolist() == [known for of_user in expected for known in of_user]
    assert table.vectors[:, table.schema.names.index("views_5m")].tolist() == [1.0, 2.0, 1.0, 2.0, 2.0] * 10


def test_a_sampling_rate_takes_its_share_of_a_recorded_clickstream(tmp_path: Path) -> None:
    lines = [f"{user},1,7,pv,{1_511_600_000 + user}" for user in range(400)] + ["3,1,7,buy,1511600500"] * 3
    lines += [f"{user},1,7,buy,{1_511_600_600 + user}" for user in range(0, 400, 2)]
    whole = read_clickstream(recorded(tmp_path, lines), "purchase", SETTINGS)
    part = read_clickstream(recorded(tmp_path, lines), "purchase", Settings())
    assert len(part.labels) == pytest.approx(0.3 * len(whole.labels), abs=0.1 * len(whole.labels))
    rows = [bytes(row) for row in whole.vectors]
    assert all(bytes(row) in rows for row in part.vectors)


def test_an_example_knows_only_the_labels_that_were_final_when_it_was_predicted(tmp_path: Path) -> None:
    lines = [f"{user},1,7,pv,{1_511_600_000 + user}" for user in range(10)] + ["3,1,7,buy,1511600100"]
    table = read_clickstream(recorded(tmp_path, lines), "purchase", SETTINGS)
    assert table.known is not None
    assert (table.known == 0).all()
    assert table.labels.sum() == 1.0


def test_a_target_that_nothing_happens_for_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = recorded(tmp_path, ["1,1,7,pv,1511600000", "2,1,7,pv,1511600001"])
    with pytest.raises(ConfigurationError, match=r"the examples of target purchase from .* are not of both classes"):
        read_clickstream(path, "purchase", SETTINGS)
    with pytest.raises(ConfigurationError, match="there is no target 'sale'; known: purchase, cart"):
        read_clickstream(path, "sale", SETTINGS)


@pytest.mark.data
def test_the_taobao_histories_begin_with_purchases_of_both_classes(data_dir: Path, tmp_path: Path) -> None:
    whole = (data_dir / "taobao_userbehavior" / "user_histories.csv").read_text("ascii").splitlines()
    table = read_clickstream(recorded(tmp_path, whole[1:6000]), "purchase", SETTINGS)
    assert 0.0 < table.labels.mean() < 0.3
    assert table.known is not None
    assert (table.known < np.arange(len(table.labels)) + 1).all()
